"""Streams of every structure that cameras send, from GStreamer's server to what ffmpeg decodes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.media import frame_digests
from tests.ingest import pictures, streams
from tests.ingest.conftest import Recorder
from tests.peers.gstreamer import Camera


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.mark.parametrize("name", streams.KINDS)
def test_a_stream_is_recorded_as_it_was_coded(
    name: str, folder: Path, gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    file = streams.make(name, folder)
    codec = streams.KINDS[name].codec
    expected = pictures.of_file(file, codec)
    camera = gst_camera(codec=codec, file=file)
    recorder.record(camera.url)
    recorder.wait_until("the whole file", lambda s: s.frames >= len(expected))
    recorder.stop()
    found = pictures.of_recording(recorder.root, recorder.camera_id, codec)[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]
    assert [t for t, _ in found] == pytest.approx([t for t, _ in expected], abs=2)
    (segment,) = recorder.segments()
    assert frame_digests(segment)[: len(expected)] == frame_digests(file)
