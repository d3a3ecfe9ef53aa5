"""GStreamer's RTSP server as the camera."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nvr._core import Ingest
from tests.ingest import pictures
from tests.ingest.conftest import Recorder
from tests.peers.gstreamer import Camera


@pytest.mark.parametrize("name", ["h264", "h264-b-frames", "h265-open-gop", "real"])
def test_units_of_a_file_arrive_as_they_are(
    name: str, scenes: dict[str, Path], gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    codec = "h265" if name.startswith("h265") else "h264"
    expected = pictures.of_file(scenes[name], codec)
    camera = gst_camera(codec=codec, file=scenes[name], audio=name in {"h264", "real"})
    recorder.record(camera.url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
    assert status.video_codec.startswith("avc1." if codec == "h264" else "hvc1.")
    assert status.audio_codec == ("mp4a.40.2" if name in {"h264", "real"} else "")
    recorder.stop()
    found = pictures.of_recording(recorder.root, recorder.camera_id, codec)[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]
    # GStreamer counts nanoseconds and rounds them to ticks: by one, and the first picture's by one.
    assert [t for t, _ in found] == pytest.approx([t for t, _ in expected], abs=2)


@pytest.mark.parametrize("login", ["basic", "digest"])
def test_logs_in(login: str, gst_camera: Callable[..., Camera], recorder: Recorder) -> None:
    camera = gst_camera(login=login, user="admin", password="pass: w/rd@1", audio=True, b_frames=2)
    recorder.record(camera.url)
    status = recorder.wait_until(
        "pictures and a sender report", lambda s: s.camera_clock_offset_us is not None
    )
    assert status.state == "recording"
    # It runs on this machine's clock; the report's way and our batching only make it look late.
    assert status.camera_clock_offset_us is not None
    assert abs(status.camera_clock_offset_us) < 60_000_000


@pytest.mark.parametrize("login", ["basic", "digest"])
def test_wrong_password_is_named_and_not_shown(login: str, gst_camera: Callable[..., Camera]) -> None:
    camera = gst_camera(login=login, user="admin", password="right")
    reason, detail = Ingest.probe(f"rtsp://admin:hunter2@{camera.address}")
    assert reason == "auth_failed"
    assert "hunter2" not in detail
    reason, detail = Ingest.probe(f"rtsp://{camera.address}")
    assert reason == "auth_failed"
    assert "none are configured" in detail
    assert Ingest.probe(camera.url, 60_000) == ("", "")


def test_wrong_path_is_named(gst_camera: Callable[..., Camera]) -> None:
    camera = gst_camera()
    reason, detail = Ingest.probe(f"rtsp://127.0.0.1:{camera.port}/other")
    assert reason == "no_such_path"
    assert "/other" in detail
