"""Answers whose next step is fetched while the last one is being used."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from nvr.errors import NodeUnavailable
from nvr.footage.ahead import read_ahead
from nvr.footage.closing import closing


class Source:
    """Steps 0, 1, …, and what became of them."""

    def __init__(self, steps: int, error: Exception | None = None) -> None:
        self.asked = 0
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._steps = steps
        self._error = error

    async def answer(self) -> AsyncIterator[int]:
        try:
            for step in range(self._steps):
                self.asked += 1
                await self.gate.wait()
                yield step
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_steps_come_in_order_one_of_them_ahead() -> None:
    source = Source(5)
    found = []
    async for step in read_ahead(source.answer()):
        await settled()
        assert source.asked == min(step + 2, 5)
        found.append(step)
    assert found == list(range(5))
    assert source.closed


async def test_an_error_comes_after_the_steps_before_it() -> None:
    source = Source(2, NodeUnavailable("cut"))
    answer = read_ahead(source.answer())
    assert [await anext(answer), await anext(answer)] == [0, 1]
    await settled()
    with pytest.raises(NodeUnavailable, match="cut"):
        await anext(answer)
    assert source.closed


@pytest.mark.parametrize("error", [None, NodeUnavailable("of no interest")])
async def test_who_leaves_early_ends_the_answer(error: Exception | None) -> None:
    source = Source(1, error)
    answer = read_ahead(source.answer())
    async with closing(answer):
        assert await anext(answer) == 0
        await settled()
    assert source.closed


async def test_who_leaves_while_the_next_step_is_awaited_ends_the_answer() -> None:
    source = Source(2)
    answer = read_ahead(source.answer())
    assert await anext(answer) == 0
    source.gate.clear()
    waiting = asyncio.ensure_future(anext(answer))
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert source.closed
