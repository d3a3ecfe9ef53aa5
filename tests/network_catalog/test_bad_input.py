"""What cannot be put into the catalog: the root's real server names the change and the field."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.problems import PROBLEM_KEY
from nvr.network_catalog.root import RootCatalog
from nvr.network_catalog.service import catalog_admin_handlers
from nvr.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, place_pb2
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import MemoryAudit
from tests.network_catalog.test_root import AREAS, opened
from tests.network_catalog.test_store import CAMERA, NODE


def problem_of(error: grpc.aio.AioRpcError) -> common_pb2.Problem:
    raw = dict(error.trailing_metadata())[PROBLEM_KEY]
    assert isinstance(raw, bytes)
    return common_pb2.Problem.FromString(raw)


Change = catalog_pb2.CatalogChange
Area = catalog_pb2.Area
Root = tuple[Any, RootCatalog]


@pytest_asyncio.fixture
async def root(tmp_path: Path) -> AsyncIterator[Root]:
    async with AsyncExitStack() as stack:
        made, _holder = await stack.enter_async_context(
            opened(f"sqlite:///{tmp_path / 'catalog.sqlite'}", tmp_path / "node")
        )
        await made.change(AREAS, actor="local")
        server = NodeServer(
            MemoryFootage(memory_world()),
            node="province",
            audit=MemoryAudit(),
            services=[lambda runner: catalog_admin_handlers(made, None, "province", runner)],
        )
        port = server.listen("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 0)
        channel = dial(f"127.0.0.1:{port}")
        stack.push_async_callback(channel.close)
        yield catalog_pb2_grpc.CatalogAdminServiceStub(channel), made


def put_area(**change: Any) -> Change:
    return Change(put_area=Area(**({"code": "x", "name": "X", "parent": "38", "level": "commune"} | change)))


def put_camera(**change: Any) -> Change:
    given = {"camera_id": CAMERA.format(2), "node_id": NODE, "name": "yard"} | change
    return Change(put_camera=catalog_pb2.CatalogCamera(**given))


def merge(codes: list[str], **into: Any) -> Change:
    return Change(merge_areas=catalog_pb2.MergeAreas(codes=codes, into=Area(**into)))


NEW = {"name": "X", "parent": "38", "level": "commune"}


CASES = [
    (Change(), "changes[0]"),
    (put_area(code=""), "changes[0].put_area.code"),
    (put_area(code="a b"), "changes[0].put_area.code"),
    (put_area(code="a" * 64), "changes[0].put_area.code"),
    (put_area(name=""), "changes[0].put_area.name"),
    (put_area(name=" \t"), "changes[0].put_area.name"),
    (put_area(name="x" * 201), "changes[0].put_area.name"),
    (put_area(name="x" * 101), "changes[0].put_area.name"),
    (put_area(name="A, B"), "changes[0].put_area.name"),
    (put_area(name="\x00"), "changes[0].put_area.name"),
    (put_area(level="Xã"), "changes[0].put_area.level"),
    (put_area(level=""), "changes[0].put_area.level"),
    (put_area(parent="a b"), "changes[0].put_area.parent"),
    (put_area(parent="nowhere"), "changes[0].parent"),
    (put_area(parent=""), "changes[0].parent"),
    (put_area(code="38", parent="38-11"), "changes[0].parent"),
    (merge(["nowhere"], code="x", **NEW), "changes[0].codes"),
    (merge([], code="x", **NEW), "changes[0].merge_areas.codes"),
    (merge(["x"] * 1001, code="x", **NEW), "changes[0].merge_areas.codes"),
    (merge(["38"], code="38-1", **NEW), "changes[0].codes"),
    (Change(drop_level=catalog_pb2.DropLevel(level="nothing")), "changes[0].level"),
    (Change(retire_area="38-1"), "changes[0].code"),
    (Change(retire_area="a b"), "changes[0].retire_area"),
    (Change(restore_area=catalog_pb2.RestoreArea(code="38-1")), "changes[0].code"),
    (put_camera(place=place_pb2.Place(latitude=90.5)), "changes[0].put_camera.place.latitude"),
    (put_camera(place=place_pb2.Place(longitude=-181)), "changes[0].put_camera.place.longitude"),
    (put_camera(place=place_pb2.Place(latitude=float("nan"))), "changes[0].put_camera.place.latitude"),
    (put_camera(view=place_pb2.View(angle_deg=0)), "changes[0].put_camera.view.angle_deg"),
    (put_camera(height_m=float("inf")), "changes[0].put_camera.height_m"),
    (put_camera(area="nowhere"), "cameras.area"),
    (put_camera(node_id="ab" * 32), "cameras.node_id"),
    (put_camera(camera_id="x" * 36), "changes[0].put_camera.camera_id"),
    (put_camera(name="gate"), "cameras.name"),
    (Change(remove_node=NODE), "cameras.node_id"),
]


async def test_a_change_that_cannot_be_is_named(root: Root) -> None:
    stub, made = root
    before = (await made.versions(1))[0]
    for change, field in CASES:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ChangeCatalog(catalog_pb2.ChangeCatalogRequest(changes=[change]))
        assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), change
        problem = problem_of(caught.value)
        assert problem.field == field, change
        assert len(problem.message) < 1000
    assert (await made.versions(1))[0] == before


async def test_of_many_changes_the_one_at_fault_is_named_and_none_is_made(root: Root) -> None:
    stub, made = root
    changes = [put_area(code=f"x{number}") for number in range(100)]
    changes[70] = put_area(code="x70", parent="nowhere")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ChangeCatalog(catalog_pb2.ChangeCatalogRequest(changes=changes))
    assert problem_of(caught.value).field == "changes[70].parent"
    assert len(await made.versions(10)) == 1


async def test_too_many_changes_at_once_are_refused(root: Root) -> None:
    changes = [Change(retire_area="x")] * 10_001
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await root[0].ChangeCatalog(catalog_pb2.ChangeCatalogRequest(changes=changes))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert problem_of(caught.value).field == "changes"


async def test_what_can_be_is_made(root: Root) -> None:
    request = catalog_pb2.ChangeCatalogRequest(changes=[put_area(), put_camera(area="x")])
    answer = await root[0].ChangeCatalog(request)
    assert (answer.version.number, answer.version.added) == (2, 2)
