"""The root: versions, a database that goes away and comes back, one that was restored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nvr.errors import (
    CatalogAway,
    CatalogBehind,
    CatalogConflict,
    CatalogForeign,
    CatalogStale,
    ConfigError,
    DamagedError,
    InvalidArgument,
    NotFound,
)
from nvr.network_catalog.changes import (
    Change,
    DropLevel,
    MergeAreas,
    PutArea,
    PutCamera,
    PutNode,
    RemoveNode,
    SplitArea,
)
from nvr.network_catalog.holder import FILE_NAME, CatalogHolder
from nvr.network_catalog.parts import part_for
from nvr.network_catalog.root import RootCatalog, RootState
from nvr.network_catalog.store.backup import back_up, restore
from nvr.network_catalog.store.store import CatalogStore
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry
from tests.footage.serving import until
from tests.network_catalog.databases import PostgresServer
from tests.network_catalog.test_store import CAMERA, NODE

PROVINCE = Area("38", "Thanh Hóa", None, "province")
AREAS: tuple[Change, ...] = (
    PutArea(PROVINCE),
    PutArea(Area("38-1", "Đông Sơn", "38", "district")),
    PutArea(Area("38-11", "Đông Tiến", "38-1", "commune")),
    PutArea(Area("38-12", "Đông Thanh", "38-1", "commune")),
    PutNode(NodeEntry(NODE, "commune-1", "38-11")),
    PutCamera(CameraEntry(CAMERA.format(1), "gate", node_id=NODE, area="38-11")),
)


def made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def opened(database: str, folder: Path) -> AsyncIterator[tuple[RootCatalog, CatalogHolder]]:
    holder, store = CatalogHolder(made(folder)), CatalogStore(database)
    root = RootCatalog(store, holder)
    await root.open()
    try:
        yield root, holder
    finally:
        store.close()


async def test_a_change_is_a_version_that_is_held(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, holder):
        made = await root.change(AREAS, actor="local", request_id="r-1", summary="first")
        assert (made.number, made.added, made.changed, made.removed) == (1, 6, 0, 0)
        assert holder.held.version == made
        assert holder.held.tree.codes("dong son") == {"38-1", "38-11", "38-12"}
        assert await root.versions(10) == [made]
    # Another process of the node reads the same.
    async with opened(database, tmp_path / "node") as (root, holder):
        assert holder.held.version.number == 1
        assert root.state is RootState.READY


async def test_a_dry_run_and_no_change_make_no_version(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, holder):
        would = await root.change(AREAS, actor="local", dry_run=True)
        assert (would.number, would.added) == (1, 6)
        assert holder.held.version.number == 0
        await root.change(AREAS, actor="local")
        assert (await root.change(AREAS, actor="local")).number == 1
        assert len(await root.versions(10)) == 1


async def test_all_changes_or_none_and_the_one_at_fault_is_named(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, holder):
        await root.change(AREAS, actor="local")
        new = PutArea(Area("38-13", "Đông Hòa", "38-1", "commune"))
        with pytest.raises(InvalidArgument) as refused:
            await root.change([new, DropLevel("hamlet")], actor="local")
        assert refused.value.field == "changes[1].level"
        with pytest.raises(InvalidArgument, match="no node"):
            await root.change([new, RemoveNode("f" * 64)], actor="local")
        with pytest.raises(InvalidArgument):
            # Its camera would have no home.
            await root.change([RemoveNode(NODE)], actor="local")
        assert "38-13" not in holder.held.tree


async def test_areas_are_cut_anew_and_taken_back(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, holder):
        await root.change(AREAS, actor="local")
        into = Area("38-14", "Đông Sơn mới", "38-1", "commune")
        await root.change([MergeAreas(("38-11", "38-12"), into)], actor="local")
        assert holder.held.tree.codes("38-14") == {"38-14", "38-11", "38-12"}
        assert holder.held.content.cameras[0].area == "38-14"
        await root.change([DropLevel("district")], actor="local")
        assert holder.held.tree.area("38-14").parent == "38"
        parts = (Area("38-15", "Bắc", "38", "commune"), Area("38-16", "Nam", "38", "commune"))
        split = SplitArea("38-14", parts, {}, {CAMERA.format(1): "38-15"}, {NODE: "38-16"})
        await root.change([split], actor="local")
        assert holder.held.content.cameras[0].area == "38-15"
        with pytest.raises(CatalogConflict):
            await root.undo(2, actor="local")
        for number in (4, 3, 2):
            undone = await root.undo(number, actor="local")
            assert undone.undoes == number
        assert holder.held.tree.codes("38-1") == {"38-1", "38-11", "38-12"}
        assert holder.held.content.cameras[0].area == "38-11"
        assert [each.number for each in await root.versions(3)] == [7, 6, 5]
        with pytest.raises(NotFound):
            await root.undo(99, actor="local")


async def test_a_code_is_not_used_again(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, _holder):
        await root.change([*AREAS, MergeAreas(("38-11",), Area("38-12", "x", "38-1", "commune"))], actor="a")
        with pytest.raises(InvalidArgument, match="never means another"):
            await root.change([PutArea(Area("38-11", "Đông Tiến", "38-1", "commune"))], actor="a")


async def test_a_change_of_another_version_than_expected(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, _holder):
        await root.change(AREAS, actor="local")
        with pytest.raises(CatalogConflict) as refused:
            await root.change([PutArea(PROVINCE)], actor="local", expected_version=7)
        assert refused.value.facts["version"] == "1"


async def test_what_another_process_wrote_is_seen_at_the_next_change(database: str, tmp_path: Path) -> None:
    async with (
        opened(database, tmp_path / "a") as (first, _),
        opened(database, tmp_path / "b") as (second, held),
    ):
        await first.change(AREAS, actor="a")
        with pytest.raises(CatalogConflict):
            await second.change([PutArea(PROVINCE)], actor="b")
        assert held.held.version.number == 1
        area = PutArea(Area("38-2", "Bỉm Sơn", "38", "district"))
        assert (await second.change([area], actor="b")).number == 2


async def test_the_database_is_away_for_a_while(postgres: PostgresServer, tmp_path: Path) -> None:
    database = postgres.database()
    async with opened(database, tmp_path / "node") as (root, holder):
        await root.change(AREAS, actor="local")
        keeping = asyncio.create_task(root.keep())
        try:
            postgres.stop()
            try:
                with pytest.raises(CatalogAway):
                    await root.change([DropLevel("district")], actor="local")
                assert root.state is RootState.AWAY
                with pytest.raises(CatalogAway):
                    await root.versions(1)
                # What was held is answered from.
                assert "38-11" in holder.held.tree.codes("thanh hoa")
                # A node that starts meanwhile, too.
                async with opened(database, tmp_path / "node") as (again, held_again):
                    assert again.state is RootState.AWAY
                    assert held_again.held.digest == holder.held.digest
            finally:
                postgres.start()
            await until(lambda: root.state is RootState.READY)
            assert (await root.change([DropLevel("district")], actor="local")).number == 2
        finally:
            keeping.cancel()


async def test_a_restored_database_is_refused_until_it_is_adopted(database: str, tmp_path: Path) -> None:
    old = tmp_path / "backup.gz"
    async with opened(database, tmp_path / "node") as (root, holder):
        await root.change(AREAS, actor="local")
        old.write_bytes(await root.backup())
        await root.change([DropLevel("district")], actor="local")
        lost = holder.held
    restored = f"sqlite:///{tmp_path / 'restored.sqlite'}"
    store = CatalogStore(restored)
    store.open()
    restore(store, old)
    store.close()
    async with opened(restored, tmp_path / "node") as (root, holder):
        # It answers from the newest that it knows, and writes nothing on top of less.
        assert (root.state, root.highest_held) == (RootState.BEHIND, 2)
        assert holder.held.version.id == lost.version.id
        with pytest.raises(CatalogBehind) as refused:
            await root.change([PutArea(Area("38-2", "Bỉm Sơn", "38", "district"))], actor="local")
        assert refused.value.facts == {"held": "2"}
        would = await root.adopt(actor="local", dry_run=True)
        assert (would.number, root.state) == (3, RootState.BEHIND)
        assert (await root.adopt(actor="local")).number == 3
        assert root.state is RootState.READY
        assert "38-1" in holder.held.tree
        # What nodes hold of before is known to be that.
        await root.seen(lost.catalog_id, 2, lost.version.id)
        assert root.state is RootState.READY
        assert (await root.change([DropLevel("district")], actor="local")).number == 4
    async with opened(restored, tmp_path / "node") as (root, _):
        assert root.state is RootState.READY


async def test_a_node_below_that_holds_more_tells_of_a_restored_database(
    database: str, tmp_path: Path
) -> None:
    async with opened(database, tmp_path / "node") as (root, holder):
        await root.change(AREAS, actor="local")
        catalog_id = holder.held.catalog_id
        await root.seen("another", 9, "x")
        await root.seen(catalog_id, 1, holder.held.version.id)
        assert root.state is RootState.READY
        # Of the same number, and yet not the same.
        await root.seen(catalog_id, 1, "0" * 32)
        assert (root.state, root.highest_held) == (RootState.BEHIND, 1)
        await root.seen(catalog_id, 9, "f" * 32)
        assert root.highest_held == 9
    async with opened(database, tmp_path / "node") as (root, _):
        # It is not forgotten.
        assert root.highest_held == 9
        assert (await root.adopt(actor="local")).number == 10


async def test_a_database_of_another_catalog_is_refused(database: str, tmp_path: Path) -> None:
    async with opened(database, tmp_path / "node") as (root, _):
        await root.change(AREAS, actor="local")
    with pytest.raises(ConfigError, match="of catalog"):
        async with opened(f"sqlite:///{tmp_path / 'other.sqlite'}", tmp_path / "node"):
            pass


def test_a_backup_goes_from_one_engine_to_the_other(
    database: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    first = CatalogStore(database)
    first.open()
    asyncio.run(_fill(first, tmp_path / "node"))
    data = back_up(first)
    assert back_up(first) == data
    path = tmp_path / "backup.gz"
    path.write_bytes(data)
    for other in (f"sqlite:///{tmp_path / 'copy.sqlite'}", postgres.database()):
        second = CatalogStore(other)
        second.open()
        restore(second, path)
        assert second.catalog_id == first.catalog_id
        assert second.read() == first.read()
        assert second.read_at(1) == first.read_at(1)
        assert back_up(second) == data
        # It can be written to: numbers of rows go on above those restored.
        asyncio.run(_fill(second, tmp_path / f"node-{second.where[-8:]}".replace("/", "_"), again=True))
        with pytest.raises(ConfigError, match="empty"):
            restore(second, path)
        second.close()
    first.close()


async def _fill(store: CatalogStore, folder: Path, *, again: bool = False) -> None:
    root = RootCatalog(store, CatalogHolder(made(folder)))
    await root.open()
    if again:
        await root.change([PutArea(Area("38-9", "Sầm Sơn", "38", "district"))], actor="local")
        return
    await root.change(AREAS, actor="local")
    await root.change([DropLevel("district")], actor="local")


@pytest.mark.parametrize("cut", [0, 1, 20, -1, -30])
def test_a_backup_that_is_cut_off_restores_nothing(tmp_path: Path, cut: int) -> None:
    store = CatalogStore(f"sqlite:///{tmp_path / 'a.sqlite'}")
    store.open()
    asyncio.run(_fill(store, tmp_path / "node"))
    path = tmp_path / "backup.gz"
    path.write_bytes(back_up(store)[:cut])
    store.close()
    other = CatalogStore(f"sqlite:///{tmp_path / 'b.sqlite'}")
    other.open()
    before = other.catalog_id
    with pytest.raises(DamagedError):
        restore(other, path)
    other.open()
    assert (other.catalog_id, other.newest().number) == (before, 0)
    other.close()


# --- what other nodes hold ---------------------------------------------------------


async def test_a_node_takes_newer_versions_of_one_catalog_only(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'a.sqlite'}", tmp_path / "root") as (root, holder):
        await root.change(AREAS, actor="local")
        first = part_for(holder.held, {NODE})
        bare = part_for(holder.held, ())
        await root.change([DropLevel("district")], actor="local")
        second = part_for(holder.held, {NODE})
    folder = tmp_path / "child"
    folder.mkdir()
    child = CatalogHolder(folder)
    await child.take(*first)
    assert [camera.name for camera in child.held.content.cameras] == ["gate"]
    # The same version with other cameras: nodes below came or went.
    await child.take(*bare)
    assert child.held.content.cameras == ()
    await child.take(*second)
    with pytest.raises(CatalogStale):
        await child.take(*first)
    assert CatalogHolder(folder).held.digest == child.held.digest
    async with opened(f"sqlite:///{tmp_path / 'b.sqlite'}", tmp_path / "other") as (root, holder):
        await root.change(AREAS, actor="local")
        foreign = part_for(holder.held, {NODE})
    with pytest.raises(CatalogForeign):
        await child.take(*foreign)
    with pytest.raises(InvalidArgument):
        await child.take(second[0][:-1], second[1])
    await child.release()
    assert CatalogHolder(folder).held.catalog_id == ""
    await child.take(*foreign)


async def test_a_damaged_file_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(f"sqlite:///{tmp_path / 'a.sqlite'}", tmp_path / "root") as (root, holder):
        await root.change(AREAS, actor="local")
        part = part_for(holder.held, {NODE})
    folder = tmp_path / "child"
    folder.mkdir()
    await CatalogHolder(folder).take(*part)
    whole = (folder / FILE_NAME).read_bytes()
    for broken in (b"", whole[:10], whole[:-1], whole[:40] + b"x" + whole[41:]):
        (folder / FILE_NAME).write_bytes(broken)
        child = CatalogHolder(folder)
        assert child.held.catalog_id == ""
        assert "left aside" in caplog.text
        caplog.clear()
    await child.take(*part)
    assert child.held.version.number == 1
