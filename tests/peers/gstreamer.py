"""Starts GStreamer's RTSP server as a camera."""

import functools
import selectors
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
NEEDS = "needs gstreamer1.0-rtsp, gir1.2-gst-rtsp-server-1.0, python3-gi (make test-deps)"
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Camera:
    """A camera that GStreamer plays."""

    port: int
    path: str
    user: str
    password: str

    @property
    def url(self) -> str:
        """Where it is, with its login if it wants one."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"rtsp://{login}{self.address}"

    @property
    def address(self) -> str:
        """Host, port and path, without login."""
        return f"127.0.0.1:{self.port}{self.path}"


@functools.cache
def missing() -> str:
    """Why it cannot run here; empty when it can."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        found = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        return NEEDS
    return NEEDS if found.returncode else ""


@contextmanager
def serve(
    *,
    codec: str = "h264",
    file: Path | None = None,
    audio: bool = False,
    b_frames: int = 0,
    gop: int = 30,
    fps: int = 15,
    path: str = "/live",
    login: str | None = None,
    user: str = "",
    password: str = "",
    options: tuple[str, ...] = (),
) -> Iterator[Camera]:
    """Serves a camera while the block runs. ``options``: further ones of ``gst_rtsp_server.py``."""
    arguments = [
        f"--codec={codec}",
        f"--b-frames={b_frames}",
        f"--gop={gop}",
        f"--fps={fps}",
        f"--path={path}",
    ]
    arguments += [f"--file={file}"] if file else []
    arguments += ["--audio"] if audio else []
    arguments += [f"--login={login}", f"--user={user}", f"--password={password}"] if login else []
    server = subprocess.Popen(
        [SYSTEM_PYTHON, str(SCRIPT), *arguments, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Camera(_port(server), path, user, password)
    finally:
        server.kill()
        server.communicate()


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        if not selector.select(START_TIMEOUT_S):
            raise TimeoutError(f"GStreamer's RTSP server said no port for {START_TIMEOUT_S} s")
    line = server.stdout.readline()
    if not line.startswith("port "):
        raise RuntimeError(f"GStreamer's RTSP server did not start (exit code {server.poll()}): {line!r}")
    return int(line.removeprefix("port "))


@pytest.fixture
def gst_camera() -> Iterator[Callable[..., Camera]]:
    """Starts cameras, with the arguments of :func:`serve`, until the test ends."""
    if reason := missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(serve(**arguments))
