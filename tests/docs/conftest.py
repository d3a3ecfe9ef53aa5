import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvr
from benches import node, recipe
from benches.harness import wait_until
from benches.simulator import simulated_cameras
from tests.docs.running import CAMERA, Running

# Where the README's settings say that it stands.
PLACE = (19.9275, 105.8571)
# The examples look back so far.
RECORDED_S = 12


@pytest.fixture(scope="package")
def camera_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("camera")
    with simulated_cameras(recipe.make(work, 20), 1, work) as cameras:
        (url,) = cameras.addresses.values()
        yield url


def recorded(url: str, work: Path) -> Iterator[Running]:
    store = work / "store"
    with node.recorder(store, {CAMERA: url}, work) as started:
        wait_until(lambda: node.recording(started.address) == 1, "the camera is recorded")
        with nvr.connect(started.address) as net:
            net.camera(CAMERA).update(place=PLACE)
        oldest = time.time_ns() // 1000
        wait_until(
            lambda: node.newest_us(started.address) > oldest + RECORDED_S * 1_000_000, "there is footage"
        )
        yield Running(started.address, store)


@pytest.fixture(scope="package")
def running(camera_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from recorded(camera_url, tmp_path_factory.mktemp("running"))


@pytest.fixture
def stopped(camera_url: str, tmp_path: Path) -> Running:
    (tmp_path / "node").mkdir()
    (found,) = recorded(camera_url, tmp_path / "node")
    return found
