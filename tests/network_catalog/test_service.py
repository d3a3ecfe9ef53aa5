"""The services over real servers: who may call them, and what hostile or broken callers get."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from nvr.errors import (
    AccessDenied,
    CatalogForeign,
    CatalogNotRoot,
    CatalogStale,
    InternalError,
    InvalidArgument,
    NvrError,
)
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.problems import error_from_call
from nvr.footage.types import End, ReadContext
from nvr.network_catalog import remote
from nvr.network_catalog.changes import PutArea, PutCamera
from nvr.network_catalog.holder import CatalogHolder
from nvr.network_catalog.parts import part_for
from nvr.network_catalog.reader import CatalogReader, StandingState
from nvr.network_catalog.remote import RemoteCatalog, RemoteHolder
from nvr.network_catalog.root import RootCatalog
from nvr.network_catalog.service import (
    CATALOG_ADMIN_SERVICE,
    CATALOG_HOLDER_SERVICE,
    catalog_admin_handlers,
    catalog_handlers,
    catalog_holder_handlers,
)
from nvr.network_catalog.store.store import CatalogStore
from nvr.network_catalog.types import Area, CameraEntry, RetiredArea
from nvr.security.identity import ServiceCallers
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_to_folder
from nvr.v1 import catalog_pb2, catalog_pb2_grpc
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import MemoryAudit
from tests.network_catalog.test_root import AREAS, made
from tests.network_catalog.test_store import CAMERA, NODE

CONTEXT = ReadContext(purpose="catalog test")


def certificate_of(files: TlsFiles) -> bytes:
    assert files.certificate is not None
    return files.certificate.read_bytes()


@dataclass
class Node:
    """A node that serves the catalog, and a channel to it."""

    holder: CatalogHolder
    root: RootCatalog | None
    address: str
    channel: grpc.aio.Channel

    @property
    def catalog(self) -> RemoteCatalog:
        return RemoteCatalog(self.channel, target="node")

    @property
    def keeper(self) -> RemoteHolder:
        return RemoteHolder(self.channel, target="node")


@asynccontextmanager
async def node(
    folder: Path, *, is_root: bool = False, tls: TlsFiles | None = None, **allowed: str
) -> AsyncIterator[Node]:
    """``allowed``: ``writer`` and ``parent``, by the ids of their keys."""
    holder = CatalogHolder(made(folder))
    store = CatalogStore(f"sqlite:///{folder / 'network.sqlite'}")
    root = RootCatalog(store, holder) if is_root else None
    if root is not None:
        await root.open()
    policy = ServiceCallers(
        CATALOG_ADMIN_SERVICE.full_name,
        frozenset((allowed.get("writer", ""),)),
        ServiceCallers(CATALOG_HOLDER_SERVICE.full_name, frozenset((allowed.get("parent", ""),))),
    )
    server = NodeServer(
        MemoryFootage(memory_world()),
        node="n",
        audit=MemoryAudit(),
        services=[
            lambda runner: catalog_handlers(CatalogReader(holder, root), runner),
            lambda runner: catalog_admin_handlers(root, None, "n", runner),
            lambda runner: catalog_holder_handlers(holder, root, runner),
        ],
        policy=policy,
        tls=tls,
    )
    address = f"localhost:{server.listen('127.0.0.1:0')}"
    await server.start()
    channel = dial(address)
    try:
        yield Node(holder, root, address, channel)
    finally:
        await channel.close()
        await server.stop(0)
        store.close()


async def test_a_version_goes_down_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node(tmp_path / "top", is_root=True) as top, node(tmp_path / "below") as below:
        assert top.root is not None
        await top.root.change(AREAS, actor="local")
        held = top.holder.held
        data, digest = part_for(held, {NODE})
        sent: list[int] = []
        monkeypatch.setattr(remote, "PIECE_BYTES", len(data) // 7)
        unary = RemoteHolder._unary

        async def counted(self: RemoteHolder, method: Any, request: Any) -> Any:
            if isinstance(request, catalog_pb2.HoldCatalogRequest):
                sent.append(len(request.piece))
            return await unary(self, method, request)

        monkeypatch.setattr(RemoteHolder, "_unary", counted)
        await below.keeper.hold(CONTEXT, held.catalog_id, held.version.number, data, digest)
        assert (sum(sent), len(sent)) == (len(data), 8)
        assert (await below.keeper.held(CONTEXT)).digest == digest
        standing = await below.catalog.standing(CONTEXT)
        assert (standing.state, standing.version, standing.cameras) == (StandingState.HELD, 1, 1)
        areas = [each async for each in below.catalog.list_areas(CONTEXT, "dong son")]
        assert [each.code for each in areas if isinstance(each, Area)] == ["38-1", "38-11", "38-12"]
        assert isinstance(areas[-1], End)
        # A root takes none, also not its own.
        with pytest.raises(CatalogNotRoot):
            await top.keeper.hold(CONTEXT, held.catalog_id, held.version.number, data, digest)
        with pytest.raises(CatalogNotRoot):
            await below.catalog.change(CONTEXT, AREAS)
        with pytest.raises(CatalogNotRoot):
            await below.catalog.adopt(CONTEXT)


async def test_pieces_that_do_not_fit_together(tmp_path: Path) -> None:
    async with node(tmp_path / "top", is_root=True) as top, node(tmp_path / "below") as below:
        assert top.root is not None
        await top.root.change(AREAS, actor="local")
        held = top.holder.held
        data, digest = part_for(held, {NODE})
        stub = catalog_pb2_grpc.CatalogHolderServiceStub(below.channel)

        async def piece(offset: int, piece: bytes, **other: Any) -> int:
            values = {
                "catalog_id": held.catalog_id,
                "version": 1,
                "digest": digest,
                "total": len(data),
                **other,
            }
            try:
                request = catalog_pb2.HoldCatalogRequest(offset=offset, piece=piece, **values)
                return int((await stub.HoldCatalog(request)).received)
            except grpc.aio.AioRpcError as error:
                raise error_from_call(error, target="node") from None

        # Whoever was cut off is told where to go on.
        assert await piece(0, data[:10]) == 10
        assert await piece(20, data[20:30]) == 10
        assert await piece(10, data[10:20]) == 20
        # Another begins from nothing, and the first has to.
        assert await piece(0, b"x", version=2) == 1
        assert await piece(20, data[20:]) == 0
        for bad, field in (
            ({"offset": 0, "piece": data + b"x"}, "piece"),
            ({"offset": 0, "piece": b"x", "total": (256 << 20) + 1}, "total"),
            ({"offset": 0, "piece": b""}, "piece"),
            ({"offset": 0, "piece": b"x", "digest": b"short"}, "digest"),
            ({"offset": 0, "piece": b"x", "catalog_id": ""}, "catalog_id"),
        ):
            with pytest.raises(InvalidArgument) as refused:
                await piece(**bad)  # type: ignore[arg-type]
            assert refused.value.field == field
        # Whole, and yet not what was announced; or no catalog at all.
        with pytest.raises(InvalidArgument, match="announced"):
            await piece(0, data[:-1] + b"x")
        junk = b"\xff" * 100
        with pytest.raises(InvalidArgument, match="HeldCatalog"):
            await piece(0, junk, digest=hashlib.sha256(junk).digest(), total=100)
        assert below.holder.held.catalog_id == ""
        assert await piece(0, data) == len(data)
        assert below.holder.held.version.number == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"areas": [("38", "x", "39"), ("39", "y", "38")]},
        {"areas": [("38", "x", ""), ("38", "y", "")]},
        {"areas": [("38", "x" * 5000, "")]},
        {"areas": [("38", "x", "nowhere")]},
        {"catalog_id": ""},
        {"version": 0},
    ],
)
async def test_what_is_no_catalog_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    areas = [
        catalog_pb2.AreaRecord(area=catalog_pb2.Area(code=code, name=name, parent=parent, level="x"))
        for code, name, parent in broken.pop("areas", [])
    ]
    message = catalog_pb2.HeldCatalog(**{"catalog_id": "c", "version": 1, "areas": areas, **broken})
    data = message.SerializeToString()
    async with node(tmp_path / "below") as below:
        with pytest.raises(InvalidArgument):
            await below.keeper.hold(CONTEXT, "c", 1, data, hashlib.sha256(data).digest())
        assert below.holder.held.catalog_id == ""


async def test_a_node_that_keeps_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node(tmp_path / "below") as below:
        calls = []

        async def nothing(self: RemoteHolder, method: Any, request: Any) -> Any:
            calls.append(request.offset)
            return catalog_pb2.HoldCatalogResponse(received=0)

        monkeypatch.setattr(RemoteHolder, "_unary", nothing)
        with pytest.raises(InternalError, match="does not keep"):
            await below.keeper.hold(CONTEXT, "c", 1, b"x" * 2_000_000, b"d" * 32)
        assert len(calls) == 8


async def test_another_catalog_and_an_older_version(tmp_path: Path) -> None:
    async with (
        node(tmp_path / "a", is_root=True) as first,
        node(tmp_path / "b", is_root=True) as second,
        node(tmp_path / "below") as below,
    ):
        parts = []
        for top in (first, second):
            assert top.root is not None
            await top.root.change(AREAS, actor="local")
            parts.append((top.holder.held, part_for(top.holder.held, {NODE})))
        assert first.root is not None
        await first.root.change([PutArea(Area("38-9", "Sầm Sơn", "38", "district"))], actor="local")
        newer = first.holder.held
        await below.keeper.hold(CONTEXT, newer.catalog_id, 2, *part_for(newer, {NODE}))
        (old, old_part), (foreign, foreign_part) = parts
        with pytest.raises(CatalogStale) as stale:
            await below.keeper.hold(CONTEXT, old.catalog_id, 1, *old_part)
        assert stale.value.facts == {"version": "2"}
        with pytest.raises(CatalogForeign) as other:
            await below.keeper.hold(CONTEXT, foreign.catalog_id, 1, *foreign_part)
        assert other.value.facts["catalog"] == old.catalog_id
        assert await below.keeper.release(CONTEXT) == old.catalog_id
        await below.keeper.hold(CONTEXT, foreign.catalog_id, 1, *foreign_part)


async def test_only_those_whom_the_settings_name_write_and_bring(tmp_path: Path) -> None:
    keys, files = {}, {}
    for name in ("server", "writer", "parent", "stranger"):
        place = made(tmp_path / name)
        keys[name] = NodeKey.load_or_create(place)
        files[name] = issue_to_folder(place, keys[name], name=name, hosts=["localhost"])
    trusted = tmp_path / "authorities.pem"
    trusted.write_bytes(b"".join(certificate_of(files[name]) for name in ("writer", "parent", "stranger")))
    server = TlsFiles(files["server"].certificate, files["server"].key, trusted)
    async with node(
        tmp_path / "node",
        is_root=True,
        tls=server,
        writer=keys["writer"].id,
        parent=keys["parent"].id,
    ) as top:
        for name in ("writer", "parent", "stranger"):
            own = TlsFiles(files[name].certificate, files[name].key, files["server"].certificate)
            channel = dial(top.address, own)
            try:
                catalog, keeper = RemoteCatalog(channel), RemoteHolder(channel)
                assert (await catalog.standing(CONTEXT)).state is StandingState.ROOT
                outcomes = []
                for ask in (
                    catalog.change(CONTEXT, AREAS, dry_run=True),
                    catalog.undo(CONTEXT, 1),
                    catalog.adopt(CONTEXT, dry_run=True),
                    keeper.held(CONTEXT),
                    keeper.release(CONTEXT),
                ):
                    try:
                        await ask
                        outcomes.append("ok")
                    except AccessDenied:
                        outcomes.append("denied")
                    except NvrError as error:
                        outcomes.append(error.reason)
                for steps in (catalog.versions(CONTEXT), catalog.backup(CONTEXT)):
                    try:
                        _ = [step async for step in steps]
                        outcomes.append("ok")
                    except AccessDenied:
                        outcomes.append("denied")
            finally:
                await channel.close()
            expected = {
                "writer": ["ok", "NOT_FOUND", "ok", "denied", "denied", "ok", "ok"],
                "parent": ["denied", "denied", "denied", "ok", "CATALOG_NOT_ROOT", "denied", "denied"],
                "stranger": ["denied"] * 7,
            }
            assert outcomes == expected[name], name


async def test_the_change_at_fault_is_named_on_the_wire(tmp_path: Path) -> None:
    async with node(tmp_path / "top", is_root=True) as top:
        catalog = top.catalog
        await catalog.change(CONTEXT, AREAS)
        stub = catalog_pb2_grpc.CatalogAdminServiceStub(top.channel)

        async def change(*changes: catalog_pb2.CatalogChange) -> None:
            try:
                await stub.ChangeCatalog(catalog_pb2.ChangeCatalogRequest(changes=changes))
            except grpc.aio.AioRpcError as error:
                raise error_from_call(error, target="node") from None

        good = catalog_pb2.CatalogChange(
            put_area=catalog_pb2.Area(code="38-7", name="A", parent="38", level="district")
        )
        beyond = catalog_pb2.CatalogCamera(camera_id=CAMERA.format(7), name="c", node_id=NODE)
        beyond.place.latitude = 91
        for bad, field in (
            (catalog_pb2.CatalogChange(), "changes[1]"),
            (
                catalog_pb2.CatalogChange(put_area=catalog_pb2.Area(code="ă", name="A", level="x")),
                "changes[1].put_area.code",
            ),
            (
                catalog_pb2.CatalogChange(put_camera=beyond),
                "changes[1].put_camera.place.latitude",
            ),
            (
                catalog_pb2.CatalogChange(merge_areas=catalog_pb2.MergeAreas(codes=["38-11"])),
                "changes[1].merge_areas.into",
            ),
        ):
            with pytest.raises(InvalidArgument) as refused:
                await change(good, bad)
            assert refused.value.field == field
        many = [good] * 10_001
        with pytest.raises(InvalidArgument) as refused:
            await change(*many)
        assert refused.value.field == "changes"
        assert (await catalog.standing(CONTEXT)).version == 1
        camera_entry = CameraEntry(CAMERA.format(8), "x", node_id="f" * 64)
        with pytest.raises(InvalidArgument, match="not in the catalog"):
            await catalog.change(CONTEXT, [PutCamera(camera_entry)])


async def test_former_areas_are_listed_where_they_are_asked_for(tmp_path: Path) -> None:
    from nvr.network_catalog.changes import DropLevel

    async with node(tmp_path / "top", is_root=True) as top:
        await top.catalog.change(CONTEXT, [*AREAS, DropLevel("district")])
        now = [each async for each in top.catalog.list_areas(CONTEXT)]
        assert [each.code for each in now if isinstance(each, Area)] == ["38", "38-11", "38-12"]
        all_ = [each async for each in top.catalog.list_areas(CONTEXT, former=True)]
        (gone,) = [each for each in all_ if isinstance(each, RetiredArea)]
        assert (gone.code, gone.into) == ("38-1", ("38-11", "38-12"))
