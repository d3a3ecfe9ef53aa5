"""A source of footage in memory: a double for tests of the server and the remote end only.

Its fragments hold random bytes, its clips are their concatenation, and its
pictures name their instant instead of showing it.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from typing import Literal, TypeVar

from nvr.errors import (
    AmbiguousCamera,
    CameraNotFound,
    ClipChanged,
    InvalidArgument,
    NoFootage,
    RangeInFuture,
)
from nvr.footage.places import FindRequest, Found, Named, NextCamera, NextCamerasRequest
from nvr.footage.source import Answer
from nvr.footage.types import (
    CAPABILITIES,
    Camera,
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    CodecConfig,
    End,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LiveUnit,
    NodeInfo,
    NodeKind,
    Notice,
    Picture,
    PictureFormat,
    PictureOptions,
    Place,
    ReadContext,
    Span,
    StreamInfo,
    StreamName,
    StreamState,
    TimeRange,
)
from tests.acceptance.world import SECOND, RecordedCamera, Run, World, regular_run

T = TypeVar("T")

NODE = "station-1"
GOP_FRAMES = 20
CLIP_CHUNK = 700_000


def memory_world(node: str = NODE, number: int = 0) -> World:
    """``number`` tells the cameras of several nodes apart."""
    zero_us = 1_731_182_400 * SECOND
    gate = RecordedCamera(
        id=f"0193143f-0000-7000-8000-{number:08x}0001",
        name="market-gate",
        runs=(regular_run(zero_us, 20, 10), regular_run(zero_us + 27 * SECOND + 300_000, 15, 10)),
        gap_reason="unreachable",
    )
    yard = RecordedCamera(
        id=f"0193143f-0000-7000-8000-{number:08x}0002",
        name="yard",
        runs=(regular_run(zero_us + 3 * SECOND, 12, 25),),
        gap_reason="",
    )
    node_id = hashlib.sha256(node.encode()).hexdigest()
    return World(node=node, node_id=node_id, gate=gate, yard=yard, pictures_decode=False)


class MemoryFootage:
    """Serves a world. ``ambiguous``: names that mean several cameras."""

    def __init__(self, world: World, *, ambiguous: Sequence[str] = ()) -> None:
        self.world = world
        self.ambiguous = tuple(ambiguous)
        self.live: asyncio.Queue[LiveUnit | Notice | End] = asyncio.Queue()
        self.events: asyncio.Queue[Event | Notice | End] = asyncio.Queue()
        self.contexts: list[ReadContext] = []
        self.capabilities: Sequence[str] = CAPABILITIES
        self.epoch = 0
        self.closed_streams = 0

    @cached_property
    def _fragments(self) -> dict[str, list[Fragment]]:
        """Made when they are first read: many nodes are never asked for theirs."""
        return {camera.id: self._make_fragments(camera) for camera in self.world.cameras}

    def _make_fragments(self, camera: RecordedCamera) -> list[Fragment]:
        bytes_of = random.Random(camera.id)
        made = []
        for number, run in enumerate(camera.runs):
            config = CodecConfig(
                video_codec="avc1.4d401f",
                width=640 >> number,
                height=360 >> number,
                video_extra_data=b"\x01avcC" + bytes((number,)),
                init_segment=b"ftyp-moov" + bytes((number,)),
            )
            for sequence, first in enumerate(range(0, len(run.frames_us), GOP_FRAMES)):
                frames = run.frames_us[first : first + GOP_FRAMES]
                after = run.frames_us[first + GOP_FRAMES : first + GOP_FRAMES + 1]
                end_us = after[0] if after else run.end_us
                # One in five needs several messages.
                data = bytes_of.randbytes(1_300_000 if sequence % 5 == 1 else 40_000 + sequence)
                ref = FragmentRef(
                    camera_id=camera.id,
                    stream="main",
                    run_id=self._run_id(camera, number),
                    epoch=self.epoch,
                    sequence=sequence,
                    start_us=frames[0],
                    duration_us=end_us - frames[0],
                    random_access=True,
                    random_access_distance=0,
                    size_bytes=len(data),
                    pictures=len(frames),
                    activity_bytes=len(data) // 2,
                    camera_clock_offset_us=-1500 if number else None,
                )
                made.append(Fragment(ref, config, data, self.world.node))
        return made

    def _run_id(self, camera: RecordedCamera, number: int) -> str:
        return f"0193143f-{self.epoch:04}-7{number:03}-8000-{camera.id[-12:]}"

    def _camera(self, name: str, source: str = "") -> RecordedCamera:
        if source not in ("", self.world.node, self.world.node_id[:16]):
            raise CameraNotFound(f"this is {self.world.node}, not {source}", field="source")
        if name in self.ambiguous:
            raise AmbiguousCamera(
                f"several cameras are called {name}",
                field="camera",
                facts={"candidates": f"a/{name},b/{name}"},
            )
        for camera in self.world.cameras:
            if name in (camera.id, camera.name, f"{self.world.node}/{camera.name}"):
                return camera
        raise CameraNotFound(f"no camera is called {name}", field="camera")

    def _shown(self, camera: RecordedCamera, stream: StreamName, span: TimeRange) -> list[Fragment]:
        if stream != "main":
            return []
        return [
            each
            for each in self._fragments[camera.id]
            if each.ref.start_us < span.end_us and each.ref.start_us + each.ref.duration_us > span.start_us
        ]

    async def node(self) -> NodeInfo:
        now_us = time.time_ns() // 1000
        return NodeInfo(
            self.world.node_id, self.world.node, "0.1.0", self.capabilities, now_us, NodeKind.RECORDER
        )

    async def list_cameras(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Camera]:
        self.contexts.append(context)
        wanted = {self._camera(name).id for name in cameras}
        for camera in self.world.cameras:
            if not cameras or camera.id in wanted:
                yield Camera(
                    id=camera.id,
                    name=camera.name,
                    title="Cổng chợ",
                    place=Place(19.9275, 105.8571),
                    node=self.world.node,
                    streams=(
                        StreamInfo(
                            kind="main",
                            state=StreamState.WAITING,
                            reason="unreachable",
                            oldest_us=camera.start_us,
                            newest_us=camera.end_us,
                        ),
                    ),
                )
        yield End(complete=True)

    async def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange, source: str = ""
    ) -> Answer[Span | Gap]:
        found = self._camera(camera, source)
        at_us = range.start_us
        for number, run in enumerate(found.runs if stream == "main" else ()):
            start_us, end_us = max(run.start_us, range.start_us), min(run.end_us, range.end_us)
            if start_us >= end_us:
                continue
            if start_us > at_us:
                yield Gap(TimeRange(at_us, start_us), self._reason(found, at_us))
            run_id = self._run_id(found, number)
            yield Span(TimeRange(start_us, end_us), run_id, self.epoch, self.world.node)
            at_us = end_us
        if at_us < range.end_us:
            yield Gap(TimeRange(at_us, range.end_us), self._reason(found, at_us))
        yield End(complete=True)

    @staticmethod
    def _reason(camera: RecordedCamera, at_us: int) -> str:
        return camera.gap_reason if camera.start_us <= at_us < camera.end_us else "not_recorded"

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        found = self._camera(camera, source)
        shown = self._shown(found, stream, TimeRange(at_us, at_us + 1))
        if shown:
            return shown[0].ref
        rest = [each.ref for each in self._fragments[found.id]] if stream == "main" else []
        after = [ref for ref in rest if ref.start_us > at_us]
        before = [ref for ref in rest if ref.start_us < at_us]
        if mode == "next" and after:
            return after[0]
        if mode == "previous" and before:
            return before[-1]
        raise NoFootage(f"nothing is recorded at {at_us}")

    async def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        found = self._shown(self._camera(request.camera, request.source), request.stream, request.range)
        if request.backward:
            found.reverse()
        if request.cursor and not request.cursor.isdecimal():
            raise InvalidArgument("cursor is not one of this node's", field="cursor")
        if request.cursor:
            # The instant at which the last one began: a cursor holds whatever is recorded or deleted since.
            after_us = int(request.cursor)
            found = [
                each
                for each in found
                if (each.ref.start_us < after_us if request.backward else each.ref.start_us > after_us)
            ]
        page = found[: request.limit or len(found)]
        for each in page:
            data = b"" if request.refs_only else each.data[:1000] if request.keyframes_only else each.data
            yield Fragment(each.ref, each.config, data, each.node)
        yield End(complete=True, cursor=str(page[-1].ref.start_us) if len(page) < len(found) else "")

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        camera = self._camera(request.camera, request.source)
        if request.range.end_us > time.time_ns() // 1000:
            raise RangeInFuture("the range ends after now", field="range.end_us")
        bodies = self._bodies(camera, request)
        parts = []
        for index, (run, body) in enumerate(bodies):
            start_us = max(run.start_us, request.range.start_us)
            end_us = min(run.end_us, request.range.end_us)
            parts.append(
                ClipPart(
                    index=index,
                    range=TimeRange(start_us, end_us),
                    size_bytes=len(body),
                    etag=hashlib.sha256(body).hexdigest(),
                    video_codec="avc1.4d401f",
                    audio_codec="",
                    node=self.world.node,
                    disclosed=TimeRange(start_us, end_us),
                )
            )
        part = parts[request.part] if request.part < len(parts) else None
        if (request.part or request.offset) and (part is None or request.offset > part.size_bytes):
            raise InvalidArgument("the clip has no such byte", field="offset")
        if request.if_etag and (part is None or request.if_etag != part.etag):
            raise ClipChanged("the clip is not the one that you began: start anew")
        gaps = [item async for item in self.coverage(context, request.camera, "main", request.range)]
        yield ClipHead(tuple(parts), tuple(gap for gap in gaps if isinstance(gap, Gap)))
        if not request.head_only:
            last = request.part + 1 if request.one_part else len(bodies)
            for index, (_, body) in enumerate(bodies[request.part : last], request.part):
                first = request.offset if index == request.part else 0
                for offset in range(first, len(body), CLIP_CHUNK):
                    yield ClipData(index, offset, body[offset : offset + CLIP_CHUNK])
        yield End(complete=True)

    def _bodies(self, camera: RecordedCamera, request: ClipRequest) -> list[tuple[Run, bytes]]:
        bodies = []
        for run in camera.runs:
            span = TimeRange(max(run.start_us, request.range.start_us), min(run.end_us, request.range.end_us))
            if span.start_us < span.end_us:
                shown = self._shown(camera, request.stream, span)
                if shown:
                    bodies.append((run, b"".join(each.data for each in shown)))
        return bodies

    def _picture(self, asked_us: int, frame_us: int, options: PictureOptions) -> Picture:
        width, height = (options.max_width or 640), (options.max_height or 360)
        size = width * height * 3 if options.format is PictureFormat.RGB24 else 20_000
        return Picture(
            asked_us, frame_us, width, height, options.format, random.Random(frame_us).randbytes(size)
        )

    async def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Answer[Picture]:
        found = self._camera(camera, source)
        if interval_us:
            asked = _instants(range, interval_us)
        else:
            asked = [start for start in found.frames_us if range.start_us <= start < range.end_us]
        for at_us in asked:
            frame_us = found.frame_at(at_us)
            if frame_us is not None:
                yield self._picture(at_us, frame_us, options)
        yield End(complete=True)

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        found = self._camera(camera, source)
        newest_us = found.runs[-1].frames_us[-1]
        frame_us = found.frame_at(at_us) if at_us else newest_us
        if frame_us is None:
            raise NoFootage(f"nothing is recorded at {at_us}")
        return self._picture(at_us or newest_us, frame_us, options)

    async def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> Answer[LiveUnit]:
        self._camera(camera, source)
        async for step in self._drain(self.live):
            yield step

    async def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        """Cameras by name, or all; places are for the directory's own tests."""
        names = request.where.cameras if isinstance(request.where, Named) else ()
        cameras = [step async for step in self.list_cameras(context, names) if isinstance(step, Camera)]
        for camera in cameras:
            items: list[Span | Gap] = []
            if request.range is not None:
                answer = self.coverage(context, camera.id, request.stream, request.range)
                items = [step async for step in answer if isinstance(step, Span | Gap)]
            yield Found(camera, coverage=tuple(items), source=self.world.node if request.by_source else "")
        yield End(complete=True)

    async def next_cameras(self, context: ReadContext, request: NextCamerasRequest) -> Answer[NextCamera]:
        """All others, which stand at the same place."""
        seen = self._camera(request.camera)
        window = TimeRange(request.at_us, request.at_us + request.within_us)
        async for step in self.list_cameras(context):
            if isinstance(step, Camera) and step.id != seen.id:
                yield NextCamera(step, 0.0, window, 0.0)
        yield End(complete=True)

    async def watch_events(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Event]:
        async for step in self._drain(self.events):
            yield step

    async def _drain(self, queue: "asyncio.Queue[T]") -> AsyncIterator[T]:
        try:
            while True:
                step = await queue.get()
                yield step
                if isinstance(step, End):
                    return
        finally:
            self.closed_streams += 1


def _instants(span: TimeRange, interval_us: int) -> list[int]:
    return list(range(span.start_us, span.end_us, interval_us))
