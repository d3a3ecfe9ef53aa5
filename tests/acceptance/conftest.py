"""Every source of footage, over every way to reach it, under the same tests."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import product
from pathlib import Path

import pytest

from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.source import FootageSource
from tests.acceptance.previous import CHAINS, Chains
from tests.acceptance.recorded import Recorded, copy_world, local_footage, record_world
from tests.acceptance.world import World
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import serve
from tests.gateway.tree import gateway, served_gateway, serving
from tests.uplink.lines import child, parent

Backend = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[tuple[FootageSource, World]]]
Transport = Callable[[FootageSource, Path], AbstractAsyncContextManager[FootageSource]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[tuple[FootageSource, World]]:
    world = memory_world()
    yield MemoryFootage(world), world


@pytest.fixture(scope="session")
def recorded_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with record_world(tmp_path_factory.mktemp("recorded")) as found:
        yield found


@asynccontextmanager
async def recorded(request: pytest.FixtureRequest) -> AsyncIterator[tuple[FootageSource, World]]:
    found: Recorded = request.getfixturevalue("recorded_world")
    async with local_footage(found) as source:
        yield source, found.world


@pytest.fixture(scope="session")
def copied_world(recorded_world: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with copy_world(recorded_world, tmp_path_factory.mktemp("copied")) as found:
        yield found


@asynccontextmanager
async def copied(request: pytest.FixtureRequest) -> AsyncIterator[tuple[FootageSource, World]]:
    """A copy is footage like any other."""
    found: Recorded = request.getfixturevalue("copied_world")
    async with local_footage(found) as source:
        yield source, found.world


@asynccontextmanager
async def direct(source: FootageSource, _folder: Path) -> AsyncIterator[FootageSource]:
    yield source


@asynccontextmanager
async def over_unix_socket(source: FootageSource, folder: Path) -> AsyncIterator[FootageSource]:
    async with serve(source, unix=folder / "s") as served:
        yield served.source


@asynccontextmanager
async def over_tcp(source: FootageSource, _folder: Path) -> AsyncIterator[FootageSource]:
    async with serve(source) as served:
        yield served.source


@asynccontextmanager
async def federated(source: FootageSource, _folder: Path) -> AsyncIterator[FootageSource]:
    """A gateway in this process over the node."""
    async with serving(source) as leaf, gateway("district", [leaf.address]) as top:
        yield top.footage


@asynccontextmanager
async def two_tiers(source: FootageSource, folder: Path) -> AsyncIterator[FootageSource]:
    """A gateway over a gateway over the node, all over sockets."""
    async with (
        serving(source, unix=folder / "s") as leaf,
        gateway("district", [leaf.address]) as district,
        served_gateway(district) as middle,
        gateway("province", [middle.address]) as province,
        served_gateway(province) as top,
    ):
        channel = dial(top.address)
        try:
            yield RemoteFootage(channel, target=top.address)
        finally:
            await channel.close()


@asynccontextmanager
async def over_uplink(source: FootageSource, folder: Path) -> AsyncIterator[FootageSource]:
    """A gateway over the node, which has dialled it."""
    async with parent(folder / "ward") as above:
        uplink = above.hub.expect((await source.node()).id)
        async with child(above.address, source=source), gateway("district", [], uplinks=[uplink]) as top:
            yield top.footage


BACKENDS: dict[str, Backend] = {"memory": memory, "recorded": recorded, "copied": copied}
TRANSPORTS: dict[str, Transport] = {
    "direct": direct,
    "unix": over_unix_socket,
    "tcp": over_tcp,
    "federated": federated,
    "tiers": two_tiers,
    "uplink": over_uplink,
}


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    made = Chains(tmp_path_factory.mktemp("chains"))
    yield made
    made.close()


WAYS = [f"{backend}-{way}" for backend, way in product(["memory", "recorded"], TRANSPORTS)]
# With a node of the previous version, which has to be built first.
CHAIN_WAYS = [pytest.param(f"chain-{chain}", marks=pytest.mark.soak) for chain in CHAINS]


@pytest.fixture(params=[*WAYS, "copied-direct", *CHAIN_WAYS])
async def reached(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[FootageSource, World]]:
    backend, way = str(request.param).split("-")
    if backend == "chain":
        chains: Chains = request.getfixturevalue("chains")
        target = chains.node(way).address
        channel = dial(target)
        yield RemoteFootage(channel, target=target), chains.world(way)
        await channel.close()
        return
    async with BACKENDS[backend](request) as (local, world), TRANSPORTS[way](local, tmp_path) as source:
        yield source, world


@pytest.fixture
def source(reached: tuple[FootageSource, World]) -> FootageSource:
    return reached[0]


@pytest.fixture
def world(reached: tuple[FootageSource, World]) -> World:
    return reached[1]
