"""Scenes and servers for the tests of the camera simulator."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from nvr.simulate import timecode
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras

H264 = Scene(width=320, height=180, duration_s=4, gop_s=1.0, bit_rate=150_000, audio=True)
H264_B_FRAMES = Scene(width=320, height=180, duration_s=4, gop_s=2.0, bit_rate=150_000, b_frames=2, seed=1)
H265_OPEN_GOP = Scene(
    codec="h265",
    width=320,
    height=180,
    duration_s=4,
    gop_s=1.0,
    bit_rate=150_000,
    b_frames=3,
    open_gop=True,
    night=True,
    seed=2,
)
SCENES = {"h264": H264, "h264-b-frames": H264_B_FRAMES, "h265-open-gop": H265_OPEN_GOP}


def rgb(frame: av.VideoFrame) -> timecode.Image:
    """A decoded picture as an array (PyAV's own type leaves open of what)."""
    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="session")
def files(cache: Path) -> dict[str, Path]:
    """The scenes' files, by name."""
    return {name: generate(scene, cache) for name, scene in SCENES.items()}


@pytest.fixture(scope="module")
def cameras(files: dict[str, Path]) -> Iterator[SimulatedCameras]:
    """A server that plays each scene at ``/NAME/main``, without login."""
    with SimulatedCameras() as server:
        for name, path in files.items():
            server.add(name, path)
        yield server


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return path


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return _tool("ffmpeg", "ffmpeg")


@pytest.fixture(scope="session")
def gst_launch() -> str:
    return _tool("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad")
