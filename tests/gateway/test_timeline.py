"""A camera that two nodes have, after a failover: one timeline, or each node's own."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from nvr.errors import CameraNotFound, ClipChanged, InvalidArgument
from nvr.footage.places import FindRequest
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipRequest,
    FragmentsRequest,
    PictureOptions,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.gateway.federated import FederatedFootage
from tests.acceptance.test_source import collect, items_of, read_parts
from tests.acceptance.world import SECOND, RecordedCamera, regular_run
from tests.footage.memory import MemoryFootage, memory_world
from tests.gateway.tree import gateway, serving

CONTEXT = ReadContext()
GATE = memory_world().gate
ZERO_US = GATE.start_us
# The first records for 20 s, and again from 27 s on; the second took over from 15 to 30 s.
FIRST = GATE
SECOND_RUN = (regular_run(ZERO_US + 15 * SECOND + 50_000, 15, 10),)
WHOLE = TimeRange(ZERO_US, GATE.end_us)


def leaf(name: str, gate: RecordedCamera, epoch: int) -> MemoryFootage:
    world = dataclasses.replace(memory_world(name, 0), gate=gate)
    # Each of its own yard.
    yard = dataclasses.replace(world.yard, id=memory_world(name, epoch + 1).yard.id)
    found = MemoryFootage(dataclasses.replace(world, yard=yard))
    found.epoch = epoch
    return found


@pytest.fixture
async def both() -> AsyncIterator[FederatedFootage]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(leaf("first", FIRST, 0)))
        second = await stack.enter_async_context(
            serving(leaf("second", dataclasses.replace(GATE, runs=SECOND_RUN), 1))
        )
        made = await stack.enter_async_context(gateway("district", [first.address, second.address]))
        yield made.footage


async def test_coverage_prefers_the_higher_epoch_and_fills_holes(both: FederatedFootage) -> None:
    items = await items_of(both.coverage(CONTEXT, GATE.id, "main", WHOLE))
    shown = [
        (item.node, item.range.start_us - ZERO_US, item.range.end_us - ZERO_US)
        for item in items
        if isinstance(item, Span)
    ]
    took_us, gave_us = 15 * SECOND + 50_000, 30 * SECOND + 50_000
    assert shown == [
        ("first", 0, took_us),
        ("second", took_us, gave_us),
        ("first", gave_us, WHOLE.duration_us),
    ]
    assert len(shown) == len(items), "no gap is left"


async def test_each_source_is_read_alone_when_asked(both: FederatedFootage) -> None:
    for source, runs in (("first", FIRST.runs), ("second", SECOND_RUN)):
        items = await items_of(both.coverage(CONTEXT, "market-gate", "main", WHOLE, source))
        spans = [(item.range.start_us, item.range.end_us) for item in items if isinstance(item, Span)]
        assert spans == [(run.start_us, run.end_us) for run in runs]
    with pytest.raises(CameraNotFound, match="third"):
        await collect(both.coverage(CONTEXT, GATE.id, "main", WHOLE, "third"))


async def test_find_gives_it_once_or_by_source(both: FederatedFootage) -> None:
    found = await items_of(both.find(CONTEXT, FindRequest(range=WHOLE)))
    gates = [each for each in found if each.camera.id == GATE.id]
    assert len(gates) == 1
    assert set(gates[0].camera.sources) == {"first", "second"}
    assert tuple(gates[0].coverage) == tuple(await items_of(both.coverage(CONTEXT, GATE.id, "main", WHOLE)))
    apart = await items_of(both.find(CONTEXT, FindRequest(range=WHOLE, by_source=True)))
    assert {each.source for each in apart if each.camera.id == GATE.id} == {"first", "second"}


async def test_a_clips_parts_are_each_of_one_node_and_resume(both: FederatedFootage) -> None:
    request = ClipRequest(GATE.id, WHOLE)
    head, parts = await read_parts(both, request)
    assert [part.node for part in head.parts] == ["first", "second", "first"]
    assert [part.index for part in head.parts] == [0, 1, 2]
    assert [len(parts[part.index]) for part in head.parts] == [part.size_bytes for part in head.parts]
    for index, part in enumerate(head.parts):
        for offset in (0, 1, part.size_bytes // 2, part.size_bytes - 1):
            again = dataclasses.replace(request, part=index, offset=offset, if_etag=part.etag)
            data = b""
            async for step in both.read_clip(CONTEXT, again):
                if isinstance(step, ClipData) and step.part == index:
                    data += step.data
            assert data == parts[index][offset:]
    with pytest.raises(ClipChanged):
        await collect(both.read_clip(CONTEXT, dataclasses.replace(request, part=1, if_etag="0" * 64)))
    with pytest.raises(InvalidArgument, match="parts"):
        await collect(both.read_clip(CONTEXT, dataclasses.replace(request, part=3)))
    alone = dataclasses.replace(request, source="second", head_only=True)
    (only,) = await items_of(both.read_clip(CONTEXT, alone))
    assert isinstance(only, ClipHead)
    assert {part.node for part in only.parts} == {"second"}


@pytest.mark.parametrize("backward", [False, True])
async def test_fragments_page_by_page_are_the_whole(both: FederatedFootage, backward: bool) -> None:
    request = FragmentsRequest(GATE.id, WHOLE, backward=backward, refs_only=True)
    whole = [each.ref for each in await items_of(both.read_fragments(CONTEXT, request))]
    assert {ref.epoch for ref in whole} == {0, 1}
    starts = [ref.start_us for ref in whole]
    assert starts == sorted(starts, reverse=backward)
    assert len({(ref.run_id, ref.sequence) for ref in whole}) == len(whole)
    for limit in (1, 2, 3, 5):
        paged = []
        cursor = ""
        for _ in range(len(whole) + 3):
            asked = dataclasses.replace(request, limit=limit, cursor=cursor)
            items, _, end = await collect(both.read_fragments(CONTEXT, asked))
            assert len(items) <= limit
            paged += [each.ref for each in items]
            cursor = end.cursor
            if not cursor:
                break
        assert paged == whole, limit
    with pytest.raises(InvalidArgument, match="cursor"):
        await collect(both.read_fragments(CONTEXT, dataclasses.replace(request, cursor="xyz")))


async def test_the_instant_comes_from_the_node_that_shows_it(both: FederatedFootage) -> None:
    for second, epoch in ((5, 0), (18, 1), (25, 1), (35, 0)):
        ref = await both.locate(CONTEXT, GATE.id, "main", ZERO_US + second * SECOND)
        assert ref.epoch == epoch
    pictures = await items_of(
        both.read_frames(CONTEXT, GATE.id, "main", WHOLE, SECOND, PictureOptions(max_width=8, max_height=8))
    )
    assert [picture.asked_us - ZERO_US for picture in pictures] == [s * SECOND for s in range(len(pictures))]
    assert len(pictures) == -(-WHOLE.duration_us // SECOND)
    at_us = ZERO_US + 25 * SECOND
    picture = await both.snapshot(CONTEXT, GATE.id, "main", at_us, PictureOptions(max_width=8, max_height=8))
    assert picture.asked_us == at_us
    newest = await both.snapshot(CONTEXT, GATE.id, "main", 0, PictureOptions(max_width=8, max_height=8))
    assert newest.frame_us == FIRST.runs[-1].frames_us[-1]
