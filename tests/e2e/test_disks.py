"""A disk that is full: its camera goes on on another one, and everybody is told in words."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import nvr
from nvr.errors import Incomplete, StoreError
from nvr.footage.time import to_datetime
from nvr.footage.types import Gap, TimeRange
from tests.e2e.disks import bound, fill, small_disk
from tests.e2e.recorder import SECOND, Recorder, recorded_range, wait_event, wait_recorded, watched
from tests.e2e.station import Station
from tests.support.processes import ChildProcess, wait_for


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two small disks; the first has more room."""
    with small_disk(tmp_path / "one", "64m") as one, small_disk(tmp_path / "two", "48m") as two:
        yield one, two


def on_disks(
    folder: Path, url: str, disks: tuple[Path, Path], cameras: Sequence[str] = ("gate",)
) -> Recorder:
    """A recorder of these cameras whose stores lie on these disks, and nothing else of it."""
    # What the node itself writes is elsewhere: without its audit record nothing is answered.
    stores = [disk / "store" for disk in disks]
    more = '[retention]\nmin_free = "1B"'
    return Recorder(folder / "node", dict.fromkeys(cameras, url), stores=stores, more=more)


@contextmanager
def gateway_over(address: str, folder: Path) -> Iterator[str]:
    """A gateway above a node; gives its address."""
    folder.mkdir()
    settings = folder / "nvr.toml"
    settings.write_text(
        f'[node]\nname = "ward"\ndata = "{folder / "data"}"\ngrpc = "127.0.0.1:0"\n'
        f'[[child]]\naddress = "{address}"\n'
    )
    process = ChildProcess(["-m", "nvr", "gateway", "--config", str(settings), "--json"])
    try:
        facts = json.loads(process.wait_line(lambda line: line.startswith("{")))
        yield str(facts["grpc"])
    finally:
        assert process.stop() == 0, process.errors


@pytest.mark.timeout(600)
def test_a_full_disk_costs_seconds_and_says_so(
    station: Station, tmp_path: Path, disks: tuple[Path, Path]
) -> None:
    recorder = on_disks(tmp_path, station.cameras.url("h264"), disks)
    try:
        recorder.start()
        with nvr.connect(recorder.address) as net, watched(recorder.address, "gate") as events:
            camera = net.camera("gate")
            wait_recorded(camera, 3 * SECOND)
            assert list(disks[0].glob("store/*/main/*/*.mp4")), "the disk with more room is taken first"
            assert not list(disks[1].glob("store/*/main/*/*.mp4"))
            filler = fill(disks[0])
            wait_for(lambda: any(disks[1].glob("store/*/main/*/*.mp4")), "it moves")
            moved_us = recorded_range(camera)[1]
            wait_recorded(camera, 5 * SECOND, since_us=moved_us)
            label = f'nvr_store_trouble{{reason="disk_full",store="{disks[0] / "store"}"}} 1.0'
            assert label in recorder.metrics()
            start_us, end_us = recorded_range(camera)
            gaps = camera.coverage(to_datetime(start_us), to_datetime(end_us)).gaps
            assert [gap.reason for gap in gaps] == ["disk_full"], gaps
            assert "No space left on device" in recorder.written()
            assert f"moved to {disks[1] / 'store'}" in recorder.written()
            told = wait_event(events, "disk_full")
            assert (told.camera_id, told.reason, told.node) == ("", "disk_full", "station-1")
            assert f"store {disks[0] / 'store'}: " in told.detail
            assert "No space left on device" in told.detail
            # With room again it is used again: the streams that were there went, and nobody else writes
            # there who would notice.
            before = set(disks[0].glob("store/*/main/*/*.mp4"))
            filler.unlink()
            well = wait_event(events, "disk_recovered", within_s=120)
            assert (well.reason, well.detail) == ("disk_full", f"store {disks[0] / 'store'}: records again")
            assert label not in recorder.metrics()
            wait_for(lambda: bool(set(disks[0].glob("store/*/main/*/*.mp4")) - before), "it comes back")
            # Once each, however often the disk is looked at.
            assert [e.kind for e in events if e.kind.startswith("disk_")] == ["disk_full", "disk_recovered"]
        # After a restart all of it is there.
        recorder.stop()
        recorder.start()
        with nvr.connect(recorder.address) as net:
            camera = net.camera("gate")
            assert recorded_range(camera)[0] == start_us
            again = camera.coverage(to_datetime(start_us), to_datetime(end_us)).gaps
            assert [(gap.range, gap.reason) for gap in again] == [(gap.range, gap.reason) for gap in gaps]
        recorder.stop()
        for disk in disks:
            (report,) = recorder.records("store", "check", "--digests", str(disk / "store"))
            assert report["problems"] == []
    finally:
        recorder.stop()


@pytest.mark.timeout(600)
def test_a_disk_that_is_unmounted_is_noticed_and_nothing_is_lost(
    station: Station, tmp_path: Path, disks: tuple[Path, Path]
) -> None:
    recorder = on_disks(tmp_path, station.cameras.url("h264"), disks)
    try:
        recorder.start()
        with nvr.connect(recorder.address) as net, watched(recorder.address, "gate") as events:
            camera = net.camera("gate")
            wait_recorded(camera, 3 * SECOND)
            assert list(disks[0].glob("store/*/main/*/*.mp4"))
            subprocess.run(["umount", "-l", str(disks[0])], check=True)
            wait_for(lambda: any(disks[1].glob("store/*/main/*/*.mp4")), "it moves")
            moved_us = recorded_range(camera)[1]
            wait_recorded(camera, 5 * SECOND, since_us=moved_us)
            label = f'nvr_store_trouble{{reason="disk_error",store="{disks[0] / "store"}"}} 1.0'
            assert label in recorder.metrics()
            end_us = recorded_range(camera)[1]
            found = camera.coverage(to_datetime(moved_us), to_datetime(end_us))
            assert (found.complete, found.gaps) == (True, ()), found
            assert "was its disk unmounted?" in recorder.written()
            assert f"moved to {disks[1] / 'store'}" in recorder.written()
            told = wait_event(events, "disk_error")
            assert (told.camera_id, told.reason, told.node) == ("", "disk_error", "station-1")
            assert f"store {disks[0] / 'store'}: " in told.detail
            assert "was its disk unmounted?" in told.detail
        # In good order, whatever it cannot sync.
        recorder.stop()
        assert f"closed without the disk of {disks[0] / 'store'}" in recorder.written()
        assert not list(disks[0].iterdir()), "nothing is written where the disk was"
    finally:
        recorder.stop()


@pytest.mark.timeout(600)
def test_readers_are_told_what_lies_on_a_disk_that_is_gone(
    station: Station, tmp_path: Path, disks: tuple[Path, Path]
) -> None:
    # One that can be mounted again: what lies on a tmpfs goes with its last mount.
    first = tmp_path / "first"
    with bound(disks[0], first):
        recorder = on_disks(tmp_path, station.cameras.url("h264"), (first, disks[1]))
        try:
            recorder.start()
            with (
                nvr.connect(recorder.address) as net,
                nvr.connect(recorder.address, partial="refuse") as strict,
            ):
                camera = net.camera("gate")
                start_us, end_us = wait_recorded(camera, 5 * SECOND)
                # What is newest is still being written.
                end_us -= SECOND
                assert list(first.glob("store/*/main/*/*.mp4"))
                asked = TimeRange(start_us, end_us)
                whole = camera.coverage(asked.start, asked.end)
                assert (whole.complete, whole.gaps) == (True, ()), whole
                clip = camera.clip(asked.start, asked.end).plan()

                subprocess.run(["umount", "-l", str(first)], check=True)
                wait_for(lambda: any(disks[1].glob("store/*/main/*/*.mp4")), "it moves")
                found = camera.coverage(asked.start, asked.end)
                assert (found.complete, found.spans) == (False, ()), found
                (gap,) = found.gaps
                assert (gap.reason, gap.range) == ("disk_error", asked)
                assert str(first / "store") in gap.detail
                told = [("disk_error", asked)]
                assert [(warning.code, warning.range) for warning in found.warnings] == told
                # Whoever plans by it has to ask this node.
                assert recorded_range(camera)[0] <= start_us

                plan = camera.clip(asked.start, asked.end).plan()
                assert (plan.complete, plan.parts) == (False, ()), plan
                assert [(gap.reason, gap.range) for gap in plan.gaps] == told
                assert [(warning.code, warning.range) for warning in plan.warnings] == told
                for answer in (
                    camera.fragments(asked.start, asked.end),
                    camera.frames(asked.start, asked.end, every="1s"),
                ):
                    assert answer.all() == []
                    assert not answer.complete
                    assert [(warning.code, warning.range) for warning in answer.warnings] == told
                cameras = net.find(start=asked.start, end=asked.end)
                (one,) = cameras.all()
                assert [(item.reason, item.range) for item in one.coverage if isinstance(item, Gap)] == told
                assert not cameras.complete
                assert [(warning.code, warning.range) for warning in cameras.warnings] == told
                middle = to_datetime((start_us + end_us) // 2)
                for ask in (camera.locate, camera.snapshot):
                    with pytest.raises(StoreError, match=re.escape(str(first))):
                        ask(middle)
                nearest = camera.locate(middle, mode="next")
                assert nearest.start_us >= end_us
                assert [warning.code for warning in nearest.notices] == ["disk_error"]
                with pytest.raises(Incomplete):
                    strict.camera("gate").clip(asked.start, asked.end).plan()
                with (
                    gateway_over(recorder.address, tmp_path / "gateway") as ward,
                    nvr.connect(ward) as above,
                    nvr.connect(ward, partial="refuse") as strict_above,
                ):
                    wait_for(lambda: bool(above.cameras()), "the gateway knows the camera")
                    camera_above = above.camera("gate")
                    found = camera_above.coverage(asked.start, asked.end)
                    # Another node may have it: what one cannot tell is no gap there.
                    assert (found.complete, found.items) == (False, ()), found
                    of_node = [(*told[0], "station-1")]
                    assert [(w.code, w.range, w.node) for w in found.warnings] == of_node
                    plan = camera_above.clip(asked.start, asked.end).plan()
                    assert (plan.complete, plan.parts) == (False, ()), plan
                    assert [(w.code, w.range, w.node) for w in plan.warnings] == of_node
                    with pytest.raises(Incomplete):
                        strict_above.camera("gate").clip(asked.start, asked.end).plan()

                # It is there again, and nothing is lost.
                subprocess.run(["mount", "--bind", str(disks[0]), str(first)], check=True)
                wait_for(lambda: camera.coverage(asked.start, asked.end).complete, "it is found again")
                assert camera.coverage(asked.start, asked.end).items == whole.items
                again = camera.clip(asked.start, asked.end).plan()
                assert again.complete
                assert [part.etag for part in again.parts] == [part.etag for part in clip.parts]
        finally:
            recorder.stop()


@pytest.mark.timeout(600)
def test_a_disk_that_is_not_mounted_is_missed_and_used_once_it_comes(
    station: Station, tmp_path: Path, disks: tuple[Path, Path]
) -> None:
    first = tmp_path / "first"
    names = ("east", "west")
    trouble = f'nvr_store_trouble{{reason="disk_error",store="{first / "store"}"}} 1.0'

    def on_first() -> set[Path]:
        return set(first.glob("store/*/main/*/*.mp4"))

    with bound(disks[0], first):
        recorder = on_disks(tmp_path, station.cameras.url("h264"), (first, disks[1]), names)
        try:
            recorder.start()
            with nvr.connect(recorder.address) as net:
                ranges = {name: wait_recorded(net.camera(name), 4 * SECOND) for name in names}
                ids = {name: net.camera(name).info().id for name in names}
                lost = next(name for name in names if any(first.glob(f"store/{ids[name]}/main/*/*.mp4")))
                kept = next(name for name in names if name != lost)
                assert any(disks[1].glob(f"store/{ids[kept]}/main/*/*.mp4")), "each disk has one"
            recorder.stop()
            before = on_first()
            subprocess.run(["umount", str(first)], check=True)

            recorder.start()
            with nvr.connect(recorder.address) as net:
                for name in names:
                    wait_recorded(net.camera(name), 3 * SECOND, since_us=max(r[1] for r in ranges.values()))
                assert not list(first.iterdir()), "nothing is written where the disk is to be mounted"
                assert trouble in recorder.metrics()
                assert "is it mounted?" in recorder.written()
                start_us, end_us = ranges[lost]
                asked = TimeRange(start_us, end_us - SECOND)
                found = net.camera(lost).coverage(asked.start, asked.end)
                told = [("disk_error", asked)]
                assert [(gap.reason, gap.range) for gap in found.gaps] == told
                assert [(warning.code, warning.range) for warning in found.warnings] == told
                assert not found.complete
                start_us, end_us = ranges[kept]
                of_other = TimeRange(start_us, end_us - SECOND)
                whole = net.camera(kept).coverage(of_other.start, of_other.end)
                assert (whole.complete, whole.gaps) == (True, ()), "it never lay there"
                # It comes: what lies there is found, and it is recorded on.
                with watched(recorder.address, kept) as events:
                    subprocess.run(["mount", "--bind", str(disks[0]), str(first)], check=True)
                    came = wait_event(events, "disk_recovered")
                assert (came.reason, came.detail) == ("disk_error", f"store {first / 'store'}: records again")
                found = net.camera(lost).coverage(asked.start, asked.end)
                assert (found.complete, found.gaps) == (True, ()), found
                wait_for(lambda: bool(on_first() - before), "it is recorded on")
                assert trouble not in recorder.metrics()
            recorder.stop()
            for disk in (first, disks[1]):
                (report,) = recorder.records("store", "check", "--digests", str(disk / "store"))
                assert report["problems"] == []
        finally:
            recorder.stop()
