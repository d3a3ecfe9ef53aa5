"""GStreamer's RTSP server as a camera of a whole node, and what becomes of its passwords."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import grpc
import pytest

from nvr.footage.time import to_datetime
from nvr.footage.types import Span, StreamState
from nvr.v1 import camera_pb2, common_pb2, footage_pb2, node_pb2
from tests.e2e.media import assert_decodes
from tests.e2e.recorder import SECOND, bytes_under, references, wait_recorded, wait_state
from tests.e2e.station import PASSWORD, Station, watched
from tests.peers.gstreamer import Camera
from tests.peers.gstreamer import gst_camera as gst_camera
from tests.support.processes import wait_for
from tests.support.skips import needs_program

USER = "viewer"
RIGHT, WRONG = "r1chtig&stark: Å/9", "v3rtippt&falsch: Å/8"

pytestmark = needs_program("ffmpeg", "ffprobe")


@pytest.mark.parametrize(
    ("codec", "audio", "tracks"), [("h264", True, {"h264", "aac"}), ("h265", False, {"hevc"})]
)
def test_a_camera_of_others_is_recorded(
    station: Station,
    gst_camera: Callable[..., Camera],
    codec: str,
    audio: bool,
    tracks: set[str],
    tmp_path: Path,
) -> None:
    peer = gst_camera(codec=codec, audio=audio, b_frames=2, gop=15, login="digest", user=USER, password=RIGHT)
    name = f"gst-{codec}"
    station.recorder.nvr("cameras", "add", name, "--main", peer.url)
    camera = station.camera(name)
    # Where the newest fragment ends is not yet settled.
    whole = references(camera, wait_recorded(camera, 5 * SECOND))
    start, end = to_datetime(whole[0].start_us), to_datetime(whole[-1].start_us)
    (span,) = camera.coverage(start, end)
    assert isinstance(span, Span)
    pictures = sum(ref.pictures for ref in whole[:-1])
    times = [frame.time for frame in camera.frames(start, end)]
    assert len(times) == pictures
    assert times == sorted(set(times))

    (saved,) = camera.clip(start, end).save(tmp_path / "clip.mp4").paths
    assert_decodes(saved)
    with av.open(str(saved)) as container:
        assert {stream.codec_context.name for stream in container.streams} == tracks
        assert sum(1 for _ in container.decode(video=0)) == pictures
    station.recorder.nvr("cameras", "remove", name, "--yes")
    assert_decodes(*station.recorder.segments(whole[0].camera_id))


def test_a_wrong_password_is_named_everywhere_and_shown_nowhere(
    station: Station, gst_camera: Callable[..., Camera]
) -> None:
    recorder = station.recorder
    peer = gst_camera(gop=15, login="digest", user=USER, password=RIGHT)
    added_us = time.time_ns() // 1000
    wrong_url = f"rtsp://{USER}:{quote(WRONG, safe='')}@{peer.address}"
    locked = station.camera("locked")
    with watched(station) as events:
        printed = recorder.nvr("cameras", "add", "locked", "--main", wrong_url)
        wait_for(lambda: any(event.reason == "auth_failed" for event in events), "the event of it")
    down = next(event for event in events if event.reason == "auth_failed")
    wait_state(locked, StreamState.WAITING, "auth_failed")
    (row, _) = recorder.records("cameras", "list", "locked")
    assert (row["streams"][0]["state"], row["streams"][0]["reason"]) == ("waiting", "auth_failed")
    assert (down.kind, down.camera_id, down.stream) == ("stream_down", row["id"], "main")
    wait_for(
        lambda: (
            'nvr_stream_reconnects_total{camera="locked",reason="auth_failed",stream="main"}'
            in recorder.metrics()
        ),
        "a new attempt is counted",
        every_s=0.2,
    )
    assert 'nvr_stream_up{camera="locked",stream="main"} 0.0' in recorder.metrics()

    def reasons() -> list[str]:
        span = (to_datetime(added_us), to_datetime(time.time_ns() // 1000))
        return [gap.reason for gap in locked.coverage(*span).gaps]

    assert "auth_failed" in reasons()
    answers = list(rpc_answers(station, row["id"], added_us))
    outputs = [
        printed,
        repr(events),
        recorder.nvr("cameras", "list"),
        recorder.nvr("cameras", "list", "--json"),
        recorder.nvr("coverage", "locked", "-5m", "now", "--json"),
        recorder.nvr("cameras", "edit", "locked", "--main", peer.url),
    ]

    wait_recorded(locked, SECOND)
    assert "auth_failed" in reasons()
    gap = 'nvr_stream_gap_seconds_total{camera="locked",reason="auth_failed",stream="main"} '
    (counted,) = [line for line in recorder.metrics().splitlines() if line.startswith(gap)]
    assert float(counted.removeprefix(gap)) > 0
    answers += rpc_answers(station, row["id"], added_us)
    outputs += [recorder.nvr("cameras", "list", "--json"), recorder.metrics()]
    recorder.nvr("cameras", "remove", "locked", "--yes")

    found = {f"RPC answer {number}": answer for number, answer in enumerate(answers)}
    found |= {f"output {number}": text.encode() for number, text in enumerate(outputs)}
    found |= {str(path): data for path, data in bytes_under(recorder.store)}
    found["standard output and error"] = recorder.written().encode()
    assert b"auth_failed" in found["standard output and error"]
    assert any(path.endswith("audit.jsonl") for path in found)
    assert any(path.endswith(".mp4") for path in found)
    secrets = [(user, secret) for user in (USER, "operator") for secret in (RIGHT, WRONG, PASSWORD)]
    # What is looked for would be found.
    assert any(form in wrong_url.encode() for form in forms(USER, WRONG))
    for where, content in found.items():
        for user, secret in secrets:
            for form in forms(user, secret):
                assert form not in content, f"{where} holds a password"


def forms(user: str, secret: str) -> Iterator[bytes]:
    """What would give a password away."""
    yield secret.encode()
    yield secret.encode("utf-16-le")
    yield quote(secret, safe="").encode()
    yield quote(secret).encode()
    yield base64.b64encode(f"{user}:{secret}".encode())
    yield base64.b64encode(secret.encode())
    yield hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest().encode()


def rpc_answers(station: Station, camera_id: str, since_us: int) -> Iterator[bytes]:
    """The bytes of answers of all services, as they come over the wire; of refused calls the trailers."""
    now_us = time.time_ns() // 1000
    span = common_pb2.TimeRange(start_us=since_us, end_us=now_us)
    wrong = camera_pb2.CameraSettings(name="locked", main_url=f"rtsp://u:{quote(WRONG, safe='')}@h:0/x y")
    calls = [
        ("NodeService/GetNode", node_pb2.GetNodeRequest()),
        ("CameraService/GetCamera", camera_pb2.GetCameraRequest(camera=camera_id)),
        ("CameraService/AddCamera", camera_pb2.AddCameraRequest(settings=wrong)),
        ("FootageService/ListCameras", footage_pb2.ListCamerasRequest()),
        ("FootageService/Coverage", footage_pb2.CoverageRequest(camera=camera_id, range=span)),
        ("FootageService/Locate", footage_pb2.LocateRequest(camera=camera_id, at_us=since_us)),
        ("FootageService/ReadFragments", footage_pb2.ReadFragmentsRequest(camera=camera_id, range=span)),
        ("FootageService/ReadClip", footage_pb2.ReadClipRequest(camera=camera_id, range=span)),
        ("FootageService/Snapshot", footage_pb2.SnapshotRequest(camera=camera_id)),
    ]
    with grpc.insecure_channel(station.recorder.address) as channel:
        for method, request in calls:
            # Read as a stream, one answer is a stream of one; nothing is parsed.
            call: Any = channel.unary_stream(f"/nvr.v1.{method}", type(request).SerializeToString)
            answer = call(request, timeout=60)
            try:
                yield from answer
            except grpc.RpcError:
                yield repr((answer.details(), answer.trailing_metadata())).encode()
