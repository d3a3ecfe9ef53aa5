"""Areas by their names: looked up, never searched through, until a name is not there."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from nvr.errors import AreaAmbiguous, AreaNotFound
from nvr.network_catalog.names import AreaName, fits_level
from nvr.network_catalog.types import Area, RetiredArea

__all__ = ["NameIndex"]

_Entry = Area | RetiredArea

_MOST_TEXT = 400
_SHOWN = 20
_NEAR = 3
# Names that are compared with one that is not there.
_MOST_COMPARED = 500


class NameIndex:
    """The names of areas and of retired codes, in all forms in which they are asked for."""

    def __init__(
        self,
        areas: Mapping[str, Area],
        retired: Mapping[str, RetiredArea],
        path: Callable[[str], Sequence[_Entry]],
    ) -> None:
        """``path``: from the root down to an entry."""
        self._path = path
        self._names: dict[str, AreaName] = {}
        self._current = _Forms(areas.values(), self._names)
        self._former = _Forms(retired.values(), self._names)
        self._retired = retired
        # What an area took over from lay around what is in it now: a former district still narrows.
        self._took_over: dict[str, list[str]] = {}
        for gone in retired.values():
            for code in gone.into:
                self._took_over.setdefault(code, []).append(gone.code)
        self._words: dict[str, list[str]] | None = None

    def find(self, text: str) -> _Entry:
        """The area or retired code of a name; see :meth:`AreaTree.find`."""
        asked, *around = [AreaName.parse(part) for part in text[:_MOST_TEXT].split(",")]
        around = [name for name in around if name.bare]
        found: list[_Entry] = []
        if asked.bare and len(text) <= _MOST_TEXT:
            for look_up in (self._current.called, self._former.called, self._current.bare, self._former.bare):
                found = self._meant(look_up(asked), asked, around)
                if found:
                    break
        if len(found) == 1:
            return found[0]
        if found:
            raise self._ambiguous(text, found)
        raise self.not_found(text)

    def _meant(self, entries: Iterable[_Entry], asked: AreaName, around: Sequence[AreaName]) -> list[_Entry]:
        found = [each for each in entries if asked.asks_for(self._names[each.code])]
        if around:
            found = [each for each in found if self._lies_in(each, around)]
        if len(found) > 1 and asked.has_accents:
            found = [each for each in found if asked.equals(self._names[each.code])] or found
        return found

    def _lies_in(self, entry: _Entry, around: Sequence[AreaName]) -> bool:
        """Whether names are those of areas around one, from the inside out; some may be left out."""
        outwards = reversed(self._path(entry.code)[:-1])
        taken = [self._retired[code] for code in self._took_over.get(entry.code, ())]
        wanted = iter(around)
        name = next(wanted, None)
        for here in (*taken, *(each for step in outwards for each in self._with_former(step))):
            if name is not None and self._is_called(here, name):
                name = next(wanted, None)
        return name is None

    def _with_former(self, entry: _Entry) -> Iterable[_Entry]:
        yield entry
        yield from (self._retired[code] for code in self._took_over.get(entry.code, ()))

    def _is_called(self, entry: _Entry, asked: AreaName) -> bool:
        name = self._names[entry.code]
        same = asked.whole in (name.whole, name.bare) or (
            asked.bare == name.whole and fits_level(asked.kind, entry.level)
        )
        return same and asked.asks_for(name)

    def label(self, code: str) -> str:
        """A code with the names that lead to it, itself first."""
        names = ", ".join(entry.name for entry in reversed(self._path(code)))
        return f"{code} ({names}){' [former]' if code in self._retired else ''}"

    def _ambiguous(self, text: str, found: Sequence[_Entry]) -> AreaAmbiguous:
        labels = [self.label(code) for code in sorted(each.code for each in found)[:_SHOWN]]
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return AreaAmbiguous(
            f"{text[:200]!r} means {len(found)} areas: {'; '.join(labels)}{more}. "
            "Give the code, or the name, a comma and the name of an area around it",
            field="where.area",
            facts={"candidates": "; ".join(labels)},
        )

    def not_found(self, text: str) -> AreaNotFound:
        """That there is no such area, with names that are like it."""
        near = self._near(text)
        hint = f"; did you mean {' or '.join(map(self.label, near))}?" if near else ""
        return AreaNotFound(
            f"no area has the code or name {text[:200]!r}{hint}",
            field="where.area",
            facts={"near": ",".join(near)} if near else {},
        )

    def _near(self, text: str) -> list[str]:
        """Codes of the areas whose names are most like a text."""
        asked = AreaName.parse(text[:_MOST_TEXT].partition(",")[0]).whole
        compared: dict[str, str] = {}
        for code in self._like(asked):
            name = self._names[code]
            compared.setdefault(name.whole, code)
            compared.setdefault(name.bare, code)
        names = difflib.get_close_matches(asked[:100], compared, n=_NEAR)
        return list(dict.fromkeys(compared[name] for name in names))

    def _like(self, asked: str) -> Sequence[str]:
        """Some codes of areas that share a word with a name, or at least a beginning."""
        if self._words is None:
            words: dict[str, list[str]] = {}
            for code, name in self._names.items():
                for word in dict.fromkeys((*name.whole.split(), name.bare[:1] + _BEGINNING)):
                    words.setdefault(word, []).append(code)
            self._words = words
        known = self._words
        rarest_first = sorted(
            (known[word] for word in set(asked.split()) if word in known), key=lambda codes: len(codes)
        )
        found: dict[str, None] = {}
        for codes in (*rarest_first, known.get(asked[:1] + _BEGINNING, [])):
            found |= dict.fromkeys(codes[: _MOST_COMPARED - len(found)])
        return list(found)


# Stands in no word.
_BEGINNING = "*"


class _Forms:
    """Entries by the forms of their names."""

    def __init__(self, entries: Iterable[_Entry], names: dict[str, AreaName]) -> None:
        """Adds the forms to ``names``."""
        self._whole: dict[str, list[_Entry]] = {}
        self._bare: dict[str, list[_Entry]] = {}
        for entry in entries:
            name = names[entry.code] = AreaName.parse(entry.name)
            self._whole.setdefault(name.whole, []).append(entry)
            if name.kind:
                self._bare.setdefault(name.bare, []).append(entry)

    def called(self, asked: AreaName) -> list[_Entry]:
        """Those called so, or so without the word for their kind."""
        return self._whole.get(asked.whole, []) + self._bare.get(asked.whole, [])

    def bare(self, asked: AreaName) -> list[_Entry]:
        """Those whose name says nothing of their kind, where the question does."""
        if not asked.kind:
            return []
        return [each for each in self._whole.get(asked.bare, []) if fits_level(asked.kind, each.level)]
