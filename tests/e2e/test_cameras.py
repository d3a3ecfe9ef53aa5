"""Cameras that come and go, on a node that goes on recording the others."""

import json
from contextlib import ExitStack
from pathlib import Path

import av
import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import StreamState
from tests.e2e.media import assert_decodes
from tests.e2e.recorder import SECOND, pieces, recorded_range, runs, wait_recorded, wait_state
from tests.e2e.station import Station, sessions
from tests.support.processes import ChildProcess, child, wait_for

pytestmark = pytest.mark.usefixtures("others_are_not_touched")


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


def test_a_camera_comes_back_with_another_codec(station: Station, tmp_path: Path) -> None:
    station.cameras.add("changed", station.played["h264-b-frames"].file)
    station.recorder.nvr("cameras", "add", "changed", "--main", station.cameras.url("changed"))
    changed = station.camera("changed")
    wait_recorded(changed, 2 * SECOND)

    station.cameras.remove("changed")
    wait_state(changed, StreamState.WAITING, "no_such_path")
    gone_us = recorded_range(changed)[1]
    station.cameras.add("changed", station.played["h265-b-frames"].file)
    wait_recorded(changed, 2 * SECOND, since_us=gone_us)
    assert_resumed(changed, {"disconnected", "no_such_path"})
    start_us, end_us = recorded_range(changed)
    report = changed.clip(to_datetime(start_us), to_datetime(end_us)).save(tmp_path / "clip.mp4")
    assert_decodes(*report.paths)
    with ExitStack() as stack:
        opened = [stack.enter_context(av.open(str(path))) for path in report.paths]
        assert [each.streams.video[0].codec.name for each in opened] == ["h264", "hevc"]
    assert changed.info().streams[0].video_codec.startswith("hvc1.")
    station.recorder.nvr("cameras", "remove", "changed", "--yes")


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
