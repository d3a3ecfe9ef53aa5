"""Fragments of a camera that several nodes have, page by page: each once, in order, whatever overlaps."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr.footage.types import FragmentRef, FragmentsRequest, ReadContext, TimeRange
from nvr.gateway.federated import FederatedFootage
from tests.acceptance.test_source import SHARED, collect
from tests.acceptance.world import SECOND, Run, regular_run
from tests.footage.memory import MemoryFootage, memory_world
from tests.gateway.tree import gateway, serving

CONTEXT = ReadContext()
GATE = memory_world().gate
ZERO_US = GATE.start_us
WHOLE = TimeRange(ZERO_US, ZERO_US + 60 * SECOND)
MOST_PAGES = 200


class Leaf(MemoryFootage):
    """A node whose footage of the camera can be changed."""

    def __init__(self, name: str, epoch: int) -> None:
        world = memory_world(name, 0)
        yard = dataclasses.replace(world.yard, id=memory_world(name, epoch + 1).yard.id)
        super().__init__(dataclasses.replace(world, yard=yard))
        self.epoch = epoch

    def record(self, runs: Sequence[Run]) -> None:
        self.world = dataclasses.replace(self.world, gate=dataclasses.replace(GATE, runs=tuple(runs)))
        self.__dict__.pop("_fragments", None)


def run(start_s: float, seconds: int) -> Run:
    """Of fragments of 2 s."""
    return regular_run(ZERO_US + int(start_s * SECOND), seconds, 10)


Three = tuple[FederatedFootage, list[Leaf]]


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    async with AsyncExitStack() as stack:
        # The longest name that a node may have: a cursor has it too.
        leaves = [Leaf(name, epoch) for epoch, name in enumerate(("a" * 63, "beta", "gamma"))]
        served = [await stack.enter_async_context(serving(leaf)) for leaf in leaves]
        made = await stack.enter_async_context(gateway("district", [each.address for each in served]))
        yield made.footage, leaves


async def pages(
    footage: FederatedFootage, *, limit: int = 0, backward: bool = False
) -> AsyncIterator[list[FragmentRef]]:
    request = FragmentsRequest(GATE.id, WHOLE, backward=backward, refs_only=True, limit=limit)
    for _ in range(MOST_PAGES):
        items, notices, end = await collect(footage.read_fragments(CONTEXT, request))
        assert end.complete, notices
        assert not limit or len(items) <= limit
        yield [each.ref for each in items]
        if not end.cursor:
            return
        assert items, "a page with something after it is not empty"
        assert len(end.cursor) <= 1000
        request = dataclasses.replace(request, cursor=end.cursor)
    raise AssertionError("there is no end to the pages")


async def read(footage: FederatedFootage, *, limit: int = 0, backward: bool = False) -> list[FragmentRef]:
    return [ref async for page in pages(footage, limit=limit, backward=backward) for ref in page]


def names(refs: Sequence[FragmentRef]) -> list[tuple[str, int]]:
    return [(ref.run_id, ref.sequence) for ref in refs]


async def check(footage: FederatedFootage) -> list[FragmentRef]:
    whole = await read(footage)
    assert len(set(names(whole))) == len(whole)
    assert names(await read(footage, backward=True)) == names(whole)[::-1]
    for limit in (1, 2, 3):
        for backward in (False, True):
            paged = await read(footage, limit=limit, backward=backward)
            assert names(paged) == names(whole)[:: -1 if backward else 1], (limit, backward)
    return whole


async def test_a_fragment_on_both_sides_of_another_nodes_stretch_comes_once(three: Three) -> None:
    footage, (first, second, third) = three
    first.record([run(0, 20)])
    second.record([run(4.3, 1), run(9.1, 1)])
    third.record([run(9.4, 1), run(50, 1)])
    whole = await check(footage)
    first_run = [ref for ref in whole if ref.epoch == 0]
    assert len(first_run) == 10
    # What is shown around the second's second begins before it.
    at = [ref.epoch for ref in whole].index(1)
    assert whole[at - 1].start_us < whole[at].start_us
    assert whole[at - 1].start_us + whole[at - 1].duration_us > whole[at].start_us + SECOND


@pytest.mark.parametrize("apart_us", [-40_000, 0, 40_000])
async def test_the_last_fragment_of_a_copy_that_is_not_complete_comes_once(
    three: Three, apart_us: int
) -> None:
    """It ends when it says itself; at its recorder, when the next one begins."""
    footage, (recorder, other, keeper) = three
    whole = run(0, 20)
    keeper.epoch = recorder.epoch
    for fragments in (1, 3):
        frames = whole.frames_us[: 20 * fragments]
        recorder.record([whole])
        keeper.record([Run(frames, frames[-1] + 100_000 + apart_us)])
        other.record([run(50, 1)])
        given = await check(footage)
        assert [ref.sequence for ref in given if ref.epoch == 0] == list(range(10))
        # A short stretch of another node lies where the copy ends.
        other.record([Run(run(2 * fragments - 0.1, 1).frames_us[:2], run(2 * fragments + 0.1, 1).start_us)])
        given = await check(footage)
        assert [ref.sequence for ref in given if ref.epoch == 0] == list(range(10))


@st.composite
def histories(draw: st.DrawFn) -> list[list[Run]]:
    """What each of three nodes has: runs that follow one another, in tenths of a second."""
    nodes = []
    for _ in range(3):
        runs, at = [], draw(st.integers(0, 100))
        for seconds in draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)):
            runs.append(run(at / 10, seconds))
            at += seconds * 10 + draw(st.integers(1, 60))
        nodes.append(runs)
    return nodes


@settings(SHARED, max_examples=10)
@given(data=st.data())
async def test_pages_are_the_whole_whatever_overlaps(three: Three, data: st.DataObject) -> None:
    footage, leaves = three
    for leaf, runs in zip(leaves, data.draw(histories()), strict=True):
        leaf.record(runs)
    await check(footage)


@pytest.mark.parametrize("backward", [False, True])
async def test_what_is_shown_may_change_between_pages(three: Three, backward: bool) -> None:
    """A node's footage appears, or is gone: nothing that was given comes again, nothing is left out."""
    footage, (first, second, third) = three
    first.record([run(0, 20)])
    third.record([run(52, 1)])
    split, late = [run(4.3, 1), run(9.1, 1), run(50, 1)], [run(50, 1)]
    for before, after in ((split, late), (late, split)):
        for limit, change_at in product((1, 2, 3, 5), range(6)):
            second.record(before)
            given: list[FragmentRef] = []
            number = 0
            async for page in pages(footage, limit=limit, backward=backward):
                given += page
                if number == change_at:
                    second.record(after)
                number += 1
            # A second's run may have another length: its names are others too.
            seen = [(ref.run_id, ref.start_us) for ref in given]
            assert len(set(seen)) == len(seen), (limit, change_at)
            assert len([ref for ref in given if ref.epoch == 0]) == 10, (limit, change_at)
