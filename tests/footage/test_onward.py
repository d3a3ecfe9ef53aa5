"""What goes on to the nodes that are asked: a shorter deadline at each tier, and one trace through all."""

import asyncio
import contextvars
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import DeadlineExceeded
from nvr.footage import onward
from nvr.footage.calls import current_call
from nvr.footage.source import Answer, FootageSource
from nvr.footage.types import Camera, NodeInfo, ReadContext
from nvr.v1 import footage_pb2
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import serve

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def begun(traceparent: str, deadline_s: float | None = None) -> onward.Onward:
    return contextvars.copy_context().run(onward.begin, traceparent, deadline_s)


def test_a_trace_goes_on_with_a_span_of_its_own() -> None:
    found = begun(PARENT)
    assert found.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert found.sampled
    assert found.span_id != "b7ad6b7169203331"
    assert found.traceparent == f"00-{found.trace_id}-{found.span_id}-01"
    assert begun(found.traceparent).trace_id == found.trace_id


@given(
    st.text(max_size=80) | st.sampled_from([PARENT.upper(), PARENT + "-x", "00-" + "0" * 32 + PARENT[35:]])
)
def test_what_is_no_trace_begins_a_new_one(text: str) -> None:
    found = begun(text)
    assert found.trace_id != begun(text).trace_id
    assert not found.sampled


@given(st.floats(0.001, 3600))
def test_each_tier_has_less_time(left_s: float) -> None:
    def inside() -> float:
        onward.begin("", time.monotonic() + left_s)
        shorter_s = onward.timeout_s()
        assert shorter_s is not None
        assert onward.timeout_s(0.0005) == 0.0005
        return shorter_s

    shorter_s = contextvars.copy_context().run(inside)
    assert 0 < shorter_s < max(left_s, 0.002)
    assert shorter_s >= left_s - onward.MARGIN_MAX_S - 0.1 or left_s < 0.1


def test_outside_of_a_call_nothing_is_added() -> None:
    def outside() -> tuple[float | None, float | None, Any]:
        return onward.timeout_s(), onward.timeout_s(5), onward.metadata()

    assert contextvars.Context().run(outside) == (None, 5, ())


class Tier(MemoryFootage):
    """Asks the node below, if there is one, and notes what it was called with."""

    def __init__(self, below: Any = None) -> None:
        super().__init__(memory_world())
        self.below = below
        self.left_s: list[float] = []
        self.traces: list[tuple[str, str]] = []
        self.hang = False

    def note(self) -> None:
        call, trace = current_call(), onward.current()
        assert call is not None
        assert trace is not None
        self.traces.append((trace.trace_id, trace.span_id))
        if call.deadline_s is not None:
            self.left_s.append(call.deadline_s - time.monotonic())

    async def list_cameras(self, context: ReadContext, cameras: Any = ()) -> Answer[Camera]:
        self.note()
        if self.hang:
            await asyncio.Event().wait()
        below: FootageSource = self.below or MemoryFootage(self.world)
        async for step in below.list_cameras(context, cameras):
            yield step

    async def node(self) -> NodeInfo:
        self.note()
        below: FootageSource = self.below or MemoryFootage(self.world)
        return await below.node()


async def tiers(stack: AsyncExitStack, count: int) -> tuple[Any, list[Tier]]:
    below, made = None, []
    for _ in range(count):
        tier = Tier(below)
        below = (await stack.enter_async_context(serve(tier))).source
        made.append(tier)
    return below, made[::-1]


async def test_three_tiers_share_a_trace_and_have_less_time_each() -> None:
    async with AsyncExitStack() as stack:
        top, made = await tiers(stack, 3)
        await asyncio.wait_for(top.node(), 20)
        assert all(tier.left_s for tier in made)
        assert made[0].left_s[0] > made[1].left_s[0] > made[2].left_s[0]
        assert len({tier.traces[0][0] for tier in made}) == 1
        assert len({tier.traces[0][1] for tier in made}) == 3


async def test_the_lowest_tier_is_late_first() -> None:
    async with AsyncExitStack() as stack:
        top, made = await tiers(stack, 3)
        made[-1].hang = True
        # What comes back is the deadline of the node below, told by the node above: it was still there.
        call = top._stub.ListCameras(footage_pb2.ListCamerasRequest(), timeout=1.0)
        with pytest.raises(DeadlineExceeded) as caught, top._errors():
            await call.read()
        assert caught.value.node == "station-1"
