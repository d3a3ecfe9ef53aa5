"""Cameras that a test adds to the station's recorder for as long as it needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import nvr
from nvr.footage.types import Event
from tests.e2e.recorder import watched
from tests.e2e.station import Station
from tests.ingest import scripted
from tests.ingest.scripted import PPS, SPS, Media
from tests.support.processes import wait_for


@dataclass(frozen=True)
class Newcomer:
    """A camera that a test adds to the node, and the node's events of it."""

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
def added(station: Station, name: str, url: str) -> Iterator[Newcomer]:
    """The camera at an address, added to the node and removed again."""
    with watched(station.recorder.address, "h264") as events:
        station.recorder.nvr("cameras", "add", name, "--main", url)
        camera = station.camera(name)
        yield Newcomer(camera, name, camera.info().id, events)
        station.recorder.nvr("cameras", "remove", name, "--yes")


@contextmanager
def follows_script(station: Station, name: str, media: Media, description: str = "") -> Iterator[Newcomer]:
    """A camera that follows a script."""
    with (
        scripted.camera(description or scripted.sdp(SPS, PPS), media) as url,
        added(station, name, url) as found,
    ):
        yield found
