"""The tree of areas: who lies in whom, and which codes a question for an area means.

A code that no longer is an area keeps its meaning, so that areas can be cut anew
without a word to the recorders, which go on telling the codes they were given:

- What bears it counts to each area that took over (``into``), or, where none did,
  to the area around (``parent``); and so to all areas around those.
- A question for it means the areas that took over, and what bears it still.

Where it is not known in which part of a split area a camera stands, it is found in
each of them: too many rather than too few.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from nvr.errors import AreaNotFound, InvalidArgument
from nvr.network_catalog.name_index import NameIndex
from nvr.network_catalog.types import MOST_AREAS, MOST_DEPTH, Area, RetiredArea

__all__ = ["AreaTree"]

_Entry = TypeVar("_Entry", Area, RetiredArea)

_MOST_COUNTED = 1_000_000
_SHOWN_STEPS = 20
_NO_CODE = ""


class AreaTree:
    """Areas under one root, and retired codes. It never changes, and any thread may ask it.

    Raises :exc:`InvalidArgument` for what is no tree: several roots, a cycle (with its
    path), an area in one that is not there, a code twice, too many tiers, retired codes
    that count to one another in a circle.
    """

    def __init__(self, areas: Iterable[Area] = (), retired: Iterable[RetiredArea] = ()) -> None:
        self._areas = _by_code(areas, {})
        self._retired = _by_code(retired, self._areas)
        self._children = self._grouped()
        self._root = self._only_root()
        self._spans: dict[str, tuple[int, int]] = {}
        self._order = self._walked()
        self._heirs: dict[str, list[str]] = {}
        self._now = self._settled()
        self._borne = self._listed()
        self._codes: dict[str, frozenset[str]] = {}

    # --- the tree ----------------------------------------------------------------

    @property
    def root(self) -> Area | None:
        """The area that holds all others; None: there is none."""
        return self._root

    @property
    def areas(self) -> Mapping[str, Area]:
        """The areas by their codes."""
        return MappingProxyType(self._areas)

    @property
    def retired(self) -> Mapping[str, RetiredArea]:
        """The codes that are no areas any more."""
        return MappingProxyType(self._retired)

    def __len__(self) -> int:
        return len(self._areas)

    def __contains__(self, code: object) -> bool:
        return code in self._areas

    def __iter__(self) -> Iterator[Area]:
        """From the root on, each before those within it, children by their codes."""
        return (self._areas[code] for code in self._order)

    def area(self, code: str) -> Area:
        """The area of a code. Raises :exc:`AreaNotFound`, which says what a retired one is now."""
        found = self._areas.get(code)
        if found is not None:
            return found
        if code not in self._retired:
            raise self._names.not_found(code)
        now = ", ".join(self.label(each) for each in sorted(self._retired[code].into)[:_SHOWN_STEPS])
        raise AreaNotFound(
            f"{self.label(code)} is no area any more: {f'it is now {now}' if now else 'nothing took over'}",
            field="area",
            facts={"into": ",".join(self._retired[code].into)},
        )

    def children(self, code: str) -> tuple[Area, ...]:
        """The areas right within one, by their codes. Raises :exc:`AreaNotFound`."""
        return tuple(self._areas[child] for child in self._children.get(self.area(code).code, ()))

    def descendants(self, code: str) -> tuple[Area, ...]:
        """All areas within one, each before those within it. Raises :exc:`AreaNotFound`."""
        start, end = self._spans[self.area(code).code]
        return tuple(self._areas[each] for each in self._order[start + 1 : end])

    def path(self, code: str) -> tuple[Area | RetiredArea, ...]:
        """From the root down to an area or a retired code, both included; empty: the code never was."""
        found: dict[str, Area | RetiredArea] = {}
        at: str | None = code
        while at is not None and at not in found:
            here = self._areas.get(at) or self._retired.get(at)
            if here is None:
                break
            found[at] = here
            at = here.parent
        return tuple(reversed(found.values()))

    def label(self, code: str) -> str:
        """A code with the names that lead to it: ``38-1 (Hàm Rồng, Thanh Hóa)``."""
        return self._names.label(code)

    # --- questions ---------------------------------------------------------------

    def prepared(self) -> "AreaTree":
        """The tree, ready for questions by name: else the first one waits for that."""
        _ = self._names
        return self

    @cached_property
    def _names(self) -> NameIndex:
        # Most of the work of a tree, and of no use to one that only shows that it is one.
        return NameIndex(self._areas, self._retired, self.path)

    def find(self, text: str) -> Area | RetiredArea:
        """The area or retired code that is meant by a code, a name, or ``name, name of an area around it``.

        A name of an area counts before the same name of a retired code. Raises
        :exc:`AreaNotFound` with names like it, and :exc:`nvr.errors.AreaAmbiguous`
        with ``facts["candidates"]``.
        """
        code = text.strip()
        return self._areas.get(code) or self._retired.get(code) or self._names.find(text)

    def codes(self, area: str) -> frozenset[str]:
        """Codes of an area, given by code or name, of all within it, and all that count to those.

        See :class:`nvr.directory.types.AreaResolver`. Raises :exc:`AreaNotFound` and
        :exc:`nvr.errors.AreaAmbiguous`.
        """
        return self._codes_of(self.find(area).code)

    def now(self, code: str) -> frozenset[str]:
        """Codes of the areas that a code counts to: itself, where it is an area."""
        return frozenset((code,)) if code in self._areas else self._now.get(code, frozenset())

    def _codes_of(self, code: str) -> frozenset[str]:
        known = self._codes.get(code)
        if known is not None:
            return known
        if code in self._areas:
            start, end = self._spans[code]
            found = frozenset(each for borne in self._borne[start:end] for each in borne)
            # All together they are no more than tiers times areas.
            self._codes[code] = found
            return found
        last = self._last_of(code)
        if len(last) == 1 and last[0] in self._areas:
            return self._codes_of(last[0])
        return frozenset().union(
            *(self._codes_of(each) if each in self._areas else self._heritage(each) for each in last)
        )

    def _last_of(self, code: str) -> list[str]:
        """Where the codes end that took over from one: areas, or retired ones without a successor."""
        last: dict[str, None] = {}
        seen, waiting = {code}, [code]
        while waiting:
            at = waiting.pop()
            into = () if at in self._areas else self._retired[at].into
            if not into:
                last[at] = None
            waiting += [each for each in into if each not in seen]
            seen.update(into)
        return list(last)

    def _heritage(self, code: str) -> frozenset[str]:
        """A retired code without a successor, and all retired ones that count to it."""
        found, waiting = {code}, [code]
        while waiting:
            heirs = [each for each in self._heirs.get(waiting.pop(), ()) if each not in found]
            found.update(heirs)
            waiting += heirs
        return frozenset(found)

    # --- building ----------------------------------------------------------------

    def _grouped(self) -> dict[str, list[str]]:
        """Children of each area by code, and the root under no code."""
        children: dict[str, list[str]] = {}
        for code, area in sorted(self._areas.items()):
            if area.parent is not None and area.parent not in self._areas:
                no_more = " any more" if area.parent in self._retired else ""
                raise InvalidArgument(
                    f"parent: {code} ({area.name}) lies in {area.parent!r}, which is no area{no_more}",
                    field="parent",
                )
            children.setdefault(area.parent or _NO_CODE, []).append(code)
        return children

    def _only_root(self) -> Area | None:
        roots = self._children.pop(_NO_CODE, [])
        if len(roots) > 1:
            some = ", ".join(roots[:_SHOWN_STEPS])
            raise InvalidArgument(f"parent: {len(roots)} areas lie in none, one may: {some}", field="parent")
        if not roots and self._areas:
            raise self._cycle(next(iter(self._areas)))
        return self._areas[roots[0]] if roots else None

    def _cycle(self, code: str) -> InvalidArgument:
        """An area that the root does not lead to: its way up goes in a circle."""
        way: dict[str, int] = {}
        while code not in way:
            way[code] = len(way)
            code = self._areas[code].parent or _NO_CODE
        return _circle("parent", "areas lie in one another", [*list(way)[way[code] :], code])

    def _walked(self) -> list[str]:
        """The areas, each before those within it; fills in where each one's begin and end."""
        order: list[str] = []
        starts: dict[str, int] = {}
        waiting = [] if self._root is None else [(self._root.code, 1)]
        while waiting:
            code, tier = waiting.pop()
            if tier < 0:
                self._spans[code] = (starts[code], len(order))
                continue
            if tier > MOST_DEPTH:
                raise InvalidArgument(
                    f"parent: {code} would be the {tier}th tier; at most {MOST_DEPTH}", field="parent"
                )
            starts[code] = len(order)
            order.append(code)
            waiting.append((code, -1))
            waiting += [(child, tier + 1) for child in reversed(self._children.get(code, ()))]
        if len(order) < len(self._areas):
            raise self._cycle(next(code for code in self._areas if code not in starts))
        return order

    def _settled(self) -> dict[str, frozenset[str]]:
        """Of each retired code the areas that it counts to; fills in who counts to whom."""
        goals: dict[str, tuple[str, ...]] = {}
        for code, gone in self._retired.items():
            goals[code] = gone.into or (() if gone.parent is None else (gone.parent,))
            for each in (*gone.into, *(() if gone.parent is None else (gone.parent,))):
                if each not in self._areas and each not in self._retired:
                    raise InvalidArgument(f"into: {code} counts to {each!r}, which never was", field="into")
            if not goals[code]:
                raise InvalidArgument(f"into: {code} counts to nothing, and lay in nothing", field="into")
            for each in goals[code]:
                self._heirs.setdefault(each, []).append(code)
        now: dict[str, frozenset[str]] = {}
        counted = 0
        # From the areas back: a code is settled after all that it counts to.
        open_goals = {code: sum(each in self._retired for each in goals[code]) for code in goals}
        ready = [code for code, count in open_goals.items() if not count]
        while ready:
            code = ready.pop()
            parts = [now[each] if each in now else frozenset((each,)) for each in goals[code]]
            now[code] = parts[0] if len(parts) == 1 else frozenset().union(*parts)
            counted += len(now[code])
            if counted > _MOST_COUNTED:
                raise InvalidArgument(
                    f"into: retired codes count to more than {_MOST_COUNTED:,} areas in all", field="into"
                )
            for heir in self._heirs.get(code, ()):
                open_goals[heir] -= 1
                if not open_goals[heir]:
                    ready.append(heir)
        if len(now) < len(goals):
            raise self._retired_circle(goals, now)
        return now

    def _retired_circle(
        self, goals: Mapping[str, tuple[str, ...]], settled: Mapping[str, frozenset[str]]
    ) -> InvalidArgument:
        at = next(code for code in goals if code not in settled)
        way: dict[str, int] = {}
        while at not in way:
            way[at] = len(way)
            at = next(each for each in goals[at] if each in goals and each not in settled)
        return _circle("into", "retired codes count to one another", [*list(way)[way[at] :], at])

    def _listed(self) -> list[list[str]]:
        """In the order of the areas: the code of each, and all retired ones that count to it."""
        borne: dict[str, list[str]] = {code: [code] for code in self._order}
        for code, areas in self._now.items():
            for each in areas:
                borne[each].append(code)
        return list(borne.values())


def _by_code(entries: Iterable[_Entry], but: Mapping[str, object]) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for entry in entries:
        if entry.code in found or entry.code in but:
            raise InvalidArgument(f"code: {entry.code} is there twice", field="code")
        found[entry.code] = entry
        if len(found) + len(but) > MOST_AREAS:
            raise InvalidArgument(f"areas: more than {MOST_AREAS:,}, with retired codes", field="areas")
    return found


def _circle(field: str, what: str, way: list[str]) -> InvalidArgument:
    shown = way if len(way) <= _SHOWN_STEPS else [*way[: _SHOWN_STEPS - 1], "…", way[-1]]
    return InvalidArgument(f"{field}: {what} in a circle: {' → '.join(shown)}", field=field)
