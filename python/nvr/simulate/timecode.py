"""Media time in the picture: as text for people, as blocks for machines.

The text ``HH:MM:SS.mmm`` stands at the top left. Below it, two lines of black
and white blocks hold the media time in milliseconds: 32 bits, then their
CRC-16/CCITT, most significant bit first. The blocks' places are fractions of
the picture's width, so a picture that was scaled still reads; their size lets
them survive coding at a low bitrate.
"""

import binascii
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_WIDTH", "draw", "read"]

Image = NDArray[np.uint8]

MIN_WIDTH = 160
"""Narrower pictures (before any scaling) have no room for the blocks, in pixels."""

_LINES = 2
_ROW_BORDERS = (1, 1.3, 1.9, 2.5, 2.8)
"""Margin, lines of blocks, margin; in widths of a cell from the top. The text stands above."""
_COLUMNS = 24
_MARGIN = 1
"""Cells of black beside the blocks, so that no bright scene bleeds into them."""
_WHITE = 235
_BLACK = 16
_CERTAIN = 48
"""A block whose mean is closer than this to middle grey is not read."""

_GLYPHS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00010 00100 01000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 00100 00100 00000 00100 00100 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
}


def draw(frame: Image, media_ms: int) -> None:
    """Draws a media time (milliseconds, 0 to 2³² − 1) into an RGB picture, in place.

    Raises:
        ValueError: the time is out of range, or the picture is narrower than
            :data:`MIN_WIDTH` or too flat.

    """
    if not 0 <= media_ms < 1 << 32:
        raise ValueError(f"media_ms: {media_ms} is not from 0 to 2^32 - 1")
    height, width = frame.shape[:2]
    rows, columns = _grid(width)
    if width < MIN_WIDTH or rows[-1] > height // 2:
        raise ValueError(f"frame: {width}x{height} has no room for a time code (width from {MIN_WIDTH})")
    frame[rows[0] : rows[-1], columns[0] : columns[-1]] = _BLACK
    for index, bit in enumerate(_bits(media_ms)):
        if bit:
            row, column = divmod(index, _COLUMNS)
            top, bottom = rows[row + 1], rows[row + 2]
            frame[top:bottom, columns[column + _MARGIN] : columns[column + _MARGIN + 1]] = _WHITE
    _draw_text(frame, media_ms, rows[0])


def read(frame: Image) -> int | None:
    """Reads the media time (milliseconds) out of an RGB picture; None if there is none, or it is damaged."""
    height, width = frame.shape[:2]
    rows, columns = _grid(width)
    if rows[-1] > height or columns[-1] - columns[0] < _COLUMNS * 3:
        return None
    value = 0
    for index in range(_LINES * _COLUMNS):
        row, column = divmod(index, _COLUMNS)
        top, bottom = _inner(rows, row + 1)
        left, right = _inner(columns, column + _MARGIN)
        level = float(frame[top:bottom, left:right].mean()) - 128
        if abs(level) < _CERTAIN:
            return None
        value = value << 1 | (level > 0)
    media_ms, checksum = value >> 16, value & 0xFFFF
    return media_ms if checksum == _checksum(media_ms) else None


def _checksum(media_ms: int) -> int:
    # Starts from ones: neither a black nor a white picture is a time.
    return binascii.crc_hqx(media_ms.to_bytes(4, "big"), 0xFFFF)


def _bits(media_ms: int) -> list[bool]:
    value = media_ms << 16 | _checksum(media_ms)
    count = _LINES * _COLUMNS
    return [bool(value >> (count - 1 - index) & 1) for index in range(count)]


@lru_cache(maxsize=64)
def _grid(width: int) -> tuple[list[int], list[int]]:
    """Borders of the rows and columns of cells, margins included, in pixels."""
    cell = width / (_COLUMNS + 2 * _MARGIN)
    rows = [round(part * cell) for part in _ROW_BORDERS]
    columns = [round(index * cell) for index in range(_COLUMNS + 2 * _MARGIN + 1)]
    return rows, columns


def _inner(borders: list[int], index: int) -> tuple[int, int]:
    """The middle of a cell: its edges are blurred by scaling and coding."""
    start, end = borders[index], borders[index + 1]
    quarter = (end - start) // 4
    return start + quarter, end - quarter


def _draw_text(frame: Image, media_ms: int, height: int) -> None:
    scale = max(1, (height - 1) // 7)
    seconds, milliseconds = divmod(media_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
    picture = np.concatenate([_glyph(character, scale) for character in text], axis=1)
    room = frame[: picture.shape[0], : picture.shape[1]]
    room[:] = picture[: room.shape[0], : room.shape[1], None]


@lru_cache(maxsize=256)
def _glyph(character: str, scale: int) -> Image:
    rows = [[pixel == "1" for pixel in row] + [False] for row in _GLYPHS[character].split()]
    small = np.where(np.array(rows), _WHITE, _BLACK).astype(np.uint8)
    return small.repeat(scale, axis=0).repeat(scale, axis=1)
