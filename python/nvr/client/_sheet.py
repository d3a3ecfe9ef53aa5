"""A contact sheet: a range at a glance."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nvr.client._show import Shown, View, notice_text
from nvr.errors import InvalidArgument, NodeUnavailable
from nvr.footage.closing import closing
from nvr.footage.source import FootageSource
from nvr.footage.time import format_instant, to_datetime
from nvr.footage.types import (
    End,
    Notice,
    Picture,
    PictureFormat,
    PictureOptions,
    ReadContext,
    StreamName,
    TimeRange,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_PICTURES = 400
_MAX_COLUMNS = 40
_MIN_WIDTH, _MAX_WIDTH = 80, 1920
_SPACE = 8
_BACKGROUND, _EMPTY, _INK, _DIM_INK = 24, 48, (235, 235, 235), (165, 165, 165)


@dataclass(frozen=True, slots=True, repr=False)
class Sheet(Shown):
    """A contact sheet: pictures of a range in rows, the time of each below it."""

    camera: str
    range: TimeRange
    times: tuple[datetime | None, ...]
    """Wall time of each picture, UTC; None where nothing is recorded."""
    image: NDArray[np.uint8] = field(compare=False)
    """The whole sheet, (height, width, 3), 8-bit RGB."""
    warnings: tuple[Notice, ...] = ()
    complete: bool = True

    def png(self) -> bytes:
        """It as PNG."""
        from nvr.client._image import encode_png

        return encode_png(self.image)

    def jpeg(self, quality: int = 85) -> bytes:
        """It as JPEG; ``quality`` 1 to 100."""
        from nvr.client._image import encode_jpeg

        return encode_jpeg(self.image, quality)

    def save(self, path: str | Path) -> Path:
        """Writes it to a ``.png`` or ``.jpg`` file (put in place whole).

        Raises :exc:`nvr.errors.InvalidArgument` for another ending,
        :exc:`nvr.errors.StoreError` when it cannot be written.
        """
        from nvr.files import write_whole

        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in {".png", ".jpg", ".jpeg"}:
            raise InvalidArgument(f"{path.name}: a sheet is written as .png or .jpg", field="path")
        return write_whole(path, self.png() if suffix == ".png" else self.jpeg())

    def view(self) -> View:
        """What there is to see."""
        found = sum(time is not None for time in self.times)
        title = (
            f"contact sheet of {self.camera}, {format_instant(self.range.start_us)} to "
            f"{format_instant(self.range.end_us)}: {found} of {len(self.times)} pictures"
        )
        return View(title, notes=[notice_text(warning) for warning in self.warnings])

    def _repr_png_(self) -> bytes:
        return self.png()

    def _repr_html_(self) -> None:
        """None: a notebook shall show the picture itself."""

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Sheet {self.camera} {len(self.times)} pictures, {width}x{height}>"


async def make_sheet(
    footage: FootageSource,
    context: ReadContext,
    camera: str,
    stream: StreamName,
    range_: TimeRange,
    *,
    count: int,
    columns: int,
    width: int,
    tz: str | None,
    source: str = "",
) -> Sheet:
    """See :meth:`nvr.client.AsyncCamera.sheet`."""
    for name, value, least, most in (
        ("count", count, 1, _MAX_PICTURES),
        ("columns", columns, 1, _MAX_COLUMNS),
        ("width", width, _MIN_WIDTH, _MAX_WIDTH),
    ):
        if not least <= value <= most:
            raise InvalidArgument(f"{name} {value} is not between {least} and {most}", field=name)
    zone = time_zone(tz)
    interval_us = max(range_.duration_us // count, 1)
    pictures: dict[int, Picture] = {}
    warnings: list[Notice] = []
    end: End | None = None
    options = PictureOptions(PictureFormat.RGB24, max_width=width)
    async with closing(
        footage.read_frames(context, camera, stream, range_, interval_us, options, source)
    ) as answer:
        async for step in answer:
            if isinstance(step, Notice):
                warnings.append(step)
            elif isinstance(step, End):
                end = step
                break
            else:
                # A range that the count does not divide has one instant more.
                index = (step.asked_us - range_.start_us) // interval_us
                if 0 <= index < count:
                    pictures[index] = step
    if end is None:
        raise NodeUnavailable(f"frames of {camera}: the answer was cut before its end; ask again")
    times = [to_datetime(pictures[index].frame_us) if index in pictures else None for index in range(count)]
    asked = [to_datetime(range_.start_us + index * interval_us) for index in range(count)]
    image = _draw(pictures, asked, columns=min(columns, count), width=width, zone=zone)
    return Sheet(camera, range_, tuple(times), image, tuple(warnings), end.complete)


def time_zone(name: str | None) -> tzinfo | None:
    """The time zone of an IANA name; None (this machine's) for None."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument(
            f"{name!r} is not a time zone of this machine; give an IANA name such as Asia/Ho_Chi_Minh",
            field="tz",
        ) from None


def _draw(
    pictures: dict[int, Picture], asked: list[datetime], *, columns: int, width: int, zone: tzinfo | None
) -> NDArray[np.uint8]:
    import numpy as np

    from nvr.client._image import picture_array
    from nvr.footage.bitmap_font import GLYPH_HEIGHT, draw_text, text_width

    height = max((picture.height for picture in pictures.values()), default=width * 9 // 16)
    longest = text_width("2026-11-23 14:05:00.123 +07:00")
    scale = max(1, width // longest)
    line = (GLYPH_HEIGHT + 3) * scale
    rows = -(-len(asked) // columns)
    cell_width, cell_height = width + _SPACE, height + 2 * line + 2 * _SPACE
    sheet = np.full(
        (rows * cell_height + _SPACE, columns * cell_width + _SPACE, 3), _BACKGROUND, dtype=np.uint8
    )
    for index, instant in enumerate(asked):
        row, column = divmod(index, columns)
        top, left = _SPACE + row * cell_height, _SPACE + column * cell_width
        picture = pictures.get(index)
        if picture is None:
            sheet[top : top + height, left : left + width] = _EMPTY
            message = "NOT RECORDED"
            draw_text(
                sheet,
                message,
                left + (width - text_width(message, scale)) // 2,
                top + height // 2,
                color=_DIM_INK,
                scale=scale,
            )
        else:
            pixels = picture_array(picture)[:height, :width]
            sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            instant = to_datetime(picture.frame_us)
        below = top + height + _SPACE // 2
        draw_text(sheet, _clock(instant.astimezone(UTC)) + " UTC", left, below, color=_INK, scale=scale)
        local = instant.astimezone(zone)
        offset = f"{local:%z}"
        draw_text(
            sheet,
            f"{_clock(local)} {offset[:3]}:{offset[3:5]}",
            left,
            below + line,
            color=_DIM_INK,
            scale=scale,
        )
    return sheet


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03}"
