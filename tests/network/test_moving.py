"""A camera is moved from one recorder to another: real processes, real streams, no gap."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest

import nvr
from nvr.errors import CameraExists, InvalidArgument, LeaseRefused, NotFound
from nvr.footage.admin import CameraSettings
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteCameraAdmin
from nvr.footage.time import to_datetime
from nvr.footage.types import Camera, Gap, Notice, ReadContext, StreamState
from nvr.network_catalog.changes import PutArea, PutCamera, PutNode
from nvr.network_catalog.mover import MoveStep
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry
from nvr.simulate.scenes import generate
from nvr.simulate.server import SimulatedCameras
from tests.network.tree import SCENE, Network, recorded
from tests.support.processes import wait_for

CONTEXT = ReadContext(purpose="move test")


@pytest.fixture
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, SimulatedCameras]]:
    """Province, district, two recorders; and one that hangs from the province alone."""
    folder = tmp_path_factory.mktemp("moving")
    file = generate(SCENE, folder / "scenes")
    with SimulatedCameras() as cameras:
        made = Network(folder, cameras)
        cameras.add("gate", file)
        cameras.add("yard", file)
        made.write_recorder("commune-1", {"gate": cameras.url("gate")})
        made.write_recorder("commune-2", {"yard": cameras.url("yard")})
        made.write_recorder("commune-3", {})
        made.write_gateway("district", ["commune-1", "commune-2"])
        made.write_gateway("province", ["district", "commune-3"], more='[catalog]\ndatabase = "sqlite"\n')
        try:
            for name in ("commune-1", "commune-2", "commune-3", "district", "province"):
                made.start(name)
            with nvr.connect(made.grpc["province"]) as net:
                wait_for(lambda: recorded(net, 2), "both cameras are recorded for some seconds", every_s=0.2)
            yield made, cameras
        finally:
            for process in made.processes.values():
                process.stop()


def move(tree: Network, asked: str, camera: str, to: str, *, dry_run: bool = False) -> list[str]:
    async def run() -> list[str]:
        channel: grpc.aio.Channel = dial(tree.grpc[asked], None)
        try:
            catalog = RemoteCatalog(channel, target=asked)
            steps = []
            async for step in catalog.move_camera(CONTEXT, camera, to, dry_run=dry_run):
                if isinstance(step, MoveStep):
                    steps.append(f"{step.step} {step.node}")
                elif isinstance(step, Notice):
                    steps.append(step.code)
            return steps
        finally:
            await channel.close()

    return asyncio.run(run())


def nvr_command(tree: Network, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nvr", *arguments, "--node", tree.grpc["province"]],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def info(net: nvr.Network, name: str) -> Camera:
    return next(camera for camera in net.cameras() if camera.name == name)


async def add(address: str, settings: CameraSettings) -> None:
    channel = dial(address, None)
    try:
        await RemoteCameraAdmin(channel, target=address).add_camera(CONTEXT, settings)
    finally:
        await channel.close()


def put_catalog(tree: Network, camera: Camera, node_id: str) -> None:
    async def run() -> None:
        channel: grpc.aio.Channel = dial(tree.grpc["province"], None)
        try:
            await RemoteCatalog(channel).change(
                CONTEXT,
                [
                    PutArea(Area("38", "Thanh Hóa", None, "province")),
                    PutNode(NodeEntry(node_id, "commune-1", "38")),
                    PutCamera(CameraEntry(camera.id, "gate", node_id=node_id, area="38")),
                ],
            )
        finally:
            await channel.close()

    asyncio.run(run())


def home_in_catalog(tree: Network, camera_id: str) -> str:
    async def run() -> str:
        channel: grpc.aio.Channel = dial(tree.grpc["province"], None)
        try:
            cameras = [each async for each in RemoteCatalog(channel).list_cameras(CONTEXT)]
            (entry,) = (
                each for each in cameras if isinstance(each, CameraEntry) and each.camera_id == camera_id
            )
            return entry.node_id
        finally:
            await channel.close()

    return asyncio.run(run())


def test_a_camera_moves_and_comes_back_without_a_gap(tree: tuple[Network, SimulatedCameras]) -> None:
    made, cameras = tree
    with nvr.connect(made.grpc["province"]) as net:
        gate = info(net, "gate")
        begin_us = gate.streams[0].oldest_us
        with nvr.connect(made.grpc["commune-1"]) as node:
            first_id = node.node.id
        put_catalog(made, gate, first_id)
        # --- what cannot be is told, and nothing is changed
        with pytest.raises(NotFound):
            move(made, "province", "gate", "commune-9")
        with pytest.raises(InvalidArgument, match="no recorder"):
            move(made, "province", "gate", "district")
        with pytest.raises(InvalidArgument, match="right above both"):
            move(made, "province", "gate", "commune-3")
        assert move(made, "province", "gate", "commune-2", dry_run=True) == ["reached commune-2"]
        said = nvr_command(made, "cameras", "move", "gate", "--to", "commune-2", "--dry-run")
        assert said.stdout == "gate: could move to commune-2\n"
        assert info(net, "gate").node == "commune-1"
        # --- moved: by the district, asked of the province, which writes the catalog
        assert move(made, "province", "gate", "commune-2") == [
            "reached commune-2",
            "recording commune-2",
            "adopted commune-2",
            "removed commune-1",
            "written province",
        ]
        wait_for(lambda: info(net, "gate").node == "commune-2", "the camera is commune-2's")
        assert info(net, "gate").id == gate.id
        with nvr.connect(made.grpc["commune-2"]) as node:
            assert node.node.id == home_in_catalog(made, gate.id)
        # Once more there is nothing left to do.
        assert move(made, "province", "gate", "commune-2") == []
        # --- a power failure of the new home, and back again
        made.kill("commune-2")
        made.start("commune-2")
        wait_for(lambda: recorded(net, 2), "both are recorded again", every_s=0.2)
        again_us = info(net, "gate").streams[0].newest_us
        assert move(made, "district", "gate", "commune-1") == [
            "reached commune-1",
            "recording commune-1",
            "adopted commune-1",
            "removed commune-2",
            "catalog_not_written",
        ]
        said = nvr_command(made, "cameras", "move", "gate", "--to", "commune-1", "--json")
        steps = [json.loads(line) for line in said.stdout.splitlines()]
        assert steps[0] == {"type": "step", "step": "written", "node": "province", "dry_run": False}
        wait_for(lambda: info(net, "gate").node == "commune-1", "the camera is commune-1's")
        end_us = again_us + 3_000_000
        wait_for(lambda: info(net, "gate").streams[0].newest_us > end_us + 2_000_000, "it records on")
        coverage = net.camera("gate").coverage(to_datetime(begin_us), to_datetime(end_us))
        gaps = [each for each in coverage if isinstance(each, Gap)]
        # The killed recorder's pause, and nothing at either move.
        assert len(gaps) == 1, gaps
        # --- a camera that nobody reaches stays where it is
        cameras.close()
        with pytest.raises(LeaseRefused, match="does not reach"):
            move(made, "province", "yard", "commune-1")
        assert info(net, "yard").node == "commune-2"


def test_a_name_that_is_taken_there_is_told_before_anything_is_done(
    tree: tuple[Network, SimulatedCameras],
) -> None:
    made, cameras = tree
    asyncio.run(add(made.grpc["commune-2"], CameraSettings("gate", cameras.url("yard"))))
    with pytest.raises(CameraExists, match="another camera named gate"):
        move(made, "district", "commune-1/gate", "commune-2")
    with nvr.connect(made.grpc["commune-1"]) as node:
        assert info(node, "gate").streams[0].state is StreamState.RECORDING
