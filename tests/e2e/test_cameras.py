"""Cameras that come and go, on a node that goes on recording the others."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import Span, StreamState
from tests.e2e.recorder import SECOND, recorded_range, runs, wait_recorded, wait_state
from tests.e2e.station import Station
from tests.support.processes import ChildProcess, child, wait_for


@pytest.fixture(autouse=True)
def _others_are_not_touched(station: Station) -> Iterator[None]:
    """Every other camera records on in the run in which it recorded before."""
    others = [station.camera(name) for name in station.played]
    for camera in others:
        wait_recorded(camera, SECOND)
    before = [runs(camera) for camera in others]
    assert all(len(found) == 1 for found in before)
    yield
    newest_us = [recorded_range(camera)[1] for camera in others]
    for camera, since_us in zip(others, newest_us, strict=True):
        wait_recorded(camera, SECOND, since_us=since_us)
    assert [runs(camera) for camera in others] == before
    wait_for(lambda: sessions(station) == len(station.played), "no session but theirs is left")


def sessions(station: Station) -> int:
    return station.cameras.stats()["sessions"]


def pieces(camera: nvr.Camera) -> list[str]:
    """Of all that is on disk: the run of each span, and the reason of each gap."""
    start_us, end_us = recorded_range(camera)
    found = camera.coverage(to_datetime(start_us), to_datetime(end_us))
    return [item.run_id if isinstance(item, Span) else item.reason for item in found]


def assert_resumed(camera: nvr.Camera, reasons: set[str]) -> None:
    """Two runs with a gap between them, in which only these things were the matter."""
    first, *between, last = pieces(camera)
    assert between
    assert set(between) <= reasons
    assert len({first, last, *between}) == len(set(between)) + 2


def test_a_camera_goes_away_and_comes_back(station: Station) -> None:
    played = station.played["h264-b-frames"]
    station.cameras.add("visitor", played.file)
    station.recorder.nvr("cameras", "add", "visitor", "--main", station.cameras.url("visitor"))
    visitor = station.camera("visitor")
    wait_recorded(visitor, 2 * SECOND)

    station.cameras.remove("visitor")
    wait_state(visitor, StreamState.WAITING, "no_such_path")
    gone_us = recorded_range(visitor)[1]
    station.cameras.add("visitor", played.file)
    wait_recorded(visitor, 2 * SECOND, since_us=gone_us)
    assert_resumed(visitor, {"disconnected", "no_such_path"})
    station.recorder.nvr("cameras", "remove", "visitor", "--yes")


def test_a_camera_is_switched_off_and_on(station: Station) -> None:
    file = str(station.played["h265-open-gop"].file)

    with ExitStack() as stack:

        def plugged_in(port: int) -> ChildProcess:
            arguments = ("simulate", file, "--listen", f"127.0.0.1:{port}", "--json")
            return stack.enter_context(child("-m", "nvr", *arguments))

        camera = plugged_in(0)
        (row,) = json.loads(camera.wait_line(lambda line: line.startswith("{")))["cameras"]
        url = row["main_url"]
        station.recorder.nvr("cameras", "add", "switched", "--main", url)
        switched = station.camera("switched")
        wait_recorded(switched, 2 * SECOND)
        camera.process.kill()
        wait_state(switched, StreamState.WAITING, "refused")
        gone_us = recorded_range(switched)[1]
        plugged_in(int(url.split(":")[2].split("/")[0]))
        wait_recorded(switched, 2 * SECOND, since_us=gone_us)
        assert_resumed(switched, {"disconnected", "refused"})
        station.recorder.nvr("cameras", "remove", "switched", "--yes")


def test_cameras_are_added_edited_and_removed(station: Station) -> None:
    recorder, played = station.recorder, station.played["h264"]
    alone = sessions(station)
    station.cameras.add("guest", played.file)
    station.cameras.add("other", played.file)
    recorder.nvr("cameras", "add", "guest", "--main", station.cameras.url("guest"))
    guest = station.camera("guest")
    camera_id = guest.info().id
    wait_recorded(guest, 2 * SECOND)
    assert sessions(station) == alone + 1

    # A title is no reason to interrupt anything.
    recorder.nvr("cameras", "edit", "guest", "--title", "Khách", "--lat", "19.9", "--lon", "105.8")
    wait_recorded(guest, SECOND, since_us=recorded_range(guest)[1])
    assert (len(runs(guest)), sessions(station)) == (1, alone + 1)

    # Another address is: the old session ends, a new run begins.
    recorder.nvr("cameras", "edit", "guest", "--main", station.cameras.url("other"))
    # Until then the old session records: what was recorded says nothing of the new one.
    wait_for(lambda: len(runs(guest)) == 2, "a new run has begun")
    wait_for(lambda: sessions(station) == alone + 1, "the old session has ended")
    station.cameras.remove("guest")
    station.cameras.remove("other")

    recorder.nvr("cameras", "remove", "guest", "--yes")
    with pytest.raises(nvr.errors.CameraNotFound):
        guest.info()
    assert len(runs(station.camera(camera_id))) == 2
