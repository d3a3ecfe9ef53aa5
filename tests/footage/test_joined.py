"""Several cameras in one message, for who asks so; one each for who does not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nvr.errors import StoreError
from nvr.footage.places import FindRequest, Found
from nvr.footage.remote import RemoteFootage
from nvr.footage.source import Answer
from nvr.footage.types import Camera, End, Notice, ReadContext
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import drain_into, serve

CONTEXT = ReadContext()


class Scripted(MemoryFootage):
    """Answers ``find`` as a script says."""

    def __init__(self, script: Callable[[], AsyncIterator[Found | Notice | End]]) -> None:
        super().__init__(memory_world())
        self.script = script

    def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        return self.script()


def found(number: int, more: str = "") -> Found:
    return Found(Camera(f"camera-{number}", more))


async def messages(script: Callable[[], AsyncIterator[Any]], *, joined: bool) -> list[Any]:
    async with serve(Scripted(script)) as served:
        stub: Any = footage_pb2_grpc.FootageServiceStub(served.channel)
        call = stub.Find(footage_pb2.FindRequest(joined=joined))
        return [message async for message in call]


def shape(message: Any) -> tuple[int, str | None]:
    return len(message.items), message.WhichOneof("step")


async def many() -> AsyncIterator[Found | Notice | End]:
    for number in range(500):
        yield found(number)
    yield End(complete=True)


async def test_what_is_known_at_once_is_one_message() -> None:
    (whole,) = await messages(many, joined=True)
    assert shape(whole) == (500, "end")
    assert [each.camera.id for each in whole.items] == [f"camera-{number}" for number in range(500)]


async def test_who_does_not_ask_so_gets_one_each() -> None:
    apart = await messages(many, joined=False)
    assert list(map(shape, apart)) == [(0, "item")] * 500 + [(0, "end")]


async def test_a_message_does_not_grow_without_end() -> None:
    async def long() -> AsyncIterator[Found | Notice | End]:
        for number in range(100):
            yield found(number, "x" * 10_000)
        yield End(complete=True)

    answer = await messages(long, joined=True)
    assert sum(len(each.items) for each in answer) == 100
    assert max(each.ByteSize() for each in answer) < 80 << 10


async def test_a_warning_stands_between_what_was_before_and_after_it() -> None:
    async def warned() -> AsyncIterator[Found | Notice | End]:
        yield found(1)
        yield Notice("damaged", "a")
        yield Notice("damaged", "b")
        yield found(2)
        yield End(complete=False)

    async with serve(Scripted(warned)) as served:
        steps = [step async for step in served.source.find(CONTEXT, FindRequest())]
    kept = [
        each.camera.id if isinstance(each, Found) else getattr(each, "message", "") for each in steps[:-1]
    ]
    assert kept == ["camera-1", "a", "b", "camera-2"]
    assert steps[-1] == End(complete=False)


async def test_what_is_known_does_not_wait_for_what_is_not() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[Found | Notice | End]:
        yield found(1)
        yield found(2)
        await go_on.wait()
        yield found(3)
        yield End(complete=True)

    async with serve(Scripted(slow)) as served:
        answer = RemoteFootage(served.channel).find(CONTEXT, FindRequest())
        first = [await asyncio.wait_for(anext(answer), 60) for _ in range(2)]
        assert [each.camera.id for each in first if isinstance(each, Found)] == ["camera-1", "camera-2"]
        go_on.set()
        assert len([step async for step in answer]) == 2


async def test_what_was_found_before_a_failure_is_given() -> None:
    async def failing() -> AsyncIterator[Found | Notice | End]:
        yield found(1)
        raise StoreError("the disk is gone")

    got: list[Any] = []
    async with serve(Scripted(failing)) as served:
        with pytest.raises(StoreError, match="the disk is gone"):
            await drain_into(got, served.source.find(CONTEXT, FindRequest()))
    assert got == [found(1)]


async def test_coverage_that_is_known_at_once_is_one_message() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        stub: Any = footage_pb2_grpc.FootageServiceStub(served.channel)

        async def asked(joined: bool) -> list[Any]:
            request = footage_pb2.CoverageRequest(
                camera=memory_world().cameras[0].name,
                range=common_pb2.TimeRange(start_us=0, end_us=2**53),
                joined=joined,
            )
            return [message async for message in stub.Coverage(request)]

        (whole,), apart = await asked(True), await asked(False)
        assert whole.WhichOneof("step") == "end"
        assert len(whole.items) > 1
        assert [each.item for each in apart[:-1]] == list(whole.items)
        assert apart[-1].end == whole.end
        assert not any(each.items for each in apart)
