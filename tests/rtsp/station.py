"""A recorder in this process that records simulated cameras, and RTSP out over it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from nvr.footage.source import Answer, FootageSource
from nvr.footage.types import (
    Camera,
    Fragment,
    FragmentsRequest,
    LiveUnit,
    ReadContext,
    StreamName,
    TimeRange,
)
from nvr.recorder.config import parse_settings
from nvr.recorder.node import RecorderNode
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.recorder.running import until
from tests.rtsp.running import WAYS, Background, Out, background, reached, rtsp_out

SECOND = 1_000_000

_SCENE = Scene(width=320, height=180, fps=10, duration_s=8, bit_rate=150_000)
SCENES = {
    "h264": replace(_SCENE, gop_s=1.0, audio=True),
    "h264-b-frames": replace(_SCENE, gop_s=2.0, b_frames=2, seed=1),
    "h265-b-frames": replace(_SCENE, codec="h265", gop_s=2.0, b_frames=3, seed=3),
}


class Counted:
    """A source that counts the live watches of it that are open."""

    def __init__(self, source: FootageSource) -> None:
        self._source = source
        self.watches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True
    ) -> Answer[LiveUnit]:
        self.watches += 1
        try:
            async for step in self._source.watch_live(context, camera, stream, audio):
                yield step
        finally:
            self.watches -= 1


@dataclass
class Station:
    """A running recorder with its cameras, and RTSP out over it and over its gRPC."""

    loop: Background
    cameras: SimulatedCameras
    node: RecorderNode
    outs: dict[str, Out]
    watched: dict[str, Counted]
    files: dict[str, Path]

    def recorded(self, name: str, duration_us: int) -> TimeRange:
        """So much that is on disk of a camera, once it is."""

        async def find() -> TimeRange | None:
            async for step in self.node.footage.list_cameras(ReadContext(), (name,)):
                if isinstance(step, Camera):
                    main = step.streams[0]
                    if main.newest_us - main.oldest_us >= duration_us + 3 * SECOND:
                        return TimeRange(main.newest_us - duration_us, main.newest_us)
            return None

        return self.loop.run(until(find))

    def recorded_until(self, name: str, at_us: int) -> None:
        """Returns when an instant of a camera is on disk."""

        async def find() -> bool:
            async for step in self.node.footage.list_cameras(ReadContext(), (name,)):
                if isinstance(step, Camera):
                    return step.streams[0].newest_us > at_us
            return False

        self.loop.run(until(find))

    def pictures(self, name: str, range_: TimeRange) -> list[bytes]:
        """NAL units of the pictures on disk, each after its length, in decoding order."""

        async def read() -> list[Fragment]:
            answer = self.node.footage.read_fragments(ReadContext(), FragmentsRequest(name, range_))
            return [step async for step in answer if isinstance(step, Fragment)]

        return [data for fragment in self.loop.run(read()) for data in samples(fragment.data)]

    def live(self, name: str) -> None:
        """Returns when a camera's pictures come."""

        async def first() -> None:
            async for step in self.node.footage.watch_live(ReadContext(), name, "main"):
                if isinstance(step, LiveUnit):
                    return

        self.loop.run(first())


def samples(fragment: bytes) -> list[bytes]:
    """The pictures of a fragment, by its tables (``docs/on-disk-format.md``)."""
    moof = fragment.index(b"moof") - 4
    trun = fragment.index(b"trun", moof) - 4
    flags = int.from_bytes(fragment[trun + 9 : trun + 12], "big")
    count, at = (int.from_bytes(fragment[trun + n : trun + n + 4], "big") for n in (12, 16))
    width = 16 if flags & 0x800 else 12
    found, at = [], at + moof
    for n in range(count):
        entry = trun + 20 + n * width
        size = int.from_bytes(fragment[entry + 4 : entry + 8], "big")
        found.append(fragment[at : at + size])
        at += size
    return found


@asynccontextmanager
async def _recorder(folder: Path, cameras: SimulatedCameras) -> AsyncIterator[RecorderNode]:
    lines = ["[node]", 'name = "station-1"', f'stores = ["{folder / "store"}"]', 'grpc = "127.0.0.1:0"']
    for name in SCENES:
        lines += ["[[camera]]", f'name = "{name}"', f'main = "{cameras.url(name)}"']
    async with RecorderNode(parse_settings("\n".join(lines))) as node:
        yield node


@contextmanager
def station(folder: Path) -> Iterator[Station]:
    """All of it."""
    files = {name: generate(scene, folder / "scenes") for name, scene in SCENES.items()}
    with SimulatedCameras() as cameras, background() as loop:
        for name, path in files.items():
            cameras.add(name, path)
        node = loop.enter(_recorder(folder, cameras))
        watched = {way: Counted(loop.enter(reached(way, node.footage))) for way in WAYS}
        outs = {way: loop.enter(rtsp_out(cast(FootageSource, source))) for way, source in watched.items()}
        found = Station(loop, cameras, node, outs, watched, files)
        for name in SCENES:
            found.live(name)
        yield found
