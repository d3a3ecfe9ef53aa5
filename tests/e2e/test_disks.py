"""A disk that is full: its camera goes on on another one, and everybody is told in words."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvr
from nvr.footage.time import to_datetime
from tests.e2e.recorder import SECOND, Recorder, recorded_range, wait_recorded
from tests.e2e.station import Station
from tests.support.processes import wait_for


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two small disks; the first has more room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folders = (tmp_path / "one", tmp_path / "two")
    mounted: list[Path] = []
    try:
        for folder, size in zip(folders, ("64m", "48m"), strict=True):
            folder.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
            mounted.append(folder)
        yield folders
    finally:
        for folder in filter(os.path.ismount, mounted):
            subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room on a disk."""
    path = disk / "filler"
    with path.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            return path


def on_disks(folder: Path, url: str, disks: tuple[Path, Path]) -> Recorder:
    """A recorder of one camera whose stores lie on these disks, and nothing else of it."""
    recorder = Recorder(folder / "node", {"gate": url})
    text = recorder.settings.read_text()
    stores = ", ".join(f'"{disk / "store"}"' for disk in disks)
    # What the node itself writes is elsewhere: without its audit record nothing is answered.
    folders = f'stores = [{stores}]\ndata = "{folder / "data"}"'
    text = text.replace(f'stores = ["{recorder.store}"]', folders)
    recorder.settings.write_text(text + '\n[retention]\nmin_free = "1B"\n')
    return recorder


@pytest.mark.timeout(600)
def test_a_full_disk_costs_seconds_and_says_so(
    station: Station, tmp_path: Path, disks: tuple[Path, Path]
) -> None:
    recorder = on_disks(tmp_path, station.cameras.url("h264"), disks)
    try:
        recorder.start()
        with nvr.connect(recorder.address) as net:
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
        # With room again, and after a restart, all of it is there.
        filler.unlink()
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
        with nvr.connect(recorder.address) as net:
            camera = net.camera("gate")
            wait_recorded(camera, 3 * SECOND)
            assert list(disks[0].glob("store/*/main/*/*.mp4"))
            subprocess.run(["umount", "-l", str(disks[0])], check=True)
            wait_for(lambda: any(disks[1].glob("store/*/main/*/*.mp4")), "it moves")
            moved_us = recorded_range(camera)[1]
            wait_recorded(camera, 5 * SECOND, since_us=moved_us)
            label = f'nvr_store_trouble{{reason="disk_error",store="{disks[0] / "store"}"}} 1.0'
            assert label in recorder.metrics()
            start_us, end_us = recorded_range(camera)
            gaps = camera.coverage(to_datetime(start_us), to_datetime(end_us)).gaps
            assert sum(gap.range.duration_us for gap in gaps) < 50_000, gaps
            assert "was its disk unmounted?" in recorder.written()
            assert f"moved to {disks[1] / 'store'}" in recorder.written()
            assert not list(disks[0].iterdir()), "nothing is written where the disk was"
    finally:
        # In good order it would say that the disk is not there to be synced.
        recorder.kill()
