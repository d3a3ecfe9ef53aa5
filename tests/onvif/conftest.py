"""A camera that somebody else wrote."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvr.simulate.server import SimulatedCameras
from tests.recorder.running import simulated
from tests.support.processes import child, free_port

USER, PASSWORD = "admin", "geheim@strasse"


@dataclass(frozen=True)
class Ipycam:
    """Its ONVIF port, and who plays its streams."""

    port: int
    cameras: SimulatedCameras


@pytest.fixture(scope="module")
def ipycam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ipycam]:
    cache: Path = tmp_path_factory.mktemp("scenes")
    with simulated(cache, "gate") as cameras:
        port = free_port()
        arguments = ("-m", "tests.peers.ipycam_camera", str(port), str(cameras.port), USER, PASSWORD)
        with child(*arguments) as process:
            process.wait_line(lambda line: line == "serving")
            yield Ipycam(port, cameras)
