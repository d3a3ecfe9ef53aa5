"""GStreamer's RTSP server as a camera that sends over UDP."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from nvr._core import Ingest
from tests.ingest import pictures
from tests.ingest.conftest import Recorder
from tests.peers import bad_network
from tests.peers.gstreamer import Camera

KEYFRAME_BYTES = 600_000
"""Twice the keyframe of a camera with 1080p and 6 Mbit/s, a keyframe a second."""


def over_udp(camera: Camera, port: int | None = None) -> str:
    """The camera's address, for UDP; behind a network at that port."""
    url = camera.url.replace("rtsp://", "rtspu://", 1)
    return url if port is None else url.replace(f":{camera.port}/", f":{port}/")


@pytest.fixture(scope="session")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that stands still: keyframes are huge, and nothing is between them."""
    path = tmp_path_factory.mktemp("bursts") / "bursts.mp4"
    noise = "color=gray:size=1280x720:rate=15,noise=alls=100"
    coder = "-c:v libx264 -preset ultrafast -qp 34 -g 15 -bf 0 -pix_fmt yuv420p"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", noise, "-t", "6", *coder.split(), str(path)]
    subprocess.run(command, check=True)
    return path


def keyframes(path: Path) -> list[int]:
    """Their sizes in bytes."""
    with av.open(path) as container:
        return [p.size for p in container.demux(container.streams.video[0]) if p.is_keyframe and p.size]


@pytest.mark.parametrize("name", ["h264", "h264-b-frames", "h265-open-gop", "real"])
def test_units_of_a_file_arrive_as_they_are(
    name: str, scenes: dict[str, Path], gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    codec = "h265" if name.startswith("h265") else "h264"
    expected = pictures.of_file(scenes[name], codec)
    camera = gst_camera(codec=codec, file=scenes[name], audio=name in {"h264", "real"})
    recorder.record(over_udp(camera))
    status = recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
    assert status.audio_codec == ("mp4a.40.2" if name in {"h264", "real"} else "")
    assert status.lost_packets == 0
    recorder.stop()
    found = pictures.of_recording(recorder.root, recorder.camera_id, codec)[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]
    assert [t for t, _ in found] == pytest.approx([t for t, _ in expected], abs=2)


def test_bursts_of_twice_a_keyframe_are_received_whole(
    bursts: Path, scenes: dict[str, Path], gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    assert min(keyframes(bursts)) >= max(KEYFRAME_BYTES, 2 * max(keyframes(scenes["real"])))
    expected = pictures.of_file(bursts, "h264")
    recorder.record(over_udp(gst_camera(file=bursts)))
    status = recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
    assert status.lost_packets == 0
    recorder.stop()
    found = pictures.of_recording(recorder.root, recorder.camera_id, "h264")[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]


def test_packets_that_overtake_each_other_and_come_twice_are_no_loss(
    bursts: Path, gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    expected = pictures.of_file(bursts, "h264")
    camera = gst_camera(file=bursts)
    with bad_network.between(camera.port, group=16, doubled=0.1) as network:
        recorder.record(over_udp(camera, network.port))
        status = recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
        recorder.stop()
    assert network.overtaken > 100
    assert network.twice > 100
    assert status.lost_packets == 0
    found = pictures.of_recording(recorder.root, recorder.camera_id, "h264")[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]


def test_what_is_lost_is_counted_and_told_and_the_rest_is_right(
    bursts: Path, gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    expected = pictures.of_file(bursts, "h264")
    camera = gst_camera(file=bursts)
    events = recorder.ingest.watch_events()
    # Of the second, third and fourth keyframe some from the middle.
    packets = keyframes(bursts)[0] // 1400 + 15
    lose = frozenset({packets + 200, *range(2 * packets + 100, 2 * packets + 110), 3 * packets + 150})
    with bad_network.between(camera.port, group=16, lose=lose) as network:
        recorder.record(over_udp(camera, network.port))
        recorder.wait_until("the rest of the file", lambda s: s.frames >= len(expected) - 3)
        status = recorder.wait_until("the losses", lambda s: s.lost_packets >= len(lose))
        recorder.stop()
    assert status.lost_packets == network.lost == len(lose)
    told = [event.detail for event in events.take() if event.kind == "packets_lost"]
    assert "packets of the camera were lost" in told[0]
    found = pictures.of_recording(recorder.root, recorder.camera_id, "h264")
    originals = {tuple(units) for _, units in expected}
    # Each picture is one of the camera's; those with a lost packet are missing.
    assert all(tuple(units) in originals for _, units in found)
    assert len(found) == len(expected) - 3


@pytest.mark.parametrize("login", ["basic", "digest"])
def test_logs_in(login: str, gst_camera: Callable[..., Camera], recorder: Recorder) -> None:
    camera = gst_camera(login=login, user="admin", password="pass: w/rd@1", audio=True, b_frames=2)
    recorder.record(over_udp(camera))
    status = recorder.wait_until(
        "pictures and a sender report", lambda s: s.camera_clock_offset_us is not None
    )
    assert status.state == "recording"
    assert abs(status.camera_clock_offset_us or 0) < 60_000_000
    reason, detail = Ingest.probe(f"rtspu://admin:hunter2@{camera.address}")
    assert reason == "auth_failed"
    assert "hunter2" not in detail
    assert Ingest.probe(over_udp(camera), 60_000) == ("", "")
