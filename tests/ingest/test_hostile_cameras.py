"""Cameras that send what no camera should: each is told apart, and the one beside it is recorded."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nvr._core import Store, StreamStatus
from tests.ingest import hostile, pictures, scripted
from tests.ingest.conftest import Recorder
from tests.ingest.hostile import FPS
from tests.ingest.scripted import H265_SETS, PPS, SPS, Media


@contextmanager
def a_neighbour(recorder: Recorder) -> Iterator[str]:
    """A camera as it should be, which is recorded meanwhile without a gap."""
    camera_id = str(uuid.uuid4())
    with scripted.camera(scripted.sdp(SPS, PPS), hostile.steady) as address:
        recorder.ingest.add(camera_id, "main", address)
        yield camera_id

        def status() -> StreamStatus:
            return next(s for s in recorder.ingest.status() if s.camera_id == camera_id)

        deadline = time.monotonic() + 60
        while status().frames < 3 * FPS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (status().state, status().reconnects) == ("recording", {})
        recorder.stop()
    found = pictures.of_recording(recorder.root, camera_id, "h264")
    assert [t for t, _ in found] == [number * 90_000 // FPS for number in range(len(found))]
    assert len(found) >= 2 * FPS


def refused_size(media: Media, description: str, recorder: Recorder) -> StreamStatus:
    """What is said of a camera whose pictures are of a size that cannot be."""
    with scripted.camera(description, media) as address:
        recorder.record(address)
        return recorder.wait_until("refused", lambda s: s.reason != "")


@pytest.mark.parametrize("described", [True, False], ids=["described", "in-band"])
@pytest.mark.parametrize(
    ("width", "height", "by_pixels", "what"),
    [
        # Whole macroblocks: read by all, and refused for their size.
        (65_520, 65_520, False, "65520 × 65520 pixels"),
        # 65,536 less some that are cropped: more than a number of 16 bits, in which the parser has it.
        (65_534, 65_534, False, "SPS has invalid pixel dimensions"),
        (65_535, 65_535, True, "SPS has invalid pixel dimensions"),
    ],
)
def test_an_sps_of_pictures_that_no_level_has(
    width: int, height: int, by_pixels: bool, what: str, described: bool, recorder: Recorder
) -> None:
    with a_neighbour(recorder):
        sps = hostile.sps_of(width, height, by_pixels=by_pixels)
        description = scripted.sdp(sps, PPS) if described else scripted.sdp(SPS, PPS)
        # Pictures without parameters come too: with those in the description they would be recorded.
        media = hostile.keyframes(sps, PPS, slices=2 if described else 0)
        refused = refused_size(media, description, recorder)
        assert (refused.state, refused.reason) == ("waiting", "codec_not_supported")
        assert what in refused.detail
        assert not recorder.segments()
        # It is the size that is refused: the same with another one is recorded.
        sps = hostile.sps_of(322, 182)
        with scripted.camera(scripted.sdp(sps, PPS), hostile.keyframes(sps, PPS)) as address:
            recorder.record(address)
            recorded = recorder.wait_until("recorded", lambda s: s.state == "recording")
            assert (recorded.width, recorded.height) == (322, 182)


@pytest.mark.parametrize("size", [65_528, 65_535, 100_000])
def test_an_h265_sps_of_pictures_that_no_level_has(size: int, recorder: Recorder) -> None:
    vps, sps, pps = H265_SETS
    media = hostile.keyframes(vps, hostile.h265_sps_of(sps, size, size), pps)
    refused = refused_size(media, scripted.sdp(codec="H265"), recorder)
    assert (refused.state, refused.reason) == ("waiting", "codec_not_supported")
    assert not recorder.segments()
    media = hostile.keyframes(vps, hostile.h265_sps_of(sps, 1920, 1080), pps)
    with scripted.camera(scripted.sdp(codec="H265"), media) as address:
        recorder.record(address)
        recorded = recorder.wait_until("recorded", lambda s: s.state == "recording")
        assert recorded.video_codec.startswith("hvc1.")


def test_a_thousand_parameter_changes(recorder: Recorder) -> None:
    quiet = threading.Event()
    changing = hostile.changing_parameters(quiet)
    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), changing) as address:
        recorder.record(address)
        flooded = recorder.wait_until("1,000 changes", lambda s: s.frames >= 1000)
        assert (flooded.state, flooded.reason) == ("connecting", "parameter_flood")
        files = len(recorder.segments())
        assert files <= 20
        quiet.set()
        recorder.wait_until("peace", lambda s: s.state == "recording")
        recorder.wait_until("a second more", lambda s: s.frames >= flooded.frames + 200)
    gaps = gaps_of(recorder.root, recorder.camera_id)
    assert "parameter_flood" in gaps


def gaps_of(root: Path, camera_id: str) -> set[str]:
    """Why something of the camera's time was not recorded."""
    store = Store([str(root)], read_only=True)
    try:
        return {gap.reason for gap in store.coverage(camera_id, "main", *pictures.ALL_TIME)[1]}
    finally:
        store.close()


@pytest.mark.parametrize("media", [hostile.garbage, hostile.garbage_in_packets])
def test_garbage(media: Media, recorder: Recorder) -> None:
    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), media) as address:
        recorder.record(address)
        status = recorder.wait_until("the end of three sessions", lambda s: sum(s.reconnects.values()) >= 3)
        assert set(status.reconnects) == {"protocol_error"}
        assert not recorder.segments()


def test_no_keyframe_ever(recorder: Recorder) -> None:
    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), lambda: hostile.steady(0)) as address:
        recorder.record(address)
        status = recorder.wait_until("pictures", lambda s: s.frames >= 2 * FPS)
        assert (status.state, status.reason) == ("connecting", "no_keyframe")
        assert "no keyframe" in status.detail
        assert status.reconnects == {}
        assert not recorder.segments()
