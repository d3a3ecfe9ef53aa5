"""Footage that was recorded in the past, played over RTSP."""

from collections.abc import Iterator

import pytest

from nvr.footage.source import FootageSource
from tests.acceptance.recorded import Recorded, local_footage, record_world
from tests.rtsp.running import WAYS, Background, Out, background, reached, rtsp_out
from tests.rtsp.station import Station
from tests.rtsp.station import station as run_station


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with record_world(tmp_path_factory.mktemp("recorded")) as found:
        yield found


@pytest.fixture(scope="module")
def loop() -> Iterator[Background]:
    with background() as running:
        yield running


@pytest.fixture(scope="module")
def footage(loop: Background, recorded: Recorded) -> FootageSource:
    return loop.enter(local_footage(recorded))


@pytest.fixture(scope="module", params=WAYS)
def out(request: pytest.FixtureRequest, loop: Background, footage: FootageSource) -> Out:
    source = loop.enter(reached(request.param, footage))
    return loop.enter(rtsp_out(source))


@pytest.fixture(scope="package")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with run_station(tmp_path_factory.mktemp("station")) as running:
        yield running
