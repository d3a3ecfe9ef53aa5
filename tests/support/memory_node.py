"""A node process over footage in memory: ``python -m tests.support.memory_node [FRAGMENTS]``.

The client and the command line are tested against it where they must not
share an event loop with the server. It prints its address when it is ready.
With a number it sends no more than so many fragments of an answer, and waits.
"""

import asyncio
import json
import sys
from dataclasses import replace

from nvr.errors import CameraExists, CameraNotFound
from nvr.footage.admin import CameraChanges, CameraSettings
from nvr.footage.source import Answer
from nvr.footage.types import (
    Camera,
    CodecConfig,
    End,
    Event,
    Fragment,
    FragmentsRequest,
    LiveUnit,
    Notice,
    Picture,
    PictureFormat,
    PictureOptions,
    Place,
    ReadContext,
    StreamName,
)
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import serve

AVCC = bytes((1, 0x4D, 0x40, 0x1F, 0xFF, 0xE1, 0, 4)) + b"\x67SPS" + bytes((1, 0, 4)) + b"\x68PPS"
UNITS = [b"\x65first", b"\x41second", b"\x65third"]


class MemoryAdmin:
    """Cameras' settings in memory."""

    def __init__(self) -> None:
        self.settings = {
            "market-gate": CameraSettings(
                "market-gate",
                "rtsp://admin:s3cret@10.0.0.7/main",
                title="Cổng chợ",
                place=Place(19.9275, 105.8571),
            )
        }

    def _camera(self, settings: CameraSettings) -> Camera:
        return Camera(f"id-of-{settings.name}", settings.name, settings.title, settings.place, "station-1")

    def _find(self, camera: str) -> CameraSettings:
        if camera not in self.settings:
            raise CameraNotFound(f"no camera is called {camera}", field="camera")
        return self.settings[camera]

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        if settings.name in self.settings:
            raise CameraExists(f"a camera is called {settings.name} already")
        if not dry_run:
            self.settings[settings.name] = settings
        return self._camera(settings)

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        changed = changes.apply(self._find(camera))
        if not dry_run:
            del self.settings[camera]
            self.settings[changed.name] = changed
        return self._camera(changed)

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        found = self._find(camera)
        if not dry_run:
            del self.settings[camera]
        return f"id-of-{found.name}"

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        found = self._find(camera)
        return self._camera(found), found


class LiveMemoryFootage(MemoryFootage):
    """With a few live pictures, one event, and pictures that are real JPEGs."""

    async def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> Answer[LiveUnit]:
        self._camera(camera)
        config = CodecConfig("avc1.4d401f", 640, 360, AVCC)
        for index, nal in enumerate(UNITS):
            data = len(nal).to_bytes(4, "big") + nal
            arrival_us = self.world.gate.end_us + index * 1_000_000
            first = index == 0
            yield LiveUnit(
                False, index * 90_000, arrival_us, nal[0] == 0x65, data, "run", config if first else None
            )
        yield Notice("slow_reader", "a group of pictures was left out", node="station-1")
        yield End(complete=True)

    async def watch_events(self, context: ReadContext, cameras: object = ()) -> Answer[Event]:
        gate = self.world.gate
        yield Event(gate.end_us, "stream_down", gate.id, "main", "unreachable", "no answer", "station-1")
        yield End(complete=True)

    def _picture(self, asked_us: int, frame_us: int, options: PictureOptions) -> Picture:
        picture = super()._picture(asked_us, frame_us, replace(options, format=PictureFormat.RGB24))
        if options.format is PictureFormat.RGB24:
            return picture
        from nvr.client._image import encode_jpeg, picture_array

        return replace(picture, format=PictureFormat.JPEG, data=encode_jpeg(picture_array(picture)))


class StallingFootage(LiveMemoryFootage):
    """Comes to a stop in the midst of fragments."""

    most = 0

    async def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        sent = 0
        async for step in super().read_fragments(context, request):
            if sent == self.most:
                await asyncio.Event().wait()
            sent += 1
            yield step


async def main(most: int | None) -> None:
    source = LiveMemoryFootage(memory_world(), ambiguous=("twice",))
    if most is not None:
        source = StallingFootage(memory_world())
        source.most = most
    source.capabilities = ("find", "source")
    async with serve(source, cameras=MemoryAdmin()) as served:
        print(json.dumps({"address": served.address}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else None))
