"""What a recorder deletes to keep to its limits, what it keeps, and what it says of both."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvr
from nvr import _core
from nvr.footage.time import to_datetime
from nvr.footage.types import Gap, Span
from nvr.simulate.scenes import Scene, generate
from tests.acceptance.recorded import record_run
from tests.e2e.disks import fill, free, small_disk
from tests.e2e.recorder import SECOND, Recorder, recorded_range, wait_event, wait_recorded, watched
from tests.e2e.station import Station
from tests.support.processes import wait_for

HOUR = 3600 * SECOND
MIN_FREE = 16_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "32m") as folder:
        yield folder


def shown(camera: nvr.Camera, start_us: int, end_us: int) -> list[str]:
    """What there is of a range, in order: ``footage``, or why there is none."""
    found = camera.coverage(to_datetime(start_us), to_datetime(end_us))
    assert found.complete
    return ["footage" if isinstance(item, Span) else item.reason for item in found]


@pytest.mark.timeout(600)
def test_the_oldest_footage_makes_room_and_what_is_held_stays(
    station: Station, tmp_path: Path, disk: Path
) -> None:
    url = station.cameras.url("h264")
    more = f'[retention]\nmin_free = "{MIN_FREE}B"'
    recorder = Recorder(tmp_path / "node", {"gate": url}, stores=[disk / "store"], more=more)
    try:
        # Four segments.
        recorder.start()
        with nvr.connect(recorder.address) as net:
            camera = net.camera("gate")
            camera_id = camera.info().id
            for _ in range(4):
                camera.update(enabled=True)
                wait_recorded(camera, 3 * SECOND, since_us=recorded_range(camera)[1])
                camera.update(enabled=False)
            start_us, _ = recorded_range(camera)
        recorder.stop()
        held, second, third, fourth = recorder.segments(camera_id)
        sizes = {path: path.stat().st_size for path in (held, second, third, fourth)}
        store = _core.Store([str(recorder.store)], beside=[str(recorder.folder / "data")])
        store.hold(camera_id, "main", "case-7", start_us, start_us + 1)
        store.close()

        # Something else takes room: with the second segment gone there is too little of it, with the
        # third enough. The camera is disabled: nothing is written meanwhile.
        recorder.start()
        with nvr.connect(recorder.address) as net, watched(recorder.address, "gate") as events:
            camera = net.camera("gate")
            _, end_us = recorded_range(camera)
            assert shown(camera, start_us, end_us).count("footage") == 4
            fill(disk, MIN_FREE - sizes[second] - sizes[third] // 2)
            expired = wait_event(events, "segments_expired", within_s=120)
            assert (expired.camera_id, expired.reason, expired.node) == ("", "expired", "station-1")
            assert expired.detail == "retention deleted 2 segments"
            assert "retention deleted 2 segments" in recorder.written()
            assert recorder.segments(camera_id) == [held, fourth]
            assert free(disk) >= MIN_FREE
            # Of what is held nothing is lost, of the others all, and it is said why.
            found = camera.coverage(to_datetime(start_us), to_datetime(end_us))
            first, gap, *_, last = found
            assert isinstance(first, Span)
            assert isinstance(gap, Gap)
            assert isinstance(last, Span)
            assert gap.reason == "expired"
            assert last.range.end_us == end_us
            clip = camera.clip(to_datetime(start_us), to_datetime(end_us)).plan()
            assert [each.reason for each in clip.gaps][:1] == ["expired"]
            label = f'nvr_store_held_bytes{{store="{recorder.store}"}} '
            assert f"{label}{sizes[held]:.1f}\n" in recorder.metrics()
            camera.update(enabled=True)
        recorder.stop()
        assert "are free, and no footage is left" not in recorder.written()

        # Far too little room: all goes but what is held and what is being recorded.
        filler = fill(disk, MIN_FREE // 2)
        recorder.start()
        with nvr.connect(recorder.address) as net:
            camera = net.camera("gate")
            wait_for(lambda: not fourth.exists(), "the rest of it goes", within_s=120)
            wait_recorded(camera, 3 * SECOND, since_us=end_us)
            words = (
                rf"store {recorder.store}: only \d MB are free, and no footage is left that may be deleted; "
                "what is left is held: release it, or give the store more room"
            )
            wait_for(lambda: re.search(words, recorder.written()) is not None, "it is said what is wrong")
            assert shown(camera, start_us, end_us)[0] == "footage"
            assert held in recorder.segments(camera_id)
        recorder.stop()

        # Released, it is footage as any other.
        store = _core.Store([str(recorder.store)], beside=[str(recorder.folder / "data")])
        assert store.release(camera_id, "main", "case-7")
        store.close()
        recorder.start()
        wait_for(lambda: not held.exists(), "what was held goes", within_s=120)
        wait_for(lambda: "something else fills this disk" in recorder.written(), "it is said what is wrong")
        filler.unlink()
        recorder.stop()
        (report,) = recorder.records("store", "check", "--digests", str(recorder.store))
        assert report["problems"] == []
    finally:
        recorder.stop()


GROUPS = """
[retention]
max_age = "10h"
min_free = "0B"
[[retention.groups]]
cameras = ["private", "nobody", "home"]
max_age = "2h"
[[retention.groups]]
cameras = ["court", "private"]
max_age = "20h"
[[retention.groups]]
cameras = ["shop", "kiosk", "nowhere"]
max_bytes = "{max_bytes}B"
"""
HOURS = {
    "private": (25, 15, 5, 1),
    "court": (25, 15, 5, 1),
    "yard": (25, 15, 5, 1),
    "home": (15, 5, 1),
    "shop": (7, 3, 1),
    "kiosk": (4, 2),
}
"""How long ago each camera was recorded, for two seconds."""
KEPT = {
    # Of several groups the shortest; the node's own limit holds for the others.
    "private": (1,),
    "court": (15, 5, 1),
    "yard": (5, 1),
    "home": (1,),
    # The oldest of both together.
    "shop": (3, 1),
    "kiosk": (2,),
}


def test_each_group_keeps_to_its_own_limits(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "node", {name: f"rtsp://127.0.0.1:9/{name}" for name in HOURS})
    file = generate(Scene(width=160, height=90, fps=5, duration_s=2, bit_rate=20_000), tmp_path / "scenes")
    now_us = time.time_ns() // 1000
    try:
        recorder.start()
        with nvr.connect(recorder.address) as net:
            ids = {name: net.camera(name).info().id for name in HOURS}
            # Its footage stays, with the limits that it had, also when another camera has the name.
            net.camera("home").remove()
            net.add_camera("home", "rtsp://127.0.0.1:9/other", enabled=False)
        recorder.stop()
        store = _core.Store([str(recorder.store)])
        for name, hours in HOURS.items():
            for each in hours:
                record_run(store, ids[name], file, now_us - each * HOUR, "disconnected")
        store.close()
        segments = {name: recorder.segments(ids[name]) for name in HOURS}
        kept = {name: segments[name][-len(hours) :] for name, hours in KEPT.items()}
        max_bytes = sum(path.stat().st_size for path in kept["shop"] + kept["kiosk"])
        recorder.settings.write_text(recorder.settings.read_text() + GROUPS.format(max_bytes=max_bytes))

        recorder.start()
        gone = sum(map(len, HOURS.values())) - sum(map(len, KEPT.values()))
        wait_for(lambda: f"retention deleted {gone} segments" in recorder.written(), "a pass of retention")
        assert {name: recorder.segments(ids[name]) for name in HOURS} == kept
        with nvr.connect(recorder.address) as net:
            for name, hours in HOURS.items():
                for each in hours:
                    start_us = now_us - each * HOUR
                    found = shown(net.camera(ids[name]), start_us, start_us + 2 * SECOND)
                    assert found == ["footage" if each in KEPT[name] else "expired"], (name, each)
        assert recorder.written().count("retention: no camera is named nobody, nowhere") == 1
        recorder.stop()
        (report,) = recorder.records("store", "check", "--digests", str(recorder.store))
        assert (report["problems"], report["segments"]) == ([], sum(map(len, KEPT.values())))
    finally:
        recorder.stop()
