"""What a node of the previous release cannot do: each thing fails in a way that a caller understands.

The acceptance suite itself runs over trees with such a node (``chain-…``).
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

import nvr
from nvr.errors import CameraNotFound, NodeUnavailable, NvrError
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import CAPABILITIES, FragmentsRequest, ReadContext
from nvr.lease.remote import RemoteAuthority, RemoteLeases
from tests.acceptance.previous import Chains, previous_tree
from tests.acceptance.test_source import collect
from tests.acceptance.world import RecordedCamera, World
from tests.network.ward import until
from tests.support.processes import child, wait_for

pytestmark = pytest.mark.soak
CONTEXT = ReadContext(purpose="acceptance")
OLD = {"recorder": "old", "gateway": "new.old"}
"""Chains whose uppermost node is the old one."""

Try = Callable[[grpc.aio.Channel, World], Coroutine[object, object, object]]


async def one_source_by_its_id(channel: grpc.aio.Channel, world: World) -> None:
    gate, source = world.gate, world.node_id[:16]
    await collect(RemoteFootage(channel).coverage(CONTEXT, gate.id, "main", gate.whole, source))


async def leases_of_a_recorder(channel: grpc.aio.Channel, _world: World) -> None:
    await RemoteLeases(channel).list_leases(CONTEXT)


async def leases_of_a_group(channel: grpc.aio.Channel, _world: World) -> None:
    await collect(RemoteAuthority(channel).list_group_leases(CONTEXT))


CANNOT: dict[str, dict[tuple[str, Try], type[NvrError]]] = {
    "v0.1.0": {
        ("recorder", one_source_by_its_id): CameraNotFound,
        ("gateway", one_source_by_its_id): CameraNotFound,
        ("recorder", leases_of_a_recorder): NodeUnavailable,
        ("gateway", leases_of_a_group): NodeUnavailable,
    }
}
"""By version: what fails at which kind of node, and with what."""

LACKS = {"v0.1.0": {"source_id"}}
"""Capabilities that it does not announce."""


@asynccontextmanager
async def dialled(address: str) -> AsyncIterator[grpc.aio.Channel]:
    channel = dial(address)
    try:
        yield channel
    finally:
        await channel.close()


@pytest.mark.parametrize("kind", OLD)
async def test_what_it_cannot_do_fails_typed(chains: Chains, kind: str) -> None:
    node, world = chains.node(OLD[kind]), chains.world(OLD[kind])
    things = [(each, error) for (of, each), error in CANNOT[previous_tree().name].items() if of == kind]
    assert things
    async with dialled(node.address) as channel:
        for thing, error in things:
            with pytest.raises(error) as caught:
                await thing(channel, world)
            assert error is not NodeUnavailable or "older version" in str(caught.value)
            # The connection is as good as before.
            assert (await RemoteFootage(channel).node()).version == node.told["version"]


async def test_it_does_not_announce_what_it_cannot_do(chains: Chains) -> None:
    version = previous_tree().name
    for chain in OLD.values():
        async with dialled(chains.node(chain).address) as channel:
            told = await RemoteFootage(channel).node()
        assert f"v{told.version}" == version
        assert set(CAPABILITIES) - set(told.capabilities) == LACKS[version]


def test_in_a_failover_group_it_is_read_and_not_led(chains: Chains, tmp_path: Path) -> None:
    """A recorder that knows no leases: its cameras are found, and nobody is to record them for it."""
    recorder = chains.node("old")
    settings = tmp_path / "nvr.toml"
    settings.write_text(
        f'[node]\nname = "authority"\ndata = "{tmp_path / "data"}"\ngrpc = "127.0.0.1:0"\n'
        f'[[child]]\naddress = "{recorder.address}"\n'
        f'[[failover.group]]\nname = "ward"\nrecorders = ["{chains.world("old").node}"]\n'
    )
    with child("-m", "nvr", "gateway", "--config", str(settings), "--json") as process:
        address = json.loads(process.wait_line(lambda line: line.startswith("{")))["grpc"]
        with nvr.connect(address, partial="refuse") as net:
            wait_for(lambda: len(net.cameras()) == 2, "the gateway knows both cameras", every_s=0.1)
            wait_for(
                lambda: any("no heartbeat" in line and "older version" in line for line in process.errors),
                "the authority says why it hears nothing",
            )
            assert net.camera("yard").info().node == chains.world("old").node


async def test_its_footage_can_be_copied(chains: Chains, tmp_path: Path) -> None:
    """A keeper of this version holds what the old recorder has, byte for byte."""
    recorder, world = chains.node("old"), chains.world("old")
    settings = tmp_path / "nvr.toml"
    settings.write_text(
        f'[node]\nname = "keeper"\nstores = ["{tmp_path / "store"}"]\ngrpc = "127.0.0.1:0"\n'
        # The world is of the year 2024.
        f'[[copy]]\nfrom = "{recorder.address}"\nsince = "36500d"\nevery = "1s"\n'
    )
    with child("-m", "nvr", "recorder", "--config", str(settings), "--json") as process:
        address = json.loads(process.wait_line(lambda line: line.startswith("{")))["grpc"]
        async with dialled(address) as copies, dialled(recorder.address) as originals:
            for camera in world.cameras:
                wanted = await fragments(originals, camera)
                assert wanted

                async def copied(camera: RecordedCamera = camera, wanted: object = wanted) -> bool:
                    try:
                        return await fragments(copies, camera) == wanted
                    except CameraNotFound:
                        return False

                await until(copied, f"{camera.name} is copied")


async def fragments(channel: grpc.aio.Channel, camera: RecordedCamera) -> list[tuple[str, int, bytes]]:
    steps = RemoteFootage(channel).read_fragments(CONTEXT, FragmentsRequest(camera.id, camera.whole))
    items, _, _ = await collect(steps)
    return [(each.ref.run_id, each.ref.sequence, each.data) for each in items]
