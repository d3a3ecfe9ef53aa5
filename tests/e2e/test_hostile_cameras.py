"""Cameras that misbehave, on a node that goes on recording the others: each fault under its name."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import Event, StreamState
from tests.e2e.recorder import SECOND, pieces, wait_recorded, wait_state
from tests.e2e.station import Station, watched
from tests.ingest import hostile, scripted, test_flood
from tests.ingest.scripted import PPS, SPS, Media
from tests.support.processes import wait_for

pytestmark = pytest.mark.usefixtures("others_are_not_touched")


@dataclass(frozen=True)
class Hostile:
    """A camera that misbehaves, and the node's events of it."""

    camera: nvr.Camera
    name: str
    id: str
    all_events: list[Event]

    @property
    def events(self) -> list[Event]:
        """Those of this camera, so far."""
        return [event for event in self.all_events if event.camera_id == self.id]

    def wait_event(self, reason: str) -> Event:
        """The first event with a reason, once it comes."""
        wait_for(lambda: any(e.reason == reason for e in self.events), f"an event {reason}", every_s=0.1)
        return next(event for event in self.events if event.reason == reason)

    def counted(self, station: Station, metric: str, **more: str) -> float:
        """The value of a metric of its main stream."""
        labels = {"camera": self.name, "stream": "main", **more}
        text = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
        start = f"{metric}{{{text}}} "
        lines = [line for line in station.recorder.metrics().splitlines() if line.startswith(start)]
        return float(lines[0].removeprefix(start)) if lines else 0.0


@contextmanager
def added(station: Station, name: str, url: str) -> Iterator[Hostile]:
    """The camera at an address, added to the node and removed again."""
    with watched(station) as events:
        station.recorder.nvr("cameras", "add", name, "--main", url)
        camera = station.camera(name)
        yield Hostile(camera, name, camera.info().id, events)
        station.recorder.nvr("cameras", "remove", name, "--yes")


@contextmanager
def hostile_camera(station: Station, name: str, media: Media, description: str = "") -> Iterator[Hostile]:
    """A camera that follows a script."""
    with (
        scripted.camera(description or scripted.sdp(SPS, PPS), media) as url,
        added(station, name, url) as found,
    ):
        yield found


def test_it_stalls(station: Station) -> None:
    """The connection stays, and nothing comes; it is connected anew, and then it sends."""
    end = threading.Event()
    try:
        with hostile_camera(station, "stalls", hostile.stalling(3 * hostile.FPS, end)) as stalls:
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
    with hostile_camera(station, "nonsense", hostile.nonsense) as nonsense:
        wait_recorded(nonsense.camera, 5 * SECOND)
        assert len(pieces(nonsense.camera)) == 1
        assert nonsense.counted(station, "nvr_stream_lost_packets_total") >= 4 * hostile.FPS
        assert nonsense.camera.info().streams[0].state is StreamState.RECORDING


HUGE = hostile.sps_of(65_535, 65_535, by_pixels=True)


@pytest.mark.parametrize(
    ("name", "media", "description", "reason"),
    [
        ("garbage", hostile.garbage, "", "protocol_error"),
        ("packets-of-garbage", hostile.garbage_in_packets, "", "protocol_error"),
        ("endless-picture", hostile.endless_picture, "", "protocol_error"),
        ("huge", hostile.keyframes(HUGE, PPS), scripted.sdp(HUGE, PPS), "codec_not_supported"),
    ],
    ids=["garbage", "packets-of-garbage", "endless-picture", "huge"],
)
def test_its_session_is_closed(
    name: str, media: Media, description: str, reason: str, station: Station
) -> None:
    with hostile_camera(station, name, media, description) as sender:
        sender.wait_event(reason)
        wait_for(
            lambda: sender.counted(station, "nvr_stream_reconnects_total", reason=reason) >= 2,
            "it is tried again, and does the same",
            every_s=0.2,
        )
        assert {event.reason for event in sender.events if event.reason} == {reason}


def test_it_sends_no_keyframe(station: Station) -> None:
    with hostile_camera(station, "keyless", lambda: hostile.steady(0)) as keyless:
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
    with hostile_camera(station, "restless", hostile.changing_parameters(quiet)) as restless:
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
