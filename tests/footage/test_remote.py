"""The remote end against nodes that break the rules, and the administration of cameras through it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from nvr import errors
from nvr.errors import CameraExists, InternalError, InvalidArgument, NodeUnavailable, NvrError
from nvr.footage.admin import CameraChanges, CameraSettings, mask_password, restore_password
from nvr.footage.channel import dial
from nvr.footage.problems import error_from_problem, problem_of, status_of
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipRequest,
    FragmentsRequest,
    OwnerKind,
    Place,
    ReadContext,
    TimeRange,
    View,
)
from nvr.v1 import common_pb2, footage_pb2
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import drain_into, serve

CONTEXT = ReadContext()
SPAN = TimeRange(1, 2)
END = common_pb2.End(complete=True)


@asynccontextmanager
async def misbehaving(
    method: str, *answers: Any, then: grpc.StatusCode | None = None
) -> AsyncIterator[RemoteFootage]:
    """A node that answers one method with these messages, and then ends or fails."""

    async def answer(_request: bytes, context: Any) -> AsyncIterator[bytes]:
        for each in answers:
            yield each.SerializeToString()
        if then is not None:
            await context.abort(then, "gone")

    server = grpc.aio.server()
    handlers: dict[str, Any] = {method: grpc.unary_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("nvr.v1.FootageService", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = dial(f"127.0.0.1:{port}")
    try:
        yield RemoteFootage(channel, target="bad-node")
    finally:
        await channel.close()
        await server.stop(0)


def clip_bytes(data: bytes) -> footage_pb2.ReadClipResponse:
    return footage_pb2.ReadClipResponse(item=footage_pb2.ClipItem(data=footage_pb2.ClipData(data=data)))


@pytest.mark.parametrize("then", [None, grpc.StatusCode.UNAVAILABLE])
async def test_a_stream_without_its_end_was_cut(then: grpc.StatusCode | None) -> None:
    got: list[Any] = []
    async with misbehaving("ReadClip", clip_bytes(b"abc"), then=then) as remote:
        with pytest.raises(NodeUnavailable, match="bad-node"):
            await drain_into(got, remote.read_clip(CONTEXT, ClipRequest("a", SPAN)))
    assert [step.data for step in got] == [b"abc"]


async def test_a_fragment_cut_by_the_end_is_a_defect() -> None:
    response = footage_pb2.ReadFragmentsResponse
    head = footage_pb2.FragmentItem(fragment=footage_pb2.Fragment(data_bytes=9))
    async with misbehaving("ReadFragments", response(item=head), response(end=END)) as remote:
        with pytest.raises(InternalError, match="unfinished"):
            async for _ in remote.read_fragments(CONTEXT, FragmentsRequest("a", SPAN)):
                pass


async def test_an_answer_of_a_later_kind_is_passed_over() -> None:
    response = footage_pb2.CoverageResponse
    unknown = response(item=footage_pb2.CoverageItem())
    async with misbehaving("Coverage", unknown, response(), response(end=END)) as remote:
        steps = [step async for step in remote.coverage(CONTEXT, "a", "main", SPAN)]
    assert len(steps) == 1


async def test_what_cannot_be_understood_is_the_nodes_fault() -> None:
    config = footage_pb2.FragmentItem(config=footage_pb2.CodecConfig(id=1))
    head = footage_pb2.FragmentItem(fragment=footage_pb2.Fragment(config_id=1))
    head.fragment.ref.stream = 9  # type: ignore[assignment]
    response = footage_pb2.ReadFragmentsResponse
    async with misbehaving("ReadFragments", response(item=config), response(item=head)) as remote:
        with pytest.raises(InternalError, match="cannot be understood"):
            async for _ in remote.read_fragments(CONTEXT, FragmentsRequest("a", SPAN)):
                pass


EVERY_ERROR = sorted(
    (getattr(errors, name) for name in errors.__all__), key=lambda error: str(error.__name__)
)


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: str(kind.__name__))
def test_every_error_survives_the_wire(kind: type[NvrError]) -> None:
    error = kind("what, where", field="range.start_us", facts={"limit": "x"}, node="far")
    back = error_from_problem(problem_of(error, node="near"), status_of(error))
    assert back.reason == kind.reason
    # Where two share a reason, the more general one comes back; a bare NvrError is a defect.
    assert isinstance(error, type(back)) or kind is NvrError
    assert (back.message, back.field, back.facts, back.node) == (
        "what, where",
        "range.start_us",
        {"limit": "x"},
        "far",
    )


def test_an_unknown_reason_goes_by_the_status() -> None:
    problem = problem_of(InternalError("later"), node="n")
    problem.reason = "QUOTA_OF_LATER"
    assert type(error_from_problem(problem, grpc.StatusCode.RESOURCE_EXHAUSTED)) is errors.LimitExceeded
    assert type(error_from_problem(problem, grpc.StatusCode.UNKNOWN)) is InternalError


class MemoryAdmin:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.settings = CameraSettings("gate", "rtsp://admin:s3cr3t@10.0.0.7/main", place=Place(1.5, 2.5))

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        if settings.name == self.settings.name:
            raise CameraExists(f"{settings.name} is taken", field="settings.name")
        self.told.append((settings, dry_run))
        return Camera(id="" if dry_run else "new", name=settings.name)

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        self.told.append((camera, changes, dry_run))
        self.settings = changes.apply(self.settings)
        return Camera(id="x", name=self.settings.name)

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        self.told.append((camera, dry_run))
        return "x"

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        return Camera(id="x", name="gate"), self.settings


async def test_cameras_are_administered_from_afar() -> None:
    admin = MemoryAdmin()
    async with serve(MemoryFootage(memory_world()), cameras=admin) as served:
        remote = served.admin
        new = CameraSettings(
            "yard",
            "rtsp://u:p@h/1",
            "rtsp://u:p@h/2",
            "Sân",
            Place(1, 2),
            enabled=False,
            height_m=0.0,
            view=View(0, 360, 20),
            area="38-1",
            owner=OwnerKind.HOUSEHOLD,
        )
        assert (await remote.add_camera(CONTEXT, new, dry_run=True)).id == ""
        assert (await remote.add_camera(CONTEXT, new)).id == "new"
        assert admin.told == [(new, True), (new, False)]
        with pytest.raises(CameraExists) as caught:
            await remote.add_camera(CONTEXT, CameraSettings("gate", "rtsp://h/1"))
        assert caught.value.field == "settings.name"
        with pytest.raises(InvalidArgument) as refused:
            await remote.add_camera(CONTEXT, CameraSettings("other", ""))
        assert refused.value.field == "settings.main_url"

        _, shown = await remote.get_camera(CONTEXT, "gate")
        assert shown.main_url == "rtsp://admin:***@10.0.0.7/main"
        changes = CameraChanges(main_url=shown.main_url, title="Cổng", clear_place=True)
        await remote.update_camera(CONTEXT, "gate", changes)
        assert admin.told[-1] == ("gate", changes, False)
        assert admin.settings == CameraSettings("gate", "rtsp://admin:s3cr3t@10.0.0.7/main", title="Cổng")
        more = CameraChanges(height_m=4.5, view=View(90, 60), area="38-2", owner=OwnerKind.STATE)
        await remote.update_camera(CONTEXT, "gate", more)
        assert admin.told[-1] == ("gate", more, False)
        _, shown = await remote.get_camera(CONTEXT, "gate")
        assert (shown.height_m, shown.view, shown.area) == (4.5, View(90, 60), "38-2")
        less = CameraChanges(clear_view=True, area="", owner=OwnerKind.UNKNOWN)
        await remote.update_camera(CONTEXT, "gate", less)
        assert admin.told[-1] == ("gate", less, False)
        assert (admin.settings.view, admin.settings.area) == (None, "")
        assert await remote.remove_camera(CONTEXT, "gate", dry_run=True) == "x"
        assert admin.told[-1] == ("gate", True)
        assert served.audit.outcomes().count("OK") == 8


URLS: Sequence[tuple[str, str]] = [
    ("rtsp://10.0.0.7/main", "rtsp://10.0.0.7/main"),
    ("rtsp://10.0.0.7:554/main", "rtsp://10.0.0.7:554/main"),
    ("rtsp://admin@10.0.0.7/main", "rtsp://admin@10.0.0.7/main"),
    ("rtsp://admin:hunter2@10.0.0.7:554/main", "rtsp://admin:***@10.0.0.7:554/main"),
    ("rtsp://admin:hun@ter2@10.0.0.7/main", "rtsp://admin:***@10.0.0.7/main"),
    ("rtsp://admin:12/hunter2@10.0.0.7/main", "rtsp://admin:***@10.0.0.7/main"),
    ("rtsp://:hunter2@10.0.0.7/main", "rtsp://:***@10.0.0.7/main"),
    ("admin:hunter2@10.0.0.7/main", "admin:***@10.0.0.7/main"),
    (
        "rtsp://10.0.0.7/a?user=admin&password=hunter2&channel=1",
        "rtsp://10.0.0.7/a?user=admin&password=***&channel=1",
    ),
    ("rtsp://10.0.0.7/user=admin_password=hunter2", "rtsp://10.0.0.7/user=admin_password=***"),
    ("", ""),
]


@pytest.mark.parametrize(("url", "masked"), URLS)
def test_no_password_is_shown(url: str, masked: str) -> None:
    assert mask_password(url) == masked
    settings = CameraSettings("a", url, url)
    assert "hunter2" not in repr(settings) + repr(settings.masked()) + repr(CameraChanges(main_url=url))
    assert restore_password(masked, url) == url


def test_a_password_goes_to_no_other_host() -> None:
    stored = "rtsp://admin:hunter2@10.0.0.7/main"
    assert restore_password("rtsp://admin:***@10.0.0.7/sub", stored) == "rtsp://admin:hunter2@10.0.0.7/sub"
    assert restore_password("rtsp://admin:new@10.0.0.8/main", stored) == "rtsp://admin:new@10.0.0.8/main"
    for thief in (
        "rtsp://admin:***@10.6.6.6/main",
        "rtsp://other:***@10.0.0.7/main",
        "rtsp://admin:***@10.0.0.7:8554/main",
        "rtsp://10.0.0.7/a?password=***",
    ):
        with pytest.raises(InvalidArgument) as caught:
            restore_password(thief, stored)
        assert "hunter2" not in str(caught.value)
