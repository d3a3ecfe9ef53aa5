"""Cameras that misbehave, on a node that goes on recording the others: each fault under its name."""

import threading
from datetime import UTC, datetime

import pytest

from nvr.footage.time import to_datetime
from nvr.footage.types import StreamState
from tests.e2e.newcomer import added, follows_script
from tests.e2e.recorder import SECOND, pieces, wait_recorded, wait_state
from tests.e2e.station import Station
from tests.ingest import hostile, scripted, test_flood
from tests.ingest.scripted import PPS, Media
from tests.support.processes import wait_for

pytestmark = pytest.mark.usefixtures("others_are_not_touched")


def test_it_stalls(station: Station) -> None:
    """The connection stays, and nothing comes; it is connected anew, and then it sends."""
    end = threading.Event()
    try:
        with follows_script(station, "stalls", hostile.stalling(3 * hostile.FPS, end)) as stalls:
            wait_recorded(stalls.camera, SECOND)
            ended = stalls.wait_event("silent")
            assert (ended.kind, ended.stream) == ("run_ended", "main")
            assert "no picture for 10s" in ended.detail
            wait_recorded(stalls.camera, 2 * SECOND, since_us=ended.at_us)
            first, gap, second = pieces(stalls.camera)
            assert gap == "silent"
            assert first != second
            assert stalls.counted(station, "nvr_stream_reconnects_total", reason="silent") == 1
            assert stalls.counted(station, "nvr_stream_gap_seconds_total", reason="silent") > 0
            assert stalls.camera.info().streams[0].state is StreamState.RECORDING
    finally:
        end.set()


def test_packets_that_make_no_sense(station: Station) -> None:
    with follows_script(station, "nonsense", hostile.nonsense) as nonsense:
        wait_recorded(nonsense.camera, 5 * SECOND)
        assert len(pieces(nonsense.camera)) == 1
        assert nonsense.counted(station, "nvr_stream_lost_packets_total") >= 4 * hostile.FPS
        assert nonsense.camera.info().streams[0].state is StreamState.RECORDING


HUGE = hostile.sps_of(65_535, 65_535, by_pixels=True)


@pytest.mark.parametrize(
    ("name", "media", "description", "reason", "what"),
    [
        ("garbage", hostile.garbage, "", "protocol_error", "RTSP framing error"),
        ("packets-of-garbage", hostile.garbage_in_packets, "", "protocol_error", "bad nal header"),
        ("endless-picture", hostile.endless_picture, "", "protocol_error", "33554432 bytes"),
        (
            "huge",
            hostile.keyframes(HUGE, PPS),
            scripted.sdp(HUGE, PPS),
            "codec_not_supported",
            "SPS has invalid pixel dimensions",
        ),
    ],
    ids=["garbage", "packets-of-garbage", "endless-picture", "huge"],
)
def test_its_session_is_closed(
    name: str, media: Media, description: str, reason: str, what: str, station: Station
) -> None:
    with follows_script(station, name, media, description) as sender:
        assert what in sender.wait_event(reason).detail
        wait_for(
            lambda: sender.counted(station, "nvr_stream_reconnects_total", reason=reason) >= 2,
            "it is tried again, and does the same",
            every_s=0.2,
        )
        assert {event.reason for event in sender.events if event.reason} == {reason}


def test_it_sends_no_keyframe(station: Station) -> None:
    with follows_script(station, "keyless", lambda: hostile.steady(0)) as keyless:
        wait_state(keyless.camera, StreamState.CONNECTING, "no_keyframe")
        # After 30 s it is a fact of the log.
        down = keyless.wait_event("no_keyframe")
        assert down.kind == "stream_down"
        now = datetime.now(UTC)
        assert [gap.reason for gap in keyless.camera.coverage(to_datetime(down.at_us), now).gaps] == [
            "no_keyframe"
        ]
        assert keyless.counted(station, "nvr_stream_reconnects_total", reason="no_keyframe") == 0


def test_its_parameters_change_all_the_time(station: Station) -> None:
    quiet = threading.Event()
    with follows_script(station, "restless", hostile.changing_parameters(quiet)) as restless:
        wait_state(restless.camera, StreamState.CONNECTING, "parameter_flood")
        flooded = restless.wait_event("parameter_flood")
        quiet.set()
        wait_recorded(restless.camera, 2 * SECOND, since_us=flooded.at_us)
        assert "parameter_flood" in pieces(restless.camera)
        assert len(station.recorder.segments(restless.id)) <= 20


def test_it_floods(station: Station) -> None:
    with test_flood.simulator() as cameras:
        cameras.add("flood", test_flood.media(test_flood.FLOOD_BYTES))
        with added(station, "flood", f"rtsp://127.0.0.1:{cameras.port}/flood") as flood:
            wait_recorded(flood.camera, 5 * SECOND)
            assert len(pieces(flood.camera)) == 1
