"""The node's stores and cameras as a source of footage.

Calls of the core block, and so run in a bounded pool of threads. The recording
of the last seconds is still in memory: a range that reaches into it is answered
with what is on disk, a ``pending`` notice, and ``complete`` false. So is one of which
part may lie on a disk that is not there or cannot be read: the notice is ``disk_error``.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

from nvr.catalog.catalog import CatalogCamera
from nvr.directory.directory import Directory
from nvr.directory.plan import next_cameras, plan
from nvr.directory.types import AreaResolver
from nvr.errors import (
    CameraNotFound,
    ClipChanged,
    InvalidArgument,
    NoFootage,
    NvrError,
    RangeInFuture,
    StoreError,
)
from nvr.footage.places import FindOrder, FindRequest, Found, NextCamera, NextCamerasRequest
from nvr.footage.source import Answer
from nvr.footage.time import format_instant
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    End,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LiveUnit,
    NodeInfo,
    Notice,
    Picture,
    PictureOptions,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from nvr.footage.wire import read_clip_data
from nvr.node.events import EventBus
from nvr.recorder.camera_view import camera_view
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.fragments import FragmentReader, codec_config, fragment_ref
from nvr.recorder.frames import Decoders, FrameReader, decode_one
from nvr.recorder.live import LiveHub
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["LocalFootage"]

_CHUNK_BYTES = 1 << 20
_ASKED_AT_ONCE = 8
# The end of 9999, the last year that can be asked for.
_LATEST_US = 253_402_300_799_000_000

T = TypeVar("T")


class LocalFootage:
    """A :class:`nvr.footage.source.FootageSource` over the Rust core."""

    def __init__(
        self,
        *,
        node: NodeInfo,
        store: "_core.Store",
        ingest: "_core.Ingest",
        directory: CameraDirectory,
        tree: Directory,
        areas: AreaResolver,
        live: LiveHub,
        events: EventBus,
        pool: ReadPool,
        decoders: Decoders,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._node = node
        self._store = store
        self._ingest = ingest
        self._directory = directory
        self._tree = tree
        self._areas = areas
        self._live = live
        self._events = events
        self._pool = pool
        self._decoders = decoders
        self._now_us = now_us or (lambda: time.time_ns() // 1000)

    async def node(self) -> NodeInfo:
        """Who answers here."""
        return NodeInfo(
            self._node.id,
            self._node.name,
            self._node.version,
            self._node.capabilities,
            self._now_us(),
            self._node.kind,
        )

    async def list_cameras(
        self, context: ReadContext, cameras: Sequence[str] = ()
    ) -> AsyncIterator[Camera | Notice | End]:
        """The cameras, ordered by name; a removed one only when its id is given."""
        wanted = self._directory.active()
        if cameras:
            unique = {camera.id: camera for camera in map(self._directory.resolve, cameras)}
            wanted = sorted(unique.values(), key=lambda camera: camera.settings.name)
        for camera in await self._pool.run(self._views, wanted):
            yield camera
        yield End(complete=True)

    def _views(self, cameras: Iterable[CatalogCamera]) -> list[Camera]:
        """With their states and ranges. Blocks."""
        status = {(each.camera_id, each.stream): each for each in self._ingest.status()}
        return [camera_view(camera, self._node.name, status, self._store.range) for camera in cameras]

    async def coverage(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        source: str = "",
    ) -> AsyncIterator[Span | Gap | Notice | End]:
        """Spans and gaps in order. What is still in memory is a gap, ``pending``: the answer is complete.

        With a gap of which nobody knows whether it is one it is not.
        """
        camera_id = self._camera(camera, source).id
        spans, gaps = await self._pool.run(
            self._store.coverage, camera_id, stream, range.start_us, range.end_us
        )
        steps: list[Span | Gap] = [
            Span(TimeRange(span.start_us, span.end_us), span.run_id, span.epoch, self._node.name)
            for span in spans
        ]
        steps += _gaps(gaps)
        for step in sorted(steps, key=lambda step: step.range.start_us):
            yield step
        unknown = self._unknown(camera_id, gaps)
        if unknown:
            yield unknown
        yield End(complete=unknown is None)

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        """The fragment that shows an instant, or the nearest one that is known.

        Raises :exc:`NoFootage`; :exc:`StoreError` where a disk that is not there may have it.
        """
        found = self._camera(camera, source)
        fragment = await self._pool.run(self._store.locate, found.id, stream, at_us, mode)
        if fragment is None:
            raise await self._no_footage(found, stream, at_us, mode)
        between = TimeRange(min(at_us, fragment.start_us), max(at_us, fragment.start_us) + 1)
        unknown = await self._unknown_notice(found.id, stream, between)
        return replace(fragment_ref(fragment, stream), notices=() if unknown is None else (unknown,))

    def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        """Stored fragments, as they are on disk; damaged ones are left out with a notice."""
        return self._read_fragments(request)

    async def _read_fragments(self, request: FragmentsRequest) -> AsyncIterator[Fragment | Notice | End]:
        camera_id = self._camera(request.camera, request.source).id
        reader = FragmentReader(self._store, self._pool, camera_id, request, self._node.name)
        async for step in self._with_missing(reader.steps(), camera_id, request.stream, request.range):
            yield step

    async def _with_missing(
        self, steps: AsyncIterator[T | Notice | End], camera_id: str, stream: StreamName, range_: TimeRange
    ) -> AsyncIterator[T | Notice | End]:
        """With notices of what is missing from a range: what is in memory still, and what nobody can tell."""
        pending = await self._pending_notice(camera_id, stream, range_)
        told = await self._unknown_notice(camera_id, stream, range_)
        for notice in (pending, told):
            if notice:
                yield notice
        async for step in steps:
            if not isinstance(step, End):
                yield step
                continue
            # What could not be read was noticed by reading.
            unknown = await self._unknown_notice(camera_id, stream, range_)
            if unknown and unknown != told:
                yield unknown
            whole = not (pending or told or unknown)
            yield End(complete=step.complete and whole, cursor=step.cursor)

    async def read_clip(
        self, context: ReadContext, request: ClipRequest
    ) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """The head, then the bytes from the asked part and offset on.

        Raises :exc:`RangeInFuture`, :exc:`ClipChanged`, :exc:`InvalidArgument`.
        """
        camera_id = self._camera(request.camera, request.source).id
        now_us = self._now_us()
        if request.range.end_us > now_us:
            raise RangeInFuture(
                f"the clip would end at {format_instant(request.range.end_us)}, "
                f"and here it is {format_instant(now_us)}: end it earlier",
                field="range.end_us",
                node=self._node.name,
            )
        start_us, end_us = request.range.start_us, request.range.end_us
        plan = await self._pool.run(
            self._store.clip, camera_id, request.stream, start_us, end_us, audio=request.audio
        )
        self._check_resume(request, plan.parts)
        missing = [
            notice
            for notice in (self._pending(camera_id, plan.gaps), self._unknown(camera_id, plan.gaps))
            if notice
        ]
        for notice in missing:
            yield notice
        yield self._head(plan)
        if not request.head_only:
            for index, part in enumerate(plan.parts):
                if index < request.part or (request.one_part and index > request.part):
                    continue
                offset = request.offset if index == request.part else 0
                chunks = _Chunks(index, part, offset)
                async for data in self._pool.ahead(chunks.next, chunks.next_now):
                    yield data
        yield End(complete=not missing)

    def _check_resume(self, request: ClipRequest, parts: "Sequence[_core.ClipPart]") -> None:
        part = parts[request.part] if request.part < len(parts) else None
        if request.if_etag and (part is None or part.etag != request.if_etag):
            raise ClipChanged(
                f"part {request.part} of the clip is not what it was: read it anew from its start",
                field="if_etag",
                node=self._node.name,
            )
        if part is None and (request.part or request.offset):
            raise InvalidArgument(
                f"part: the clip has {len(parts)} parts", field="part", node=self._node.name
            )
        if part is not None and request.offset > part.size_bytes:
            raise InvalidArgument(
                f"offset: part {request.part} has {part.size_bytes} bytes",
                field="offset",
                node=self._node.name,
            )

    def _head(self, plan: "_core.ClipPlan") -> ClipHead:
        parts = [
            ClipPart(
                index=index,
                range=TimeRange(part.start_us, part.end_us),
                size_bytes=part.size_bytes,
                etag=part.etag,
                video_codec=part.video_codec,
                audio_codec=part.audio_codec,
                node=self._node.name,
                disclosed=TimeRange(part.disclosed_start_us, part.disclosed_end_us),
            )
            for index, part in enumerate(plan.parts)
        ]
        return ClipHead(parts, _gaps(plan.gaps))

    async def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> AsyncIterator[Picture | Notice | End]:
        """The pictures shown at start, start + interval, …; 0: those first shown within the range."""
        camera_id = self._camera(camera, source).id
        reader = FrameReader(
            self._store,
            self._pool,
            self._decoders,
            camera_id,
            stream,
            range,
            interval_us,
            options,
            self._node.name,
        )
        async for step in self._with_missing(reader.steps(), camera_id, stream, range):
            yield step

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        """The picture shown at an instant; 0: the newest on disk.

        Raises :exc:`NoFootage`, :exc:`DecodeError`, :exc:`LimitExceeded`; :exc:`StoreError` where a disk
        that is not there may have it.
        """
        found = self._camera(camera, source)
        asked_us = at_us
        if not asked_us:
            newest = await self._pool.run(self._store.locate, found.id, stream, _LATEST_US, "previous")
            if newest is None:
                raise await self._no_footage(found, stream, None, "previous")
            asked_us = newest.start_us + newest.duration_us - 1
        samples = await self._pool.run(self._store.frame_samples, found.id, stream, asked_us)
        if samples is None:
            raise await self._no_footage(found, stream, asked_us, "at")
        slot = await self._decoders.slot()
        try:
            image = await self._decoders.pool.run(decode_one, samples, options)
        finally:
            slot.release()
        return Picture(asked_us, samples.frame_us, image.width, image.height, options.format, image.data)

    async def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> AsyncIterator[LiveUnit | Notice | End]:
        """Units as they come; ends when the stream is recorded no more or the node stops."""
        found = self._camera(camera, source)
        complete = True
        async for units in self._live.live(found.id, stream, audio=audio):
            for unit in units:
                if unit.dropped:
                    complete = False
                    message = f"{unit.dropped} units were left out because this reader is too slow"
                    yield Notice("slow_reader", message, self._node.name, found.id)
                config = None if unit.config is None else codec_config(unit.config)
                yield LiveUnit(
                    unit.audio, unit.pts, unit.arrival_us, unit.random_access, unit.data, unit.run_id, config
                )
        yield End(complete=complete)

    async def find(self, context: ReadContext, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        """Cameras at a place, and what the store has of each."""
        found = plan(self._tree, request, self._areas)
        name = self._node.name
        ahead: deque[asyncio.Task[tuple[Sequence[Span | Gap], Sequence[Notice]]]] = deque()
        whole = not found.cut
        waiting = iter(found.items)
        try:
            for planned in found.items:
                # Disks answer several questions in less time than one after the other.
                for next_one in islice(waiting, _ASKED_AT_ONCE - len(ahead)):
                    ahead.append(asyncio.create_task(self._held(context, request, next_one.camera.id)))
                coverage, missing = await ahead[0]
                ahead.popleft()
                for notice in missing:
                    whole = False
                    yield notice
                source = name if request.by_source else ""
                yield Found(planned.camera, planned.distance_m, coverage, source)
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
        if found.cut:
            message = f"{found.remaining} more cameras; ask on with the cursor"
            yield Notice("truncated", message, name, cameras=found.remaining)
        yield End(complete=whole, cursor=found.cursor, remaining=found.remaining)

    async def _held(
        self, context: ReadContext, request: FindRequest, camera_id: str
    ) -> tuple[Sequence[Span | Gap], Sequence[Notice]]:
        """What the store has of a camera, in the order asked for, and what it cannot tell."""
        if request.range is None:
            return (), ()
        answer = self.coverage(context, camera_id, request.stream, request.range)
        steps = [step async for step in answer]
        coverage = [step for step in steps if isinstance(step, Span | Gap)]
        missing = [step for step in steps if isinstance(step, Notice)]
        return coverage[::-1] if request.order is FindOrder.NEWEST else coverage, missing

    async def next_cameras(
        self, context: ReadContext, request: NextCamerasRequest
    ) -> AsyncIterator[NextCamera | Notice | End]:
        """Cameras of this node that can be reached from a sighting."""
        found = next_cameras(self._tree, request)
        for each in found.items:
            yield each
        for notice in found.notices(self._node.name):
            yield notice
        yield End(complete=not found.cut, remaining=found.remaining)

    async def watch_events(
        self, context: ReadContext, cameras: Sequence[str] = ()
    ) -> AsyncIterator[Event | Notice | End]:
        """What happens from now on, to these cameras or to all and the node."""
        only = {self._directory.resolve(camera).id for camera in cameras}
        subscription = self._events.subscribe()
        complete = True
        try:
            while True:
                events, lost = await subscription.take()
                if lost:
                    complete = False
                    message = f"{lost} events were left out because this reader is too slow"
                    yield Notice("slow_reader", message, self._node.name)
                if not events:
                    break
                for event in events:
                    if not only or event.camera_id in only:
                        yield event
        finally:
            subscription.close()
        yield End(complete=complete)

    def _camera(self, camera: str, source: str) -> CatalogCamera:
        """The camera that is meant. Raises :exc:`CameraNotFound` when another node's footage is asked for."""
        if source and source not in (self._node.name, Directory.short_id(self._node.id)):
            raise CameraNotFound(
                f"footage of node {source[:200]!r} was asked for, and this is {self._node.name}",
                field="source",
                node=self._node.name,
            )
        return self._directory.resolve(camera)

    async def _pending_notice(self, camera_id: str, stream: StreamName, range_: TimeRange) -> Notice | None:
        """Whether part of the range is still in memory; that can only be near its end."""
        kept = await self._pool.run(self._store.range, camera_id, stream)
        start_us = range_.start_us if kept is None else max(range_.start_us, kept[1])
        if start_us >= range_.end_us:
            return None
        _, gaps = await self._pool.run(self._store.coverage, camera_id, stream, start_us, range_.end_us)
        return self._pending(camera_id, gaps)

    def _pending(self, camera_id: str, gaps: "Sequence[_core.Gap]") -> Notice | None:
        pending = [gap for gap in gaps if gap.reason == "pending"]
        if not pending:
            return None
        where = TimeRange(pending[0].start_us, pending[-1].end_us)
        message = (
            f"footage from {format_instant(where.start_us)} on is received and not yet on disk: ask again"
        )
        return Notice("pending", message, self._node.name, camera_id, where)

    async def _unknown_notice(self, camera_id: str, stream: StreamName, range_: TimeRange) -> Notice | None:
        """Whether nobody can tell what is recorded of part of a range."""
        gaps = await self._pool.run(self._store.unknown, camera_id, stream, range_.start_us, range_.end_us)
        return self._unknown(camera_id, gaps)

    def _unknown(self, camera_id: str, gaps: "Sequence[_core.Gap]") -> Notice | None:
        unknown = [gap for gap in gaps if gap.unknown]
        if not unknown:
            return None
        where = TimeRange(unknown[0].start_us, unknown[-1].end_us)
        why = "; ".join(dict.fromkeys(gap.detail for gap in unknown))
        message = f"what is recorded between {format_instant(where.start_us)} and "
        message += f"{format_instant(where.end_us)} cannot all be told: {why}"
        return Notice("disk_error", message, self._node.name, camera_id, where)

    async def _no_footage(
        self, camera: CatalogCamera, stream: StreamName, at_us: int | None, mode: str
    ) -> NvrError:
        """The error of an answer that is nothing. A disk that is not there may have had one."""
        start_us = 0 if at_us is None or mode == "previous" else at_us
        end_us = _LATEST_US if at_us is None or mode == "next" else at_us + 1
        unknown = await self._unknown_notice(camera.id, stream, TimeRange(start_us, end_us))
        if unknown:
            return StoreError(unknown.message, node=self._node.name)
        when = "" if at_us is None else f" at {format_instant(at_us)}"
        return NoFootage(
            f"nothing is recorded of {camera.settings.name} ({stream}){when}; its coverage says why",
            node=self._node.name,
        )


def _gaps(gaps: "Iterable[_core.Gap]") -> list[Gap]:
    return [Gap(TimeRange(gap.start_us, gap.end_us), gap.reason, gap.detail) for gap in gaps]


class _Chunks:
    """The bytes of a part, from an offset on; None: there are no more."""

    def __init__(self, index: int, part: "_core.ClipPart", offset: int) -> None:
        self._index = index
        self._part = part
        self._at = offset

    def next(self) -> ClipData | None:
        """May wait for a disk."""
        return self._read(self._part.read_after)

    def next_now(self) -> ClipData | None:
        """None, too, where it would have to wait for a disk."""
        return self._read(self._part.read_now_after)

    def _read(self, read: Callable[[bytes, int, int], bytes | None]) -> ClipData | None:
        size = min(_CHUNK_BYTES, self._part.size_bytes - self._at)
        data = read_clip_data(self._index, self._at, size, read) if size > 0 else None
        if data is not None:
            self._at += size
        return data
