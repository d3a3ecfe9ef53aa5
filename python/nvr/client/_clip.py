"""A clip: what it consists of, its bytes, and saving it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nvr.client._estimate import estimate_text, seconds_for
from nvr.client._progress import ProgressOption, following
from nvr.client._save import ClipSaver, read_head
from nvr.client._show import Shown, View, notice_text, range_text, size_text
from nvr.client._stream import AsyncStream
from nvr.client._values import ClipReport
from nvr.errors import InvalidArgument
from nvr.footage.closing import closing
from nvr.footage.source import Answer, FootageSource
from nvr.footage.time import format_duration, format_instant, to_datetime
from nvr.footage.types import ClipData, ClipHead, ClipPart, ClipRequest, End, Gap, Notice, ReadContext


@dataclass(frozen=True, slots=True, repr=False)
class ClipPlan(Shown):
    """What a clip consists of, before its bytes are fetched."""

    camera: str
    parts: tuple[ClipPart, ...]
    gaps: tuple[Gap, ...]
    warnings: tuple[Notice, ...]
    complete: bool

    @property
    def size_bytes(self) -> int:
        """All parts together."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def seconds(self) -> float | None:
        """About how long its bytes take over the lines between; None: none is known to be slow."""
        return seconds_for(self.parts)

    @property
    def estimate(self) -> str:
        """The same for people, with the line; empty when it is None."""
        return estimate_text(self.parts)

    def view(self) -> View:
        """What there is to see."""
        rows = [
            (
                str(part.index + 1),
                format_instant(part.range.start_us),
                format_instant(part.range.end_us),
                size_text(part.size_bytes),
                part.video_codec,
                part.node,
            )
            for part in self.parts
        ]
        notes = [f"not recorded: {range_text(gap.range)}: {gap.reason}" for gap in self.gaps]
        notes += [notice_text(warning) for warning in self.warnings]
        title = f"clip of {self.camera}: {size_text(self.size_bytes)}"
        if self.estimate:
            title += f", {self.estimate}"
        return View(title, ("part", "from", "to", "size", "codec", "node"), rows, notes)

    def __repr__(self) -> str:
        size = size_text(self.size_bytes)
        return f"<ClipPlan {self.camera}: {len(self.parts)} parts, {size}, {len(self.gaps)} gaps>"


class ClipState(Shown):
    """Which clip it is; the same for both twins."""

    def __init__(self, request: ClipRequest) -> None:
        self._request = request

    def view(self) -> View:
        """What there is to see."""
        request = self._request
        return View(
            f"clip of {request.camera} ({request.stream}), {format_instant(request.range.start_us)} to "
            f"{format_instant(request.range.end_us)}, {format_duration(request.range.duration_us)}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.view().title.removeprefix('clip of ')}>"


class AsyncClip(ClipState):
    """A playable MP4 of exactly a range. Nothing is fetched until it is asked for."""

    def __init__(
        self, source: FootageSource, context: Callable[[], ReadContext], request: ClipRequest
    ) -> None:
        super().__init__(request)
        self._source = source
        self._context = context

    async def plan(self) -> ClipPlan:
        """What it consists of, its size, and what of its range is not recorded."""
        warnings: list[Notice] = []
        head, complete = await read_head(self._source, self._context(), self._request, warnings.append)
        return ClipPlan(self._request.camera, tuple(head.parts), tuple(head.gaps), tuple(warnings), complete)

    def chunks(self, part: int = 0, offset: int = 0, etag: str = "") -> AsyncStream[ClipData]:
        """Its bytes in order, about 1 MiB each, from a byte of a part on.

        Each item names the part it belongs to: the bytes of all parts that
        follow come too. With ``etag``, raises :exc:`nvr.errors.ClipChanged` when
        the part is not that one any more.
        """
        if part < 0 or offset < 0:
            raise InvalidArgument("part and offset count from 0", field="offset" if part >= 0 else "part")
        request = replace(self._request, part=part, offset=offset, if_etag=etag)
        answer = self._source.read_clip(self._context(), request)
        return AsyncStream(f"bytes of the {self.view().title}", _data_of(answer), lambda data: data)

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressOption = False,
        overwrite: bool = False,
        retries: int = 8,
    ) -> ClipReport:
        """Saves it as MP4, and says what was saved.

        A folder as ``path`` gets a file named after camera and time. A clip of
        several parts becomes ``gate-1.mp4``, ``gate-2.mp4``, …. A cut connection is
        taken up again where it stopped, at most ``retries`` times in a row without
        a byte in between; a save that was killed goes on when it is repeated with
        the same clip and path. A file appears under its name only when it is
        whole and synced.

        Raises :exc:`nvr.errors.NoFootage` when nothing of the range is recorded,
        :exc:`nvr.errors.StoreError` when the file exists or cannot be written,
        :exc:`nvr.errors.NodeUnavailable` when the node stays away.
        """
        if retries < 0:
            raise InvalidArgument("retries cannot be negative", field="retries")
        target = Path(path)
        if await asyncio.to_thread(target.is_dir):
            target /= self._default_name()
        with following(progress) as step:
            saver = ClipSaver(
                self._source,
                self._context,
                self._request,
                target,
                overwrite=overwrite,
                retries=retries,
                progress=step,
            )
            return await saver.save()

    def _default_name(self) -> str:
        request = self._request
        camera = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in request.camera)
        start = to_datetime(request.range.start_us).strftime("%Y%m%dT%H%M%SZ")
        return f"{camera}_{start}_{format_duration(request.range.duration_us)}.mp4"


async def _data_of(answer: Answer[ClipHead | ClipData]) -> AsyncIterator[ClipData | Notice | End]:
    async with closing(answer):
        async for step in answer:
            if not isinstance(step, ClipHead):
                yield step
