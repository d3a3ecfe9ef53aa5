"""Names of areas as people write them: with and without accents, and the word for the kind of area.

Two names are the same area's when they are equal without case, accents, points,
hyphens and doubled blanks. The kind of area may stand before the name, in full or
short (``thị xã``, ``TX.``), or be left out.

Where a question has accents they count, syllable by syllable: "Tấn Lập" is not
"Tân Lập", while "tan lap" is both. Where a syllable bears its tone does not
(``Hoà`` and ``Hòa``).
"""

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["AreaName", "fits_level"]

# The word before a name, its short forms, and the levels that areas called so may have.
_KINDS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "tỉnh": ((), frozenset({"province"})),
    "thành phố": (("tp",), frozenset({"province", "municipality", "city", "district"})),
    "quận": (("q",), frozenset({"district", "urban-district"})),
    "huyện": (("h",), frozenset({"district", "rural-district"})),
    "thị xã": (("tx",), frozenset({"district", "town"})),
    "xã": (("x",), frozenset({"commune"})),
    "phường": (("p",), frozenset({"commune", "ward"})),
    "thị trấn": (("tt",), frozenset({"commune", "township", "town"})),
    "đặc khu": ((), frozenset({"commune", "special-zone"})),
    "thôn": ((), frozenset({"hamlet", "village"})),
    "xóm": ((), frozenset({"hamlet", "village"})),
    "ấp": ((), frozenset({"hamlet", "village"})),
    "bản": ((), frozenset({"hamlet", "village"})),
    "khu phố": (("kp",), frozenset({"hamlet", "quarter"})),
    "tổ dân phố": (("tdp",), frozenset({"hamlet", "quarter"})),
}
_KNOWN_LEVELS = frozenset(level for _, levels in _KINDS.values() for level in levels)
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`]")
_WORDS = re.compile(r"\d+|[^\W\d_]+")
_TONES = "\u0300\u0301\u0303\u0309\u0323"
_TONE = re.compile(f"[{_TONES}]")


@dataclass(frozen=True, slots=True)
class AreaName:
    """A name in the forms that are compared.

    ``kind``: the word for the kind of area, without accents; empty: none is there.
    ``bare``: the rest without accents. ``syllables``: of both, with accents.
    """

    kind: str
    bare: str
    syllables: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "AreaName":
        """The forms of any text; of one without a letter or digit all are empty."""
        words = _words(text)
        for count in (3, 2, 1):
            kind = _KIND_OF.get(" ".join(words[:count])) if len(words) > count else None
            if kind is not None:
                plain, rest = " ".join(map(_without_accents, kind)), words[count:]
                return cls(plain, " ".join(map(_without_accents, rest)), tuple(map(_tone_last, kind + rest)))
        return cls("", " ".join(map(_without_accents, words)), tuple(map(_tone_last, words)))

    @property
    def whole(self) -> str:
        """The kind and the rest, without accents."""
        return f"{self.kind} {self.bare}" if self.kind else self.bare

    @property
    def has_accents(self) -> bool:
        """Whether any syllable behind the kind has one."""
        return not all(map(str.isascii, self._asked()))

    def asks_for(self, other: "AreaName") -> bool:
        """Whether every syllable with accents is that of another name, which is the same without them."""
        mine = self._asked()
        theirs = other.syllables[-len(mine) :]
        return len(mine) == len(theirs) and all(
            a == b or a.isascii() or a == _without_marks(b) for a, b in zip(mine, theirs, strict=True)
        )

    def equals(self, other: "AreaName") -> bool:
        """Whether another name, which is the same without accents, is so with them."""
        mine = self._asked()
        return mine == other.syllables[-len(mine) :]

    def _asked(self) -> tuple[str, ...]:
        """The syllables of the rest."""
        return self.syllables[len(self.kind.split()) :]


def fits_level(kind: str, level: str) -> bool:
    """Whether an area of a level may be called by a kind; a level that is not known fits all."""
    return not kind or level not in _KNOWN_LEVELS or level in _LEVELS_OF[kind]


def _words(text: str) -> list[str]:
    text = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    # Letters without a composed form would be torn apart at their accents.
    text = unicodedata.normalize("NFC", text).replace("ð", "đ")
    words = _WORDS.findall(text)
    return [word.lstrip("0") or "0" if word.isdecimal() else word for word in words]


def _without_accents(word: str) -> str:
    return _without_marks(word).replace("đ", "d")


def _without_marks(word: str) -> str:
    """The letters; đ is one of its own."""
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each))


def _tone_last(word: str) -> str:
    parts = unicodedata.normalize("NFD", word)
    return _TONE.sub("", parts) + "".join(sorted(_TONE.findall(parts)))


def _kinds() -> dict[str, list[str]]:
    """Of each way to write a kind its words in full, with accents."""
    found: dict[str, list[str]] = {}
    for kind, (short, _) in _KINDS.items():
        words = unicodedata.normalize("NFC", kind).split()
        found |= dict.fromkeys((" ".join(words), " ".join(map(_without_accents, words)), *short), words)
    return found


_KIND_OF = _kinds()
_LEVELS_OF = {
    " ".join(map(_without_accents, _KIND_OF[unicodedata.normalize("NFC", kind)])): levels
    for kind, (_, levels) in _KINDS.items()
}
