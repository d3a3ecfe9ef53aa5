"""Street scenes made up for demos and tests: vehicles and people on a road, by day or night.

A scene is drawn from its seed alone, and its end joins its beginning. The media
time in the picture (see :mod:`nvr.simulate.timecode`) is the media time modulo
the scene's duration, as a camera that plays it again and again starts anew.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from nvr.errors import InvalidArgument
from nvr.simulate import sprites, timecode

__all__ = ["Scene", "generate", "pictures"]

Image = NDArray[np.uint8]

_RECIPE = 1
"""Part of a cached file's name: to be raised when the drawing or the coding changes."""

_NOISE_PICTURES = 5
_TONES_HZ = (440, 554, 659, 880)
_AAC_FRAME = 1024


@dataclass(frozen=True, slots=True)
class Scene:
    """What to draw and how to code it."""

    seed: int = 0
    night: bool = False
    codec: Literal["h264", "h265"] = "h264"
    width: int = 640
    height: int = 360
    fps: int = 15
    duration_s: int = 10
    gop_s: float = 2.0
    """Time between random-access points."""
    b_frames: int = 0
    """Pictures in a row that refer to later ones."""
    open_gop: bool = False
    """Pictures shown before a random-access point may refer past it (H.265: CRA)."""
    bit_rate: int = 500_000
    """Bits a second of the pictures."""
    audio: bool = False
    """With AAC sound: a tone that changes every second."""
    sample_rate_hz: int = 16_000

    def check(self) -> None:
        """Refuse values that are out of their range with :exc:`nvr.errors.InvalidArgument`."""
        limits = {
            "width": (timecode.MIN_WIDTH, 7680),
            "height": (90, 4320),
            "fps": (1, 120),
            "duration_s": (1, 3600),
            "b_frames": (0, 8),
            "bit_rate": (10_000, 200_000_000),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidArgument(f"{name}: {value} is not from {least} to {most}", field=name)
        if self.codec not in ("h264", "h265"):
            raise InvalidArgument(f"codec: '{self.codec}' is not 'h264' or 'h265'", field="codec")
        if self.width % 2 or self.height % 2:
            raise InvalidArgument("width and height must be even", field="width")
        if not 1 <= self.gop_s * self.fps <= self.duration_s * self.fps:
            raise InvalidArgument(
                f"gop_s: {self.gop_s} is not from one picture to the whole duration", field="gop_s"
            )


def generate(scene: Scene, cache: str | os.PathLike[str]) -> Path:
    """The MP4 file of a scene, from ``cache`` or newly made there.

    Raises:
        InvalidArgument: a value of the scene is out of its range.
        OSError: the folder cannot be written to.

    """
    scene.check()
    folder = Path(cache)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(repr((_RECIPE, sorted(asdict(scene).items()))).encode()).hexdigest()
    path = folder / f"scene-{scene.seed}-{digest[:16]}.mp4"
    if not path.exists():
        # Complete or absent, also when two processes make it at once.
        handle, temporary = tempfile.mkstemp(suffix=".mp4", dir=folder)
        os.close(handle)
        try:
            _encode(scene, temporary)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def pictures(scene: Scene) -> Iterator[Image]:
    """The pictures of a scene, RGB, without time code; each is valid until the next is drawn."""
    random = np.random.default_rng(scene.seed)
    backgrounds = _backgrounds(scene, random)
    movers = sprites.movers(scene.width, scene.height, night=scene.night, random=random)
    order = random.integers(len(backgrounds), size=scene.fps * scene.duration_s)
    frame = np.empty_like(backgrounds[0])
    for index, noise in enumerate(order):
        np.copyto(frame, backgrounds[noise])
        progress = index / len(order)
        for mover in movers:
            mover.draw(frame, progress)
        yield frame


def _backgrounds(scene: Scene, random: np.random.Generator) -> list[Image]:
    """The street, several times with different noise: a sensor's, and work for the encoder."""
    street = sprites.street(scene.width, scene.height, night=scene.night, random=random).astype(np.int16)
    spread = 5 if scene.night else 3
    found = []
    for _ in range(_NOISE_PICTURES):
        # Grey noise: three times less to make, and as good.
        noise = random.integers(-spread, spread + 1, size=street.shape[:2], dtype=np.int16)
        found.append(np.clip(street + noise[:, :, None], 0, 255).astype(np.uint8))
    return found


def _encode(scene: Scene, path: str) -> None:
    with av.open(path, "w", format="mp4") as container:
        video = container.add_stream(
            "libx264" if scene.codec == "h264" else "libx265", rate=scene.fps, options=_options(scene)
        )
        video.width, video.height, video.pix_fmt = scene.width, scene.height, "yuv420p"
        video.bit_rate = scene.bit_rate
        video.codec_context.thread_count = 2
        video.codec_context.time_base = Fraction(1, scene.fps)
        audio = container.add_stream("aac", rate=scene.sample_rate_hz, layout="mono") if scene.audio else None
        for index, picture in enumerate(pictures(scene)):
            timecode.draw(picture, index * 1000 // scene.fps)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, scene.fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for sound in _sound(scene):
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def _options(scene: Scene) -> dict[str, str]:
    gop = round(scene.gop_s * scene.fps)
    kilobits = scene.bit_rate // 1000
    settings: dict[str, int | str] = {
        "keyint": gop,
        "min-keyint": gop,
        "scenecut": 0,
        "bframes": scene.b_frames,
        "b-adapt": 0,
        "open-gop": int(scene.open_gop),
        "ref": 2 if scene.b_frames else 1,
        "vbv-maxrate": kilobits,
        "vbv-bufsize": kilobits,
    }
    if scene.codec == "h265":
        settings |= {"log-level": "none", "pools": 2}
    text = ":".join(f"{name}={value}" for name, value in settings.items())
    kind = "x264-params" if scene.codec == "h264" else "x265-params"
    # One slice a picture, as cameras have it.
    return {"preset": "superfast" if scene.codec == "h264" else "ultrafast", kind: text}


def _sound(scene: Scene) -> Iterator[av.AudioFrame]:
    rate = scene.sample_rate_hz
    total = rate * scene.duration_s
    for start in range(0, total, _AAC_FRAME):
        at = np.arange(start, min(start + _AAC_FRAME, total))
        tone = np.array(_TONES_HZ)[at // rate % len(_TONES_HZ)]
        wave = (0.2 * np.sin(2 * np.pi * tone * at / rate)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None, :], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame
