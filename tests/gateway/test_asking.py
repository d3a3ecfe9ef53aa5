"""Many nodes are asked at once and not too many; what is answered comes before what is late."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nvr.footage.places import Circle, FindRequest, Found
from nvr.footage.source import Answer
from nvr.footage.types import Camera, End, Place, ReadContext
from tests.gateway.test_faults import CONTEXT, WHOLE, Leaf
from tests.gateway.tree import gateway, served_gateway, serving

AT_ONCE, NODES = 3, 8


class Crowd:
    """Counts who is being asked; nobody answers before as many are as may be, or all were."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.is_open = False
        self.now = self.most = self.begun = 0
        self._enough = asyncio.Event()

    async def pass_through(self, question: str) -> None:
        """Of a node that is asked this."""
        if not self.is_open or question != self.question:
            return
        self.now, self.begun = self.now + 1, self.begun + 1
        self.most = max(self.most, self.now)
        if self.now == AT_ONCE or self.begun == NODES:
            self._enough.set()
        try:
            await self._enough.wait()
            # Whoever is let in too early comes now.
            for _ in range(20):
                await asyncio.sleep(0.001)
        finally:
            self.now -= 1


class Busy(Leaf):
    """One of a crowd."""

    def __init__(self, number: int, crowd: Crowd) -> None:
        super().__init__(number)
        self.crowd = crowd

    async def _after(self, question: str, answer: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await self.crowd.pass_through(question)
        async for step in answer:
            yield step

    def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        return self._after("find", super().find(context, request))

    def list_cameras(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Camera]:
        return self._after("list", super().list_cameras(context, cameras))


@pytest.mark.parametrize("question", ["find", "list"])
async def test_as_many_nodes_are_asked_at_once_as_may_be(question: str) -> None:
    crowd = Crowd(question)
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serving(Busy(number, crowd))) for number in range(NODES)]
        made = await stack.enter_async_context(
            gateway("district", [each.address for each in served], at_once=AT_ONCE)
        )
        crowd.is_open = True
        if question == "find":
            answer: AsyncIterator[Any] = made.footage.find(CONTEXT, FindRequest(range=WHOLE))
        else:
            answer = made.footage.list_cameras(CONTEXT)
        steps = [step async for step in answer]
    assert (len(steps), steps[-1].complete) == (2 * NODES + 1, True)
    assert (crowd.begun, crowd.most) == (NODES, AT_ONCE)


async def test_what_is_answered_comes_before_what_is_late() -> None:
    """Through two tiers: the nearer cameras are there while the farther node still thinks."""
    late = Leaf(1)
    late.hang = True
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serving(leaf)) for leaf in (Leaf(0), late)]
        district = await stack.enter_async_context(gateway("district", [each.address for each in served]))
        below = await stack.enter_async_context(served_gateway(district))
        top = await stack.enter_async_context(gateway("province", [below.address], timeout_s=3))
        near = Circle(Place(19.8, 105.8), 5_000)
        answer = top.footage.find(CONTEXT, FindRequest(near, WHOLE))
        found = [await anext(answer), await anext(answer)]
        assert [isinstance(each, Found) and each.camera.node for each in found] == ["leaf-0", "leaf-0"]
        assert late.finds == 1, "it has been asked, and has not answered"
        rest = [step async for step in answer]
    assert isinstance(rest[-1], End)
    assert not rest[-1].complete
