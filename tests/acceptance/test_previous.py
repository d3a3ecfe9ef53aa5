"""What a node of the previous release cannot do: each thing fails in a way that a caller understands.

The acceptance suite itself runs over trees with such a node (``chain-…``).
"""

import importlib
import json
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import nvr
import nvr.v1
from nvr.errors import CameraNotFound, NodeUnavailable
from nvr.footage.channel import dial
from nvr.footage.problems import error_from_call
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import CAPABILITIES, FragmentsRequest, ReadContext
from tests.acceptance.previous import Chains, previous_tree
from tests.acceptance.test_source import collect
from tests.acceptance.world import RecordedCamera
from tests.network.ward import until
from tests.support.processes import child, wait_for

pytestmark = pytest.mark.soak
CONTEXT = ReadContext(purpose="acceptance")
OLD = {"recorder": "old", "gateway": "new.old"}
"""Chains whose uppermost node is the old one."""

LACKS: dict[str, set[str]] = {"v0.1.0": {"source_id", "catalog"}, "v0.2.0": set()}
"""By version: capabilities that it does not announce."""

NEW_SERVICES: dict[str, set[str]] = {
    "v0.1.0": {
        "LeaseService",
        "LeaseAuthorityService",
        "CatalogService",
        "CatalogAdminService",
        "CatalogHolderService",
        "UplinkService",
    },
    "v0.2.0": set(),
}
"""By version: what it does not serve."""


@asynccontextmanager
async def dialled(address: str) -> AsyncIterator[grpc.aio.Channel]:
    channel = dial(address)
    try:
        yield channel
    finally:
        await channel.close()


def services() -> dict[str, ServiceDescriptor]:
    """All of the contract, by name."""
    found = {}
    for name in pkgutil.iter_modules(nvr.v1.__path__):
        if name.name.endswith("_pb2"):
            module = importlib.import_module(f"nvr.v1.{name.name}")
            found.update(module.DESCRIPTOR.services_by_name)
    return found


@pytest.mark.parametrize("kind", OLD)
async def test_a_service_that_it_does_not_have_fails_typed(chains: Chains, kind: str) -> None:
    node, known = chains.node(OLD[kind]), services()
    async with dialled(node.address) as channel:
        for name in NEW_SERVICES[previous_tree().name]:
            for method in known[name].methods:
                path = f"/{known[name].full_name}/{method.name}"
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await first_answer(channel, path, method)
                error = error_from_call(caught.value, target="old")
                assert isinstance(error, NodeUnavailable), (path, error)
                assert "older version" in error.message, (path, error)
        # The connection is as good as before.
        assert (await RemoteFootage(channel).node()).version == node.told["version"]


async def first_answer(channel: grpc.aio.Channel, path: str, method: MethodDescriptor) -> object:
    """What a method answers to an empty request."""
    if method.client_streaming:
        both: Any = channel.stream_stream(path)
        return await both(iter([b""])).read()
    if method.server_streaming:
        one: Any = channel.unary_stream(path)
        return await one(b"").read()
    call: Any = channel.unary_unary(path)
    return await call(b"")


@pytest.mark.parametrize("kind", OLD)
async def test_one_source_by_its_id_is_found_or_refused(chains: Chains, kind: str) -> None:
    node, world = chains.node(OLD[kind]), chains.world(OLD[kind])
    gate = world.gate
    async with dialled(node.address) as channel:
        footage = RemoteFootage(channel)
        by_id = footage.coverage(CONTEXT, gate.id, "main", gate.whole, world.node_id[:16])
        if "source_id" in LACKS[previous_tree().name]:
            with pytest.raises(CameraNotFound):
                await collect(by_id)
        else:
            assert await collect(by_id)
        assert await collect(footage.coverage(CONTEXT, gate.id, "main", gate.whole, world.node))


async def test_it_does_not_announce_what_it_cannot_do(chains: Chains) -> None:
    version = previous_tree().name
    for chain in OLD.values():
        async with dialled(chains.node(chain).address) as channel:
            told = await RemoteFootage(channel).node()
        assert f"v{told.version}" == version
        assert set(CAPABILITIES) - set(told.capabilities) == LACKS[version]


def test_in_a_failover_group_it_is_read_and_not_led(chains: Chains, tmp_path: Path) -> None:
    """A recorder that knows no leases: its cameras are found, and nobody is to record them for it."""
    if "LeaseService" not in NEW_SERVICES[previous_tree().name]:
        pytest.skip("the previous release knows leases")
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
