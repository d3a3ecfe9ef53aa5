"""Who may look, by Basic and by Digest."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvr.errors import InvalidArgument
from nvr.simulate.server import SimulatedCameras

from .rtsp import Client, digest_header

_USER, _PASSWORD = "viewer", "p:w@ü x"


@pytest.fixture(params=["digest", "basic"])
def locked(request: pytest.FixtureRequest, files: dict[str, Path]) -> Iterator[SimulatedCameras]:
    digest = request.param == "digest"
    with SimulatedCameras(user=_USER, password=_PASSWORD, digest=digest) as server:
        server.add("gate", files["h264"])
        yield server


def authorization(challenge: str, password: str, method: str, url: str) -> str:
    if challenge.startswith("Digest"):
        return digest_header(challenge, _USER, password, method, url)
    return "Basic " + base64.b64encode(f"{_USER}:{password}".encode()).decode()


def test_the_right_password_opens_and_a_wrong_one_does_not(locked: SimulatedCameras) -> None:
    url = locked.cameras[0].main_url
    with Client(locked.port) as client:
        assert client.request("OPTIONS", url).status == 200
        refused = client.request("DESCRIBE", url)
        assert refused.status == 401
        challenge = refused.headers["www-authenticate"]
        for password, status in (("wrong", 401), (_PASSWORD, 200), ("", 401)):
            header = authorization(challenge, password, "DESCRIBE", url)
            assert client.request("DESCRIBE", url, {"Authorization": header}).status == status
        # Each request is asked, not only the first.
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        assert client.request("SETUP", f"{url}/trackID=0", transport).status == 401


def test_who_keeps_guessing_is_disconnected(locked: SimulatedCameras) -> None:
    url = locked.cameras[0].main_url
    with Client(locked.port) as client:
        for _ in range(10):
            assert client.request("DESCRIBE", url).status == 401
        with pytest.raises((EOFError, ConnectionError)):
            client.request("DESCRIBE", url)


@pytest.mark.parametrize("right", [True, False])
def test_ffmpeg_logs_in(locked: SimulatedCameras, ffmpeg: str, right: bool) -> None:
    url = locked.url("gate") if right else locked.url("gate").replace("viewer:", "viewer:wrong")
    done = subprocess.run(
        [ffmpeg, "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1", "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) is right
    assert right or "401" in done.stderr


@pytest.mark.parametrize("right", [True, False])
def test_gstreamer_logs_in(locked: SimulatedCameras, gst_launch: str, right: bool) -> None:
    done = subprocess.run(
        [
            *(gst_launch, "-q", "rtspsrc", f"location={locked.cameras[0].main_url}", "protocols=tcp"),
            *(f"user-id={_USER}", f"user-pw={_PASSWORD if right else 'wrong'}"),
            *("!", "rtph264depay", "!", "fakesink", "num-buffers=3"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) is right, done.stderr


def test_the_password_is_nowhere_to_be_seen(locked: SimulatedCameras) -> None:
    with Client(locked.port) as client:
        answer = client.request("DESCRIBE", locked.cameras[0].main_url)
    shown = f"{locked!r} {locked.cameras!r} {answer!r}"
    assert _PASSWORD not in shown
    assert "p%3Aw" not in shown


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("", "x")])
def test_users_that_cannot_be_asked_for_are_refused(user: str, password: str) -> None:
    with pytest.raises(InvalidArgument, match="user"):
        SimulatedCameras(user=user, password=password)
