"""A tiny bitmap font (5 × 7 pixels) for times and names drawn into pictures.

It saves a dependency on a font engine and on installed fonts, and draws the
same pixels everywhere. Letters are upper case only; what the font does not
have is drawn as ``?``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GLYPH_WIDTH = 5
"""Pixels across a glyph, at scale 1."""
GLYPH_HEIGHT = 7
"""Pixels down a glyph, at scale 1."""
ADVANCE = GLYPH_WIDTH + 1
"""Pixels from one glyph to the next, at scale 1."""

_GLYPHS = {
    " ": "..... ..... ..... ..... ..... ..... .....",
    "0": ".###. #...# #..## #.#.# ##..# #...# .###.",
    "1": "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
    "2": ".###. #...# ....# ...#. ..#.. .#... #####",
    "3": "##### ...#. ..#.. ...#. ....# #...# .###.",
    "4": "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    "5": "##### #.... ####. ....# ....# #...# .###.",
    "6": "..##. .#... #.... ####. #...# #...# .###.",
    "7": "##### ....# ...#. ..#.. .#... .#... .#...",
    "8": ".###. #...# #...# .###. #...# #...# .###.",
    "9": ".###. #...# #...# .#### ....# ...#. .##..",
    "A": ".###. #...# #...# ##### #...# #...# #...#",
    "B": "####. #...# #...# ####. #...# #...# ####.",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "D": "###.. #..#. #...# #...# #...# #..#. ###..",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "F": "##### #.... #.... ####. #.... #.... #....",
    "G": ".###. #...# #.... #.### #...# #...# .####",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "J": "..### ...#. ...#. ...#. ...#. #..#. .##..",
    "K": "#...# #..#. #.#.. ##... #.#.. #..#. #...#",
    "L": "#.... #.... #.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #.#.# #...# #...# #...#",
    "N": "#...# #...# ##..# #.#.# #..## #...# #...#",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
    "P": "####. #...# #...# ####. #.... #.... #....",
    "Q": ".###. #...# #...# #...# #.#.# #..#. .##.#",
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# #...# #...# .###.",
    "V": "#...# #...# #...# #...# #...# .#.#. ..#..",
    "W": "#...# #...# #...# #.#.# #.#.# #.#.# .#.#.",
    "X": "#...# #...# .#.#. ..#.. .#.#. #...# #...#",
    "Y": "#...# #...# #...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ....# ...#. ..#.. .#... #.... #####",
    ".": "..... ..... ..... ..... ..... .##.. .##..",
    ",": "..... ..... ..... ..... .##.. ..#.. .#...",
    ":": "..... .##.. .##.. ..... .##.. .##.. .....",
    "-": "..... ..... ..... ##### ..... ..... .....",
    "+": "..... ..#.. ..#.. ##### ..#.. ..#.. .....",
    "_": "..... ..... ..... ..... ..... ..... #####",
    "/": "..... ....# ...#. ..#.. .#... #.... .....",
    "(": "...#. ..#.. .#... .#... .#... ..#.. ...#.",
    ")": ".#... ..#.. ...#. ...#. ...#. ..#.. .#...",
    "=": "..... ..... ##### ..... ##### ..... .....",
    "%": "##... ##..# ...#. ..#.. .#... #..## ...##",
    "#": ".#.#. .#.#. ##### .#.#. ##### .#.#. .#.#.",
    "?": ".###. #...# ....# ...#. ..#.. ..... ..#..",
}


def text_width(text: str, scale: int = 1) -> int:
    """Pixels across a line of text, without the space after its last glyph."""
    return max(len(text) * ADVANCE - 1, 0) * scale


def text_mask(text: str, scale: int = 1) -> NDArray[np.bool_]:
    """The pixels that a line of text inks: (7 × scale, width) booleans.

    Raises :exc:`ValueError` when ``scale`` is less than 1.
    """
    import numpy as np

    if scale < 1:
        raise ValueError(f"scale {scale} is less than 1")
    mask = np.zeros((GLYPH_HEIGHT, max(len(text) * ADVANCE - 1, 0)), dtype=np.bool_)
    for index, character in enumerate(text):
        left = index * ADVANCE
        mask[:, left : left + GLYPH_WIDTH] = _glyph(character)
    return mask.repeat(scale, axis=0).repeat(scale, axis=1)


def draw_text(
    image: NDArray[np.uint8],
    text: str,
    x: int,
    y: int,
    *,
    color: tuple[int, ...] = (255, 255, 255),
    scale: int = 1,
) -> None:
    """Draws a line of text into a (height, width, channels) picture, top left at (x, y).

    What lies outside the picture is cut off.
    """
    mask = text_mask(text, scale)
    height, width = image.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], height), min(x + mask.shape[1], width)
    if top >= bottom or left >= right:
        return
    image[top:bottom, left:right][mask[top - y : bottom - y, left - x : right - x]] = color


@cache
def _glyph(character: str) -> NDArray[np.bool_]:
    import numpy as np

    rows = _GLYPHS.get(character.upper(), _GLYPHS["?"]).split()
    return np.array([[pixel == "#" for pixel in row] for row in rows], dtype=np.bool_)
