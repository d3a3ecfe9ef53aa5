"""The network catalog over real processes, in a real PostgreSQL: cut anew, away, restored."""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

import nvr
from nvr.errors import AreaAmbiguous, AreaNotFound, CatalogAway, CatalogNotRoot, InvalidArgument
from nvr.footage.admin import CameraChanges
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteCameraAdmin
from nvr.footage.time import to_datetime
from nvr.footage.types import ReadContext
from nvr.network_catalog.changes import Change, DropLevel, MergeAreas, PutArea, PutCamera, PutNode
from nvr.network_catalog.reader import StandingState
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry
from tests.network.tree import PLACES, Network, network
from tests.network_catalog.databases import PostgresServer, postgres_server
from tests.support.processes import wait_for

T = TypeVar("T")
CONTEXT = ReadContext(purpose="catalog test")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, server: PostgresServer) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    with network(folder, root=f'[catalog]\ndatabase = "{server.database()}"\n') as made:
        yield made


def asked(address: str, ask: Callable[[RemoteCatalog], Awaitable[T]]) -> T:
    async def run() -> T:
        channel: grpc.aio.Channel = dial(address, None)
        try:
            return await ask(RemoteCatalog(channel, target=address))
        finally:
            await channel.close()

    return asyncio.run(run())


def change(tree: Network, *changes: Change) -> int:
    version = asked(tree.grpc["province"], lambda catalog: catalog.change(CONTEXT, changes))
    return version.number


def held_everywhere(tree: Network, number: int) -> None:
    for name in ("district", "commune-1", "commune-2"):
        wait_for(
            lambda name=name: (  # type: ignore[misc]
                asked(tree.grpc[name], lambda catalog: catalog.standing(CONTEXT)).version == number
            ),
            f"{name} holds version {number}",
            every_s=0.2,
        )


def test_the_catalog_from_its_first_version_to_a_reform(tree: Network, server: PostgresServer) -> None:
    with nvr.connect(tree.grpc["province"]) as net:
        cameras = {camera.name: camera for camera in net.cameras()}
        ids = {camera.node: asked_id(tree, camera.node) for camera in cameras.values()}
    # --- written at the root, held below -------------------------------------------
    number = change(
        tree,
        PutArea(Area("38", "Thanh Hóa", None, "province")),
        PutArea(Area("38-1", "Đông Sơn", "38", "district")),
        PutArea(Area("38-11", "Đông Tiến", "38-1", "commune")),
        PutArea(Area("38-12", "Đông Thanh", "38-1", "commune")),
        PutArea(Area("38-2", "Quảng Xương", "38", "district")),
        PutArea(Area("38-21", "Đông Tiến", "38-2", "commune")),
        PutNode(NodeEntry(ids["commune-1"], "commune-1", "38-11")),
        PutNode(NodeEntry(ids["commune-2"], "commune-2", "38-12")),
        PutCamera(
            CameraEntry(cameras["gate"].id, "gate", "Cổng chợ", node_id=ids["commune-1"], area="38-11")
        ),
        PutCamera(CameraEntry(cameras["yard"].id, "yard", node_id=ids["commune-2"], area="38-12")),
    )
    held_everywhere(tree, number)
    standing = asked(tree.grpc["commune-1"], lambda catalog: catalog.standing(CONTEXT))
    assert (standing.state, standing.areas, standing.nodes, standing.cameras) == (StandingState.HELD, 6, 2, 1)
    with nvr.connect(tree.grpc["commune-1"]) as node:
        wait_for(lambda: node.cameras()[0].area == "38-11", "the recorder takes over its camera's area")
        assert node.cameras()[0].title == "Cổng chợ"
        assert [each.camera.name for each in node.find(area="dong son").all()] == ["gate"]
    with nvr.connect(tree.grpc["province"]) as net:
        wait_for(
            lambda: {camera.area for camera in net.cameras()} == {"38-11", "38-12"}, "all tell their areas"
        )
        for words in ("38-1", "Đông Sơn", "dong son", "huyện đông sơn", "thanh hoa"):
            assert names(net, words) == ["gate", "yard"], words
        with pytest.raises(AreaAmbiguous) as ambiguous:
            names(net, "dong tien")
        assert "38-21" in ambiguous.value.facts["candidates"]
        assert names(net, "Đông Tiến, Đông Sơn") == ["gate"]
        with pytest.raises(AreaNotFound):
            names(net, "Hà Nội")
    # --- what it says is not changed at the recorder --------------------------------
    with pytest.raises(InvalidArgument, match="network catalog") as refused:
        asyncio.run(set_area(tree.grpc["commune-1"], "gate", "38-99"))
    assert refused.value.field == "area"
    with pytest.raises(CatalogNotRoot):
        asked(tree.grpc["district"], lambda catalog: catalog.change(CONTEXT, [DropLevel("district")]))
    # --- a reform, while a recorder is away ------------------------------------------
    tree.kill("commune-2")
    number = change(
        tree,
        MergeAreas(("38-11", "38-12"), Area("38-15", "Đông Hoàng", "38-1", "commune")),
        DropLevel("district"),
    )
    with nvr.connect(tree.grpc["province"]) as net:
        for words in ("dong hoang", "38-12", "38-1", "Đông Sơn"):
            assert names(net, words) == ["gate", "yard"], words
        newest_us = cameras["gate"].streams[0].newest_us
        answer = net.find(
            area="dong hoang", start=to_datetime(newest_us - 2_000_000), end=to_datetime(newest_us)
        )
        found = answer.all()
        assert [each.camera.name for each in found] == ["gate", "yard"]
        assert not answer.complete
        assert [warning.node for warning in answer.warnings] == ["commune-2"]
    tree.start("commune-2")
    held_everywhere(tree, number)
    with nvr.connect(tree.grpc["province"]) as net:
        wait_for(lambda: {camera.area for camera in net.cameras()} == {"38-15"}, "all tell the new area")
    # --- the database is away: recording and answers go on, writes are refused -------
    server.stop()
    try:
        before_us = oldest_newest(tree)
        with pytest.raises(CatalogAway):
            change(tree, PutArea(Area("38-3", "Bỉm Sơn", "38", "commune")))
        assert "nvr_catalog_up 0.0" in scrape(tree.metrics["province"])
        with nvr.connect(tree.grpc["province"]) as net:
            assert names(net, "dong hoang") == ["gate", "yard"]
        # A root that starts meanwhile answers from what it holds.
        tree.kill("province")
        tree.start("province")
        with nvr.connect(tree.grpc["province"]) as net:
            wait_for(lambda: names(net, "dong hoang") == ["gate", "yard"], "it answers from what it holds")
        standing = asked(tree.grpc["province"], lambda catalog: catalog.standing(CONTEXT))
        assert (standing.state, standing.version) == (StandingState.AWAY, number)
        wait_for(lambda: oldest_newest(tree) > before_us + 2_000_000, "recording goes on")
    finally:
        server.start()

    def ready() -> bool:
        state = asked(tree.grpc["province"], lambda catalog: catalog.standing(CONTEXT)).state
        return state is StandingState.ROOT

    wait_for(ready, "the root is back", every_s=0.2)
    assert change(tree, PutArea(Area("38-3", "Bỉm Sơn", "38", "commune"))) == number + 1
    assert f"nvr_catalog_version {number + 1}.0" in scrape(tree.metrics["province"])
    held_everywhere(tree, number + 1)


def asked_id(tree: Network, name: str) -> str:
    with nvr.connect(tree.grpc[name]) as node:
        return node.node.id


def names(net: nvr.Network, area: str) -> list[str]:
    return sorted(each.camera.name for each in net.find(area=area).all())


def oldest_newest(tree: Network) -> int:
    """How far all cameras are recorded by now."""
    newest = []
    for name in PLACES:
        with nvr.connect(tree.grpc[name]) as node:
            newest.append(node.cameras()[0].streams[0].newest_us)
    return min(newest)


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


async def set_area(address: str, camera: str, area: str) -> None:
    channel = dial(address, None)
    try:
        admin = RemoteCameraAdmin(channel, target=address)
        await admin.update_camera(CONTEXT, camera, CameraChanges(area=area))
    finally:
        await channel.close()


def test_the_settings_of_a_root_are_checked(tmp_path: Path) -> None:
    from nvr.errors import ConfigError
    from nvr.gateway.config import parse_settings

    text = f'[node]\nname = "a"\ndata = "{tmp_path}"\n[catalog]\ndatabase = "mysql://a:geheim@b/c"\n'
    with pytest.raises(ConfigError) as refused:
        parse_settings(text)
    assert "catalog.database" in str(refused.value)
    assert "geheim" not in str(refused.value)
