"""What a node does with calls, whatever its source of footage is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from nvr.errors import (
    AccessDenied,
    AmbiguousCamera,
    DeadlineExceeded,
    Incomplete,
    InternalError,
    InvalidArgument,
    LimitExceeded,
    NodeUnavailable,
    StoreError,
)
from nvr.footage.calls import OMISSIONS, CallReport, Limits, RequestIdFilter, current_call
from nvr.footage.problems import PROBLEM_KEY
from nvr.footage.server import FOOTAGE_SERVICE
from nvr.footage.source import Answer
from nvr.footage.types import (
    Camera,
    ClipRequest,
    End,
    Event,
    FragmentRef,
    LiveUnit,
    NodeInfo,
    Notice,
    PictureOptions,
    ReadContext,
    TimeRange,
)
from nvr.security.audit import AuditEntry
from nvr.security.identity import Caller
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import drain_into, serve, until

CONTEXT = ReadContext(purpose="test", case_number="7/2024", request_id="r-1")
EVENT = Event(at_us=1, kind="run_started")


async def drain(answer: AsyncIterator[Any]) -> list[Any]:
    return [step async for step in answer]


class Scripted(MemoryFootage):
    """Lists cameras by a script; an exception in it is raised."""

    def __init__(self, *script: Camera | Notice | End | BaseException) -> None:
        super().__init__(memory_world())
        self._script = script

    async def list_cameras(self, context: ReadContext, cameras: Any = ()) -> Answer[Camera]:
        self.contexts.append(context)
        for step in self._script:
            if isinstance(step, BaseException):
                raise step
            yield step


GATE = Camera(id="x", name="gate")


def request_for(descriptor: Any) -> Message:
    """A request that every rule passes."""
    request: Any = GetMessageClass(descriptor)()
    request.context.purpose = "audited?"
    request.context.case_number = "12/2024"
    names = descriptor.fields_by_name
    gate = memory_world().gate
    if "camera" in names:
        request.camera = gate.name
    if "range" in names:
        request.range.start_us, request.range.end_us = gate.start_us, gate.start_us + 2_000_000
    if "interval_us" in names:
        request.interval_us = 1_000_000
    if "at_us" in names:
        request.at_us = gate.start_us
    if "min_speed_mps" in names:
        request.min_speed_mps, request.max_speed_mps, request.within_us = 1, 10, 60_000_000
    if "where" in names:
        request.where.near.center.latitude, request.where.near.radius_m = 19.5, 300
    return request  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", list(FOOTAGE_SERVICE.methods), ids=lambda method: str(method.name))
async def test_every_read_leaves_a_record(method: Any) -> None:
    source = MemoryFootage(memory_world())
    source.live.put_nowait(LiveUnit(False, 0, 0, True, b"nal", "run"))
    source.live.put_nowait(End(complete=True))
    source.events.put_nowait(EVENT)
    source.events.put_nowait(End(complete=True))
    async with serve(source) as served:
        call = getattr(footage_pb2_grpc.FootageServiceStub(served.channel), method.name)(
            request_for(method.input_type)
        )
        if method.server_streaming:
            assert [step async for step in call][-1].HasField("end")
        else:
            await call
        events = [event for event, _, _ in served.audit.lines]
        discloses = method.name in {"ReadClip", "ReadFragments", "ReadFrames", "Snapshot", "WatchLive"}
        assert events == (["opened", "closed"] if discloses else ["closed"])
        if method.name in {"ReadClip", "ReadFragments"}:
            assert served.audit.lines[0][2] == "durable"
        _, entry, outcome = served.audit.lines[-1]
        where = '{"near":{"center":{"latitude":19.5},"radius_m":300.0}}'
        assert entry.where == (where if method.name == "Find" else "")
        assert outcome == "OK"
        assert served.audit.sent_bytes[-1] > 0
        assert entry.method == f"nvr.v1.FootageService/{method.name}"
        assert entry.caller is not None
        assert entry.caller.kind == "local"
        assert (entry.purpose, entry.case_number) == ("audited?", "12/2024")
        assert len(entry.request_id) == 32
        if "camera" in method.input_type.fields_by_name:
            assert entry.cameras == ("market-gate",)
            assert entry.stream == ("main" if "stream" in method.input_type.fields_by_name else "")
        if "range" in method.input_type.fields_by_name:
            assert (entry.start_us, entry.end_us) == (
                memory_world().gate.start_us,
                memory_world().gate.start_us + 2_000_000,
            )


@pytest.mark.parametrize("method", list(FOOTAGE_SERVICE.methods), ids=lambda method: str(method.name))
async def test_refused_reads_leave_a_record_too(method: Any) -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        request: Any = request_for(method.input_type)
        request.context.purpose = "p" * 501
        call = getattr(footage_pb2_grpc.FootageServiceStub(served.channel), method.name)(request)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (drain(call) if method.server_streaming else call)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        metadata = dict(caught.value.trailing_metadata() or ())
        problem = common_pb2.Problem.FromString(metadata[PROBLEM_KEY])
        assert (problem.reason, problem.field, problem.node) == (
            "INVALID_FIELD",
            "context.purpose",
            "station-1",
        )
        assert served.audit.outcomes() == ["INVALID_FIELD"]
        assert len(served.audit.lines[-1][1].purpose) == 500


async def test_without_a_record_nothing_is_disclosed() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        served.audit.fail = StoreError("the disk is full")
        gate = memory_world().gate
        got: list[Any] = []
        with pytest.raises(StoreError, match="disk is full"):
            await drain_into(got, served.source.read_clip(CONTEXT, ClipRequest(gate.name, gate.whole)))
        assert got == []


async def test_bytes_that_are_no_request_are_refused() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        raw: Any = served.channel.unary_unary("/nvr.v1.FootageService/Locate")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(b"\xff\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert served.audit.outcomes() == ["INVALID_FIELD"]


async def test_the_request_id_goes_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    source = Scripted(RuntimeError("secret text"))
    caplog.handler.addFilter(RequestIdFilter())
    async with serve(source) as served:
        with caplog.at_level(logging.ERROR, logger="nvr.calls"), pytest.raises(InternalError) as caught:
            await drain(served.source.list_cameras(CONTEXT))
    assert source.contexts[0].request_id == "r-1"
    assert "r-1" in caught.value.message
    assert "secret" not in str(caught.value)
    (record,) = [record for record in caplog.records if record.name == "nvr.calls"]
    assert record.request_id == "r-1"  # type: ignore[attr-defined]
    assert "secret text" in caplog.text
    assert served.audit.outcomes() == ["INTERNAL"]


async def test_a_request_id_is_minted_where_there_is_none() -> None:
    source = Scripted(GATE, End(complete=True))
    async with serve(source) as served:
        stub = footage_pb2_grpc.FootageServiceStub(served.channel)
        call: Any = stub.ListCameras(footage_pb2.ListCamerasRequest())
        await drain(call)
        sent = dict(await call.initial_metadata())["nvr-request-id"]
    assert source.contexts[0].request_id == sent
    assert len(sent) == 32


@pytest.mark.parametrize("code", sorted(OMISSIONS))
async def test_an_omission_fails_a_read_that_refuses_partial_answers(code: str) -> None:
    source = Scripted(GATE, Notice(code, "two minutes are missing"), End(complete=True))
    refuse = ReadContext(partial="refuse")
    async with serve(source) as served:
        with pytest.raises(Incomplete, match="two minutes") as caught:
            await drain(served.source.list_cameras(refuse))
        assert caught.value.facts == {"warning": code}
        steps = await drain(served.source.list_cameras(CONTEXT))
        assert [type(step) for step in steps] == [Camera, Notice, End]


async def test_an_incomplete_end_fails_a_read_that_refuses_partial_answers() -> None:
    async with serve(Scripted(GATE, End(complete=False))) as served:
        with pytest.raises(Incomplete):
            await drain(served.source.list_cameras(ReadContext(partial="refuse")))
        assert (await drain(served.source.list_cameras(CONTEXT)))[-1] == End(complete=False)


async def test_a_warning_of_no_omission_passes() -> None:
    hint = Notice("clock_uncertain", "the clock was not synchronized")
    async with serve(Scripted(GATE, hint, End(complete=True))) as served:
        steps = await drain(served.source.list_cameras(ReadContext(partial="refuse")))
    assert steps == [GATE, hint, End(complete=True)]


async def test_nothing_follows_the_end() -> None:
    async with serve(Scripted(GATE, End(complete=True), GATE, End(complete=False))) as served:
        assert await drain(served.source.list_cameras(CONTEXT)) == [GATE, End(complete=True)]


async def test_a_source_that_forgets_the_end_is_a_defect() -> None:
    async with serve(Scripted(GATE)) as served:
        with pytest.raises(InternalError, match="without saying whether it is complete"):
            await drain(served.source.list_cameras(CONTEXT))


async def test_an_ambiguous_name_comes_with_its_candidates() -> None:
    async with serve(MemoryFootage(memory_world(), ambiguous=["market-gate"])) as served:
        with pytest.raises(AmbiguousCamera) as caught:
            await served.source.locate(CONTEXT, "market-gate", "main", 1)
    assert caught.value.facts == {"candidates": "a/market-gate,b/market-gate"}
    assert caught.value.field == "camera"


async def test_an_unknown_enum_of_a_request_is_refused() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        stub = footage_pb2_grpc.FootageServiceStub(served.channel)
        for field in ("mode", "stream"):
            request = footage_pb2.LocateRequest(camera="yard", at_us=5)
            setattr(request, field, 9)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Locate(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert field in str(caught.value.details())


async def test_a_caller_has_so_many_streams_open() -> None:
    class OneEvent(MemoryFootage):
        async def watch_events(self, *_: Any) -> Answer[Event]:
            try:
                yield EVENT
                await asyncio.Event().wait()
            finally:
                self.closed_streams += 1

    source = OneEvent(memory_world())
    async with serve(source, limits=Limits(streams_per_caller=2)) as served:
        watches = [served.source.watch_events(CONTEXT) for _ in range(2)]
        for watch in watches:
            assert await anext(watch) == EVENT
        with pytest.raises(LimitExceeded) as caught:
            await anext(served.source.watch_events(CONTEXT))
        assert caught.value.facts["limit"] == "streams_per_caller"
        await watches[0].aclose()  # type: ignore[attr-defined]
        await until(lambda: source.closed_streams == 1)
        again = served.source.watch_events(CONTEXT)
        assert await anext(again) == EVENT


async def test_all_callers_together_have_so_many_streams_open() -> None:
    class OneEvent(MemoryFootage):
        async def watch_events(self, *_: Any) -> Answer[Event]:
            yield EVENT
            await asyncio.Event().wait()

    async with serve(OneEvent(memory_world()), limits=Limits(streams=3, streams_per_caller=9)) as served:
        watches = [served.source.watch_events(CONTEXT) for _ in range(3)]
        for watch in watches:
            assert await anext(watch) == EVENT
        with pytest.raises(LimitExceeded) as caught:
            await anext(served.source.watch_events(CONTEXT))
        assert caught.value.facts == {"limit": "streams", "value": "3"}


async def test_a_read_that_is_left_is_cancelled_on_the_node() -> None:
    source = MemoryFootage(memory_world())
    async with serve(source) as served:
        watch = served.source.watch_live(CONTEXT, "yard", "main")
        source.live.put_nowait(LiveUnit(False, 0, 0, True, b"nal", "run"))
        await anext(watch)
        await watch.aclose()  # type: ignore[attr-defined]
        await until(lambda: source.closed_streams == 1)
        await until(lambda: bool(served.audit.outcomes()))
        assert served.audit.outcomes() == ["CANCELLED"]


async def test_watches_end_properly_when_the_node_stops() -> None:
    source = MemoryFootage(memory_world())
    async with serve(source) as served:
        source.events.put_nowait(EVENT)
        watch = served.source.watch_events(CONTEXT)
        assert await anext(watch) == EVENT
        stopping = asyncio.create_task(served.server.stop(60))
        assert await drain(watch) == [End(complete=True)]
        await stopping
        assert served.audit.outcomes() == ["OK"]


async def test_a_slow_answer_ends_at_the_limit() -> None:
    class Stuck(MemoryFootage):
        async def locate(self, *_: Any, **__: Any) -> FragmentRef:
            await asyncio.Event().wait()
            raise AssertionError

    async with serve(Stuck(memory_world()), limits=Limits(unary_timeout_s=0.05)) as served:
        with pytest.raises(DeadlineExceeded, match="longer than"):
            await served.source.locate(CONTEXT, "yard", "main", 1)
        assert served.audit.outcomes() == ["DEADLINE"]


async def test_handlers_know_their_call_and_its_deadline() -> None:
    seen: list[Any] = []

    class Asking(MemoryFootage):
        async def node(self) -> NodeInfo:
            seen.append(current_call())
            return await super().node()

    async with serve(Asking(memory_world())) as served:
        await served.source.node()
    (call,) = seen
    assert call.method.path == "nvr.v1.NodeService/GetNode"
    assert call.caller == Caller("local", "", call.caller.peer)
    assert call.deadline_s is not None


async def test_observers_are_told_of_every_call() -> None:
    reports: list[CallReport] = []
    async with serve(MemoryFootage(memory_world()), observers=[reports.append]) as served:
        await served.source.node()
        with pytest.raises(InvalidArgument):
            await drain(served.source.coverage(CONTEXT, "yard", "main", TimeRange(5, 5)))
    assert [(report.method, report.outcome, report.status) for report in reports] == [
        ("GetNode", "OK", "OK"),
        ("Coverage", "INVALID_FIELD", "INVALID_ARGUMENT"),
    ]
    assert all(report.seconds >= 0 for report in reports)


async def test_a_caller_that_leaves_at_the_very_end_leaves_a_record() -> None:
    reports: list[CallReport] = []
    async with serve(MemoryFootage(memory_world()), observers=[reports.append]) as served:
        closing, may_close, close = asyncio.Event(), asyncio.Event(), served.audit.closed

        async def closed(entry: AuditEntry, *, outcome: str, sent_bytes: int) -> None:
            closing.set()
            await may_close.wait()
            await close(entry, outcome=outcome, sent_bytes=sent_bytes)

        served.audit.closed = closed  # type: ignore[method-assign]
        reading = asyncio.create_task(drain(served.source.list_cameras(CONTEXT)))
        await closing.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        # Time for the node to hear of it; without, this shows less.
        await asyncio.sleep(0.2)
        may_close.set()
        await until(lambda: bool(reports))
        assert served.audit.outcomes() == ["OK"]
        assert [report.outcome for report in reports] == ["OK"]


async def test_the_policy_decides() -> None:
    class NoClips:
        def authorize(self, caller: Caller, method: str) -> None:
            if method.endswith("/ReadClip"):
                raise AccessDenied(f"{caller} may not extract")

    async with serve(MemoryFootage(memory_world()), policy=NoClips()) as served:
        await drain(served.source.list_cameras(CONTEXT))
        with pytest.raises(AccessDenied, match="local may not extract"):
            await drain(served.source.read_clip(CONTEXT, ClipRequest("yard", TimeRange(1, 2))))
        assert served.audit.outcomes() == ["OK", "FORBIDDEN"]


async def test_long_texts_do_not_break_the_status() -> None:
    long = InvalidArgument("ề" * 100_000, field="f" * 5000, facts={"candidates": "ề" * 50_000})
    async with serve(Scripted(long)) as served:
        with pytest.raises(InvalidArgument) as caught:
            await drain(served.source.list_cameras(CONTEXT))
    assert caught.value.message.endswith("…")
    assert caught.value.facts["candidates"].startswith("ề")


async def test_a_large_picture_travels_whole() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        options = PictureOptions(max_width=4000, max_height=3000)
        picture = await served.source.snapshot(CONTEXT, "yard", "main", 0, options)
    assert (picture.width, picture.height) == (4000, 3000)


async def test_a_node_that_is_not_there_is_unavailable() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        await served.server.stop(0)
        with pytest.raises(NodeUnavailable):
            await served.source.node()
        with pytest.raises(NodeUnavailable):
            await drain(served.source.list_cameras(CONTEXT))


async def test_a_closed_connection_is_unavailable() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        await served.channel.close()
        with pytest.raises(NodeUnavailable):
            await served.source.node()
        with pytest.raises(NodeUnavailable):
            await drain(served.source.list_cameras(CONTEXT))
