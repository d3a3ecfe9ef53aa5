"""What the client answers with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, overload

from nvr.client._show import Shown, View, notice_text, range_text, size_text
from nvr.footage.time import format_duration, format_instant, from_datetime, to_datetime
from nvr.footage.types import Camera as CameraInfo
from nvr.footage.types import CodecConfig, FragmentRef, Gap, Notice, Span, StreamName, TimeRange

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, repr=False)
class Coverage(Shown, Sequence[Span | Gap]):
    """What is recorded of a range and what is not, and why, in order of time."""

    camera: str
    stream: StreamName
    range: TimeRange
    items: tuple[Span | Gap, ...]
    warnings: tuple[Notice, ...] = ()
    complete: bool = True

    @property
    def spans(self) -> tuple[Span, ...]:
        """The stretches that are recorded."""
        return tuple(item for item in self.items if isinstance(item, Span))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The stretches that are not, each with its reason."""
        return tuple(item for item in self.items if isinstance(item, Gap))

    @property
    def recorded_us(self) -> int:
        """How much is recorded, microseconds."""
        return sum(span.range.duration_us for span in self.spans)

    @property
    def recorded(self) -> timedelta:
        """How much is recorded."""
        return timedelta(microseconds=self.recorded_us)

    @property
    def missing_us(self) -> int:
        """How much is not, microseconds."""
        return sum(gap.range.duration_us for gap in self.gaps)

    @property
    def missing(self) -> timedelta:
        """How much is not."""
        return timedelta(microseconds=self.missing_us)

    @overload
    def __getitem__(self, index: int) -> Span | Gap: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Span | Gap, ...]: ...
    def __getitem__(self, index: int | slice) -> Span | Gap | tuple[Span | Gap, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Span | Gap]:
        return iter(self.items)

    def __bool__(self) -> bool:
        """Whether anything is recorded."""
        return bool(self.spans)

    def view(self) -> View:
        """What there is to see."""
        rows = [
            (
                format_instant(item.range.start_us),
                format_instant(item.range.end_us),
                format_duration(item.range.duration_us),
                "recorded" if isinstance(item, Span) else item.reason,
                item.node if isinstance(item, Span) else item.detail,
            )
            for item in self.items
        ]
        title = (
            f"{self.camera} ({self.stream}): {format_duration(self.recorded_us)} recorded, "
            f"{format_duration(self.missing_us)} missing"
        )
        return View(
            title,
            ("from", "to", "duration", "what", "where / why"),
            rows,
            _notes(self.warnings, self.complete),
        )

    def __repr__(self) -> str:
        return (
            f"<Coverage {self.camera} {self.stream} {range_text(self.range)}: "
            f"{len(self.spans)} spans, {len(self.gaps)} gaps, {format_duration(self.recorded_us)} recorded>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class CameraList(Shown, Sequence[CameraInfo]):
    """The cameras of a node with their state, ordered by name."""

    node: str
    items: tuple[CameraInfo, ...]
    warnings: tuple[Notice, ...] = ()
    complete: bool = True

    @overload
    def __getitem__(self, index: int) -> CameraInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CameraInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> CameraInfo | tuple[CameraInfo, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[CameraInfo]:
        return iter(self.items)

    def view(self) -> View:
        """What there is to see."""
        rows: list[tuple[str, ...]] = []
        for camera in self.items:
            for stream in camera.streams:
                size = f"{stream.width}x{stream.height}" if stream.width else ""
                state = stream.state.value + (f": {stream.reason}" if stream.reason else "")
                oldest = show_us(stream.oldest_us)
                rows.append((camera.name, camera.title, stream.kind, state, stream.video_codec, size, oldest))
            if not camera.streams:
                rows.append((camera.name, camera.title, "", "", "", "", ""))
        return View(
            f"{len(self.items)} cameras of {self.node}",
            ("name", "title", "stream", "state", "codec", "size", "oldest"),
            rows,
            _notes(self.warnings, self.complete),
        )

    def __repr__(self) -> str:
        return (
            f"<CameraList of {self.node}: {', '.join(camera.name for camera in self.items) or 'no cameras'}>"
        )


class Frame(tuple[datetime, "NDArray[np.uint8]"]):
    """A decoded picture: ``time, image = frame``.

    ``time`` is the wall time at which the picture was first shown, UTC;
    ``image`` a writable (height, width, 3) array of 8-bit RGB; ``asked`` the
    instant that was asked for, at or after ``time``.
    """

    asked: datetime

    def __new__(cls, time: datetime, image: NDArray[np.uint8], asked: datetime) -> Frame:
        """Makes one of its values."""
        frame = super().__new__(cls, (time, image))
        frame.asked = asked
        return frame

    @property
    def time(self) -> datetime:
        """Wall time at which the picture was first shown, UTC."""
        return self[0]

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture, (height, width, 3), 8-bit RGB."""
        return self[1]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Frame {width}x{height} of {format_instant(from_datetime(self.time))}>"

    def __rich__(self) -> str:
        return repr(self)

    def _repr_png_(self) -> bytes:
        from nvr.client._image import encode_png

        return encode_png(self.image)


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot(Shown):
    """One picture as JPEG."""

    camera: str
    time: datetime
    """Wall time at which it was first shown, UTC."""
    width: int
    height: int
    jpeg: bytes
    warnings: tuple[Notice, ...] = ()

    def save(self, path: str | Path) -> Path:
        """Writes it to a file (put in place whole); raises :exc:`nvr.errors.StoreError`."""
        from nvr.files import write_whole

        return write_whole(Path(path), self.jpeg)

    def array(self) -> NDArray[np.uint8]:
        """It as a (height, width, 3) array of 8-bit RGB."""
        from nvr.client._image import decode_jpeg

        return decode_jpeg(self.jpeg)

    def view(self) -> View:
        """What there is to see."""
        return View(
            f"{self.camera} at {format_instant(from_datetime(self.time))}: "
            f"{self.width}x{self.height}, {size_text(len(self.jpeg))}"
        )

    def _repr_jpeg_(self) -> bytes:
        return self.jpeg

    def _repr_html_(self) -> None:
        """None: a notebook shall show the picture itself."""

    def __repr__(self) -> str:
        time = format_instant(from_datetime(self.time))
        return f"<Snapshot {self.camera} {self.width}x{self.height} of {time}>"


@dataclass(frozen=True, slots=True, repr=False)
class StoredFragment(Shown):
    """A stored fragment: its names and times, what decodes it, and its bytes."""

    ref: FragmentRef
    config: CodecConfig
    data: bytes
    node: str

    @property
    def start(self) -> datetime:
        """Wall time at which its first picture is shown, UTC."""
        return to_datetime(self.ref.start_us)

    @property
    def duration(self) -> timedelta:
        """Until its last picture ends."""
        return timedelta(microseconds=self.ref.duration_us)

    def view(self) -> View:
        """What there is to see."""
        return View(
            f"fragment {self.ref.sequence} of run {self.ref.run_id}",
            ("from", "duration", "codec", "pictures", "size", "node"),
            [
                (
                    format_instant(self.ref.start_us),
                    format_duration(self.ref.duration_us),
                    self.config.video_codec,
                    str(self.ref.pictures),
                    size_text(self.ref.size_bytes),
                    self.node,
                )
            ],
        )

    def __repr__(self) -> str:
        start, codec = format_instant(self.ref.start_us), self.config.video_codec
        return f"<StoredFragment {self.ref.sequence} {start} {codec} {len(self.data)} bytes>"


@dataclass(frozen=True, slots=True, repr=False)
class SavedPart(Shown):
    """One file of a saved clip."""

    path: Path
    size_bytes: int
    range: TimeRange
    """What it shows; movie time 0 is its start."""
    disclosed: TimeRange
    """What its bytes hold, pre-roll included."""
    etag: str
    video_codec: str
    audio_codec: str
    node: str

    def view(self) -> View:
        """What there is to see."""
        return View(str(self.path), _PART_COLUMNS, [_part_row(self)])

    def __repr__(self) -> str:
        return f"<SavedPart {self.path} {size_text(self.size_bytes)}>"


@dataclass(frozen=True, slots=True, repr=False)
class ClipReport(Shown):
    """What was saved of a clip, and what is missing from it."""

    camera: str
    range: TimeRange
    parts: tuple[SavedPart, ...]
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[Notice, ...] = ()
    complete: bool = True
    """False when something that is recorded is not in the files. Gaps in the recording are no omission."""
    resumed_bytes: int = 0
    """How many bytes an earlier, interrupted save had left, and were not fetched again."""
    retries: int = 0
    """How often the connection was cut and taken up again."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in order of time."""
        return tuple(part.path for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(part.size_bytes for part in self.parts)

    def view(self) -> View:
        """What there is to see."""
        notes = [
            f"not recorded: {range_text(gap.range)}: {gap.reason}"
            + (f" ({gap.detail})" if gap.detail else "")
            for gap in self.gaps
        ]
        if len(self.parts) > 1:
            notes.append(
                f"{len(self.parts)} files: the codec parameters (or the recorder) changed in the range"
            )
        notes.extend(_notes(self.warnings, self.complete))
        title = f"clip of {self.camera}, {range_text(self.range)}: {size_text(self.size_bytes)}"
        return View(title, _PART_COLUMNS, [_part_row(part) for part in self.parts], notes)

    def __repr__(self) -> str:
        names = ", ".join(str(path) for path in self.paths)
        return (
            f"<ClipReport {self.camera}: {names}, {size_text(self.size_bytes)}, "
            f"{len(self.gaps)} gaps, complete={self.complete}>"
        )


_PART_COLUMNS = ("file", "from", "to", "duration", "size", "codecs")


def _part_row(part: SavedPart) -> tuple[str, ...]:
    codecs = ", ".join(codec for codec in (part.video_codec, part.audio_codec) if codec)
    duration = format_duration(part.range.duration_us)
    return (
        str(part.path),
        format_instant(part.range.start_us),
        format_instant(part.range.end_us),
        duration,
        size_text(part.size_bytes),
        codecs,
    )


def _notes(warnings: Sequence[Notice], complete: bool) -> list[str]:
    notes = [notice_text(warning) for warning in warnings]
    if not complete:
        notes.append("the answer is incomplete")
    return notes


def show_us(at_us: int) -> str:
    """An instant for people; empty for 0."""
    return format_instant(at_us) if at_us else ""
