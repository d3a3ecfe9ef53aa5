"""Events of all nodes below, and of the gateway itself, as one stream without end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from nvr.errors import Incomplete
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import Event, Notice, ReadContext
from tests.footage.serving import until
from tests.gateway.tree import Gateway, Served, gateway, served_gateway, serving
from tests.gateway.twins import GATE, ZERO_US, Twin, next_step

CONTEXT = ReadContext()


def event(twin: Twin, camera_id: str = GATE.id, node: str = "") -> Event:
    return Event(ZERO_US, "stream_waiting", camera_id, "main", "refused", "", node or twin.world.node)


async def over(stack: AsyncExitStack, *twins: Twin) -> tuple[Gateway, list[Served]]:
    served = [await stack.enter_async_context(serving(twin)) for twin in twins]
    return await stack.enter_async_context(gateway("district", [each.address for each in served])), served


@asynccontextmanager
async def watching(made: Gateway, cameras: Sequence[str] = ()) -> AsyncIterator[AsyncIterator[Any]]:
    answer: Any = made.footage.watch_events(CONTEXT, cameras)
    try:
        yield answer
    finally:
        await answer.aclose()


async def test_events_of_all_nodes_and_of_the_gateway_itself() -> None:
    first, second = Twin("first", "1", took_over=False), Twin("second", "2", took_over=True)
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, first, second)
        top = await stack.enter_async_context(served_gateway(made))
        province = await stack.enter_async_context(gateway("province", [top.address]))
        answer = await stack.enter_async_context(watching(province))
        await first.events.put(event(first))
        await second.events.put(event(second))
        assert {await next_step(answer), await next_step(answer)} == {event(first), event(second)}
        taken = Event(ZERO_US, "lease_taken", GATE.id, None, "", "second has it", "district")
        made.footage.own_events.publish(taken)
        assert await next_step(answer) == taken


async def test_of_some_cameras_only_theirs_are_told() -> None:
    first = Twin("first", "1", took_over=False)
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, first)
        answer = await stack.enter_async_context(watching(made, ["market-gate"]))
        await first.events.put(event(first))
        assert await next_step(answer) == event(first)
        assert first.asked_for == [(GATE.id,)]
        for camera_id in (first.world.yard.id, GATE.id):
            made.footage.own_events.publish(Event(ZERO_US, "lease_taken", camera_id, node="district"))
        told = await next_step(answer)
        assert isinstance(told, Event)
        assert told.camera_id == GATE.id


async def test_a_node_that_went_away_is_named_and_listened_to_again() -> None:
    first = Twin("first", "1", took_over=False)
    async with AsyncExitStack() as stack:
        made, (served,) = await over(stack, first)
        answer = await stack.enter_async_context(watching(made))
        await first.events.put(event(first))
        assert await next_step(answer) == event(first)
        await served.stop()
        notice = await next_step(answer)
        assert isinstance(notice, Notice)
        assert (notice.code, notice.node) == ("node_unreachable", "first")
        await served.start()
        await until(lambda: len(first.asked_for) > 1)
        await first.events.put(event(first))
        assert await next_step(answer) == event(first)


@pytest.mark.parametrize(
    ("camera_id", "node"), [("0193143f-0000-7000-8000-ffffffff0001", ""), (GATE.id, "second")]
)
async def test_a_node_tells_of_its_own_only(camera_id: str, node: str) -> None:
    liar, honest = Twin("liar", "1", took_over=False), Twin("second", "2", took_over=True)
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, liar, honest)
        answer = await stack.enter_async_context(watching(made, [GATE.id]))
        await liar.events.put(event(liar, camera_id, node))
        notice = await next_step(answer)
        assert isinstance(notice, Notice)
        assert (notice.code, notice.node) == ("node_lied", "liar")
        await honest.events.put(event(honest))
        assert await next_step(answer) == event(honest)


async def test_a_watch_that_refuses_parts_ends_when_a_node_goes_away() -> None:
    first = Twin("first", "1", took_over=False)
    async with AsyncExitStack() as stack:
        made, (served,) = await over(stack, first)
        top = await stack.enter_async_context(served_gateway(made))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        remote = RemoteFootage(channel, target="district")
        answer = remote.watch_events(ReadContext(partial="refuse"))
        await first.events.put(event(first))
        assert await next_step(answer) == event(first)
        await served.stop()
        with pytest.raises(Incomplete) as caught:
            await next_step(answer)
        assert caught.value.node == "first"
