"""One recorder with many simulated cameras, and what each of their pictures is at which wall time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nvr
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.e2e.media import with_picture_digests
from tests.e2e.recorder import SECOND, Recorder, recorded_range, references, running

USER, PASSWORD = "operator", "Mật khẩu-4711!"
"""Of all simulated cameras."""

# 10 pictures a second: half of an interval is 50 ms, far more than a picture needs to arrive. Durations are
# whole numbers of GOPs and, where there is sound, of its frames.
SCENES = {
    "h264": Scene(width=320, height=180, fps=10, duration_s=8, gop_s=1.0, bit_rate=150_000, audio=True),
    "h264-b-frames": Scene(
        width=320, height=180, fps=10, duration_s=8, gop_s=2.0, bit_rate=150_000, b_frames=2, seed=1
    ),
    "h264-long-gop": Scene(
        width=320, height=180, fps=10, duration_s=10, gop_s=5.0, bit_rate=150_000, b_frames=1, seed=2
    ),
    "h265-b-frames": Scene(
        codec="h265", width=320, height=180, fps=10, duration_s=8, bit_rate=150_000, b_frames=3, seed=3
    ),
    "h265-open-gop": Scene(
        codec="h265",
        width=320,
        height=180,
        fps=10,
        duration_s=8,
        gop_s=1.0,
        bit_rate=150_000,
        b_frames=3,
        open_gop=True,
        seed=4,
    ),
}
"""What shows its media time in the picture, by the camera's name."""


@dataclass(frozen=True)
class Played:
    """A camera, and the file that it plays again and again."""

    name: str
    codec: str
    file: Path
    zero_us: int
    """Wall time at which its media time is zero."""


@dataclass(frozen=True)
class Clock:
    """Which picture a camera with a time code shows when."""

    zero_us: int
    scene: Scene

    @property
    def step_us(self) -> int:
        """From one picture to the next."""
        return SECOND // self.scene.fps

    def picture_at(self, at_us: int) -> int:
        """Number of the picture (from media time zero on, the repetitions counted) shown at an instant."""
        return (at_us - self.zero_us) // self.step_us

    def nearest(self, at_us: int) -> int:
        """Number of the picture whose start is nearest to an instant."""
        return (at_us - self.zero_us + self.step_us // 2) // self.step_us

    def middle_us(self, picture: int) -> int:
        """The instant in the middle of a picture's interval."""
        return self.zero_us + picture * self.step_us + self.step_us // 2

    def media_ms(self, picture: int) -> int:
        """The media time that is written in a picture."""
        return picture % (self.scene.duration_s * self.scene.fps) * 1000 // self.scene.fps


@dataclass(frozen=True)
class Recorded:
    """What is on disk of a camera with a time code."""

    camera: nvr.Camera
    clock: Clock
    starts_us: tuple[int, ...]
    """Of its fragments, but for the first."""
    gops_us: tuple[int, ...]
    """Of those that begin with a random-access point."""
    segments_us: tuple[int, ...]
    """Of those that begin a segment."""
    start_us: int
    end_us: int

    @property
    def pictures(self) -> range:
        """Numbers of the pictures whose whole interval is on disk."""
        return range(self.clock.nearest(self.start_us), self.clock.nearest(self.end_us))


class Station:
    """The recorder, its cameras, and a connection."""

    def __init__(
        self, recorder: Recorder, cameras: SimulatedCameras, played: dict[str, Played], net: nvr.Network
    ) -> None:
        self.recorder = recorder
        self.cameras = cameras
        self.played = played
        self.net = net

    def camera(self, name: str) -> nvr.Camera:
        return self.net.camera(name)

    def recorded(self, name: str, newest_us: int) -> Recorded:
        """What is on disk now, but not more than so much of it."""
        camera, played = self.camera(name), self.played[name]
        start_us, end_us = recorded_range(camera)
        found = references(camera, (max(start_us, end_us - newest_us), end_us))
        # A segment is named after the milliseconds at which it starts.
        names = [path.name[:10] for path in self.recorder.segments(camera.info().id)]
        begun = {
            int(n[:2]) * 3_600_000 + int(n[2:4]) * 60_000 + int(n[4:6]) * 1000 + int(n[7:]) for n in names
        }
        starts_us = tuple(ref.start_us for ref in found)
        return Recorded(
            camera=camera,
            clock=Clock(played.zero_us, SCENES[name]),
            starts_us=starts_us[1:],
            gops_us=tuple(ref.start_us for ref in found[1:] if ref.random_access),
            segments_us=tuple(at for at in starts_us[1:] if at // 1000 % 86_400_000 in begun),
            start_us=found[0].start_us,
            end_us=end_us,
        )


@contextmanager
def station(folder: Path) -> Iterator[Station]:
    """A recorder of its own process that records all scenes, and real footage where there is some."""
    files = {name: generate(scene, folder / "scenes") for name, scene in SCENES.items()}
    codecs = {name: str(scene.codec) for name, scene in SCENES.items()}
    files["h265-sei"], codecs["h265-sei"] = folder / "scenes" / "h265-sei.mp4", "h265"
    with_picture_digests(files["h264"], files["h265-sei"])
    if footage := os.environ.get("NVR_FOOTAGE"):
        for path in sorted(Path(footage).glob("*.mp4")):
            files[path.stem], codecs[path.stem] = path, "h264"
    with SimulatedCameras(user=USER, password=PASSWORD) as cameras:
        played = {
            name: Played(name, codecs[name], path, cameras.add(name, path).zero_us)
            for name, path in files.items()
        }
        addresses = {name: cameras.url(name) for name in played}
        with running(folder / "node", addresses) as recorder, nvr.connect(recorder.address) as net:
            yield Station(recorder, cameras, played, net)


def sessions(station: Station) -> int:
    """With simulated cameras, that are open now."""
    return station.cameras.stats()["sessions"]
