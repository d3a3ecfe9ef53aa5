"""GStreamer's RTSP server as the camera."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from nvr import nal
from nvr._core import Ingest, Store
from tests.ingest.conftest import Recorder
from tests.peers.gstreamer import Camera

ALL_TIME = (0, 1 << 52)


def units_of(codec: str, sample: bytes) -> list[bytes]:
    """The NAL units of a sample but for parameter sets.

    A start code inside a unit separates two: files have them at their end, and RTP brings two.
    """
    units = [
        part
        for unit in nal.split_length_prefixed(sample, 4)
        for part in nal.split_annex_b(b"\x00\x00\x01" + unit)
    ]
    return [unit for unit in units if not nal.is_parameter_set(codec, unit)]


def file_pictures(path: Path, codec: str) -> list[tuple[int, list[bytes]]]:
    """Presentation time (1/90,000 s, from the first picture's) and units of each, in decoding order."""
    with av.open(path) as container:
        video = container.streams.video[0]
        packets = [p for p in container.demux(video) if p.size and p.pts is not None]
        base = video.time_base
        assert base is not None
        times = [round(p.pts * base * 90_000) for p in packets if p.pts is not None]
        return [(t - times[0], units_of(codec, bytes(p))) for t, p in zip(times, packets, strict=True)]


def recorded_pictures(root: Path, camera_id: str, codec: str) -> list[tuple[int, list[bytes]]]:
    """The same of what was recorded."""
    store = Store([str(root)], read_only=True)
    try:
        # A group with an open end ends with the keyframe that the next one starts with.
        samples = {
            pts_90k: data
            for start_us in store.gops(camera_id, "main", *ALL_TIME)
            for data, pts_90k, _ in store.gop_samples(camera_id, "main", start_us).samples
        }
    finally:
        store.close()
    first = next(iter(samples))
    return [(pts_90k - first, units_of(codec, data)) for pts_90k, data in samples.items()]


@pytest.mark.parametrize("name", ["h264", "h264-b-frames", "h265-open-gop", "real"])
def test_units_of_a_file_arrive_as_they_are(
    name: str, scenes: dict[str, Path], gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    codec = "h265" if name.startswith("h265") else "h264"
    expected = file_pictures(scenes[name], codec)
    camera = gst_camera(codec=codec, file=scenes[name], audio=name in {"h264", "real"})
    recorder.record(camera.url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
    assert status.video_codec.startswith("avc1." if codec == "h264" else "hvc1.")
    assert status.audio_codec == ("mp4a.40.2" if name in {"h264", "real"} else "")
    recorder.stop()
    pictures = recorded_pictures(recorder.root, recorder.camera_id, codec)[: len(expected)]
    assert [units for _, units in pictures] == [units for _, units in expected]
    # GStreamer counts nanoseconds and rounds them to ticks: by one, and the first picture's by one.
    assert [t for t, _ in pictures] == pytest.approx([t for t, _ in expected], abs=2)


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
