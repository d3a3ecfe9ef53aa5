"""A recorder in this process that records simulated cameras, and RTSP out over it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nvr.footage.types import Camera, Fragment, FragmentsRequest, LiveUnit, ReadContext, TimeRange
from nvr.recorder.config import parse_settings
from nvr.recorder.node import RecorderNode
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.recorder.running import until
from tests.rtsp.running import WAYS, Background, Out, background, reached, rtsp_out

SECOND = 1_000_000

_SCENE = {"width": 320, "height": 180, "fps": 10, "duration_s": 8, "bit_rate": 150_000}
SCENES = {
    "h264": Scene(**_SCENE, gop_s=1.0, audio=True),
    "h264-b-frames": Scene(**_SCENE, gop_s=2.0, b_frames=2, seed=1),
    "h265-b-frames": Scene(**_SCENE, codec="h265", gop_s=2.0, b_frames=3, seed=3),
}


@dataclass
class Station:
    """A running recorder with its cameras, and RTSP out over it and over its gRPC."""

    loop: Background
    cameras: SimulatedCameras
    node: RecorderNode
    outs: dict[str, Out]
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

    def fragments(self, name: str, range_: TimeRange) -> list[Fragment]:
        """What is on disk of a range."""

        async def read() -> list[Fragment]:
            answer = self.node.footage.read_fragments(ReadContext(), FragmentsRequest(name, range_))
            return [step async for step in answer if isinstance(step, Fragment)]

        return self.loop.run(read())

    def live(self, name: str) -> None:
        """Returns when a camera's pictures come."""

        async def first() -> None:
            async for step in self.node.footage.watch_live(ReadContext(), name, "main"):
                if isinstance(step, LiveUnit):
                    return

        self.loop.run(first())


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
        outs = {}
        for way in WAYS:
            source = loop.enter(reached(way, node.footage))
            outs[way] = loop.enter(rtsp_out(source))
        found = Station(loop, cameras, node, outs, files)
        for name in SCENES:
            found.live(name)
        yield found
