"""A recorder that runs beside all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.e2e.recorder import SECOND, recorded_range, runs, wait_recorded
from tests.e2e.station import Station, sessions
from tests.e2e.station import station as run_station
from tests.support.processes import wait_for


@pytest.fixture(scope="package", autouse=True)
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """Starts with the folder's first test: what needs minutes of footage comes last."""
    with run_station(tmp_path_factory.mktemp("station")) as running:
        yield running


@pytest.fixture
def others_are_not_touched(station: Station) -> Iterator[None]:
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
