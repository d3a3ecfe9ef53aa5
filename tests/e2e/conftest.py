"""A recorder that runs beside all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.e2e.station import Station
from tests.e2e.station import station as run_station


@pytest.fixture(scope="package", autouse=True)
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """Starts with the folder's first test: what needs minutes of footage comes last."""
    with run_station(tmp_path_factory.mktemp("station")) as running:
        yield running
