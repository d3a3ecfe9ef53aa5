"""A camera that two nodes have, one of which fails: the other's answer, and what is missing to it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nvr.errors import Incomplete, InternalError, NodeUnavailable, NoFootage
from nvr.footage.channel import dial
from nvr.footage.places import FindRequest, Named, NextCamerasRequest
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import ClipHead, ClipRequest, FragmentsRequest, PictureOptions, ReadContext
from tests.acceptance.test_source import collect
from tests.acceptance.world import SECOND
from tests.gateway.tree import Gateway, Served, gateway, served_gateway, serving
from tests.gateway.twins import GATE, WHOLE, ZERO_US, Twin

CONTEXT = ReadContext()
STRICT = ReadContext(partial="refuse")
SMALL = PictureOptions(max_width=8, max_height=8)
# Both have it; the second one's is shown.
BOTH_US = ZERO_US + 18 * SECOND


class Pair:
    """Two nodes below a gateway, which is asked over gRPC."""

    def __init__(self, first: Twin, second: Twin) -> None:
        self.first, self.second = first, second
        self.served: list[Served] = []
        self.gateway: Gateway
        self.remote: RemoteFootage


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair(Twin("first", "1", took_over=False), Twin("second", "2", took_over=True))
    async with AsyncExitStack() as stack:
        for twin in (made.first, made.second):
            made.served.append(await stack.enter_async_context(serving(twin)))
        made.gateway = await stack.enter_async_context(
            gateway("district", [each.address for each in made.served])
        )
        top = await stack.enter_async_context(served_gateway(made.gateway))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        made.remote = RemoteFootage(channel, target="district")
        yield made


async def test_locate_answers_with_what_there_is_and_says_what_is_missing(pair: Pair) -> None:
    whole = await pair.remote.locate(STRICT, GATE.id, "main", BOTH_US)
    assert (whole.epoch, whole.notices) == (1, ())
    pair.second.broken.add("locate")
    ref = await pair.remote.locate(CONTEXT, GATE.id, "main", BOTH_US)
    assert ref.epoch == 0
    (notice,) = ref.notices
    assert (notice.code, notice.node, notice.camera_id) == ("node_failed", "second", GATE.id)
    assert notice.range is not None
    assert notice.range.start_us == BOTH_US
    with pytest.raises(Incomplete) as caught:
        await pair.remote.locate(STRICT, GATE.id, "main", BOTH_US)
    assert (caught.value.node, caught.value.facts["warning"]) == ("second", "node_failed")


async def test_locate_does_not_say_that_nothing_is_there_when_it_does_not_know(pair: Pair) -> None:
    before_us = ZERO_US - 10 * SECOND
    with pytest.raises(NoFootage):
        await pair.remote.locate(CONTEXT, GATE.id, "main", before_us)
    pair.first.broken.add("locate")
    with pytest.raises(InternalError, match="boom"):
        await pair.remote.locate(CONTEXT, GATE.id, "main", before_us)


@pytest.mark.parametrize("at_us", [BOTH_US, 0])
async def test_a_snapshot_comes_from_the_node_that_is_left(pair: Pair, at_us: int) -> None:
    # Of what is newest the first one's is shown, else the second one's.
    broken = pair.second if at_us else pair.first
    broken.broken.add("snapshot")
    picture = await pair.remote.snapshot(CONTEXT, GATE.id, "main", at_us, SMALL)
    (notice,) = picture.notices
    assert (notice.code, notice.node) == ("node_failed", broken.world.node)
    with pytest.raises(Incomplete) as caught:
        await pair.remote.snapshot(STRICT, GATE.id, "main", at_us, SMALL)
    assert caught.value.node == broken.world.node


async def test_a_snapshot_without_a_node_that_is_away(pair: Pair) -> None:
    await pair.served[1].stop()
    await next(link for link in pair.gateway.links if link.name == "second").until(up=False)
    for at_us in (BOTH_US, 0):
        picture = await pair.remote.snapshot(CONTEXT, GATE.id, "main", at_us, SMALL)
        assert {(each.code, each.node) for each in picture.notices} == {("node_unreachable", "second")}
        with pytest.raises(Incomplete):
            await pair.remote.snapshot(STRICT, GATE.id, "main", at_us, SMALL)
    # In the hole of the first one, nobody knows.
    with pytest.raises(NodeUnavailable, match="no node that answers"):
        await pair.remote.snapshot(CONTEXT, GATE.id, "main", ZERO_US + 23 * SECOND, SMALL)


@pytest.mark.parametrize("backward", [False, True])
async def test_fragments_go_on_after_a_node_that_dies_within_its_stretch(pair: Pair, backward: bool) -> None:
    pair.second.cut.add("read_fragments")
    request = FragmentsRequest(GATE.id, WHOLE, backward=backward, refs_only=True)
    items, notices, end = await collect(pair.gateway.footage.read_fragments(CONTEXT, request))
    assert not end.complete
    (notice,) = notices
    assert (notice.code, notice.node) == ("node_failed", "second")
    given = [each.ref for each in items if each.ref.epoch == 1]
    assert len(given) == 1
    assert notice.range is not None
    if backward:
        assert notice.range.end_us == given[0].start_us
    else:
        assert notice.range.start_us == given[0].start_us + given[0].duration_us
    starts = [each.ref.start_us for each in items]
    assert starts == sorted(starts, reverse=backward)
    assert min(starts) < given[0].start_us < max(starts), "both stretches of the other are there"
    with pytest.raises(Incomplete):
        await collect(pair.remote.read_fragments(STRICT, request))


async def test_a_clip_lacks_the_parts_of_a_node_that_fails(pair: Pair) -> None:
    pair.second.broken.add("read_clip")
    asked = ClipRequest(GATE.id, WHOLE)
    items, notices, end = await collect(pair.remote.read_clip(CONTEXT, asked))
    assert isinstance(items[0], ClipHead)
    assert {part.node for part in items[0].parts} == {"first"}
    assert not end.complete
    (notice,) = notices
    assert (notice.code, notice.node) == ("node_failed", "second")
    with pytest.raises(Incomplete):
        await collect(pair.remote.read_clip(STRICT, asked))


async def test_bytes_that_were_announced_and_do_not_come_fail_the_clip(pair: Pair) -> None:
    asked = ClipRequest(GATE.id, WHOLE)
    answer = pair.gateway.footage.read_clip(CONTEXT, asked)
    head = await anext(answer)
    assert isinstance(head, ClipHead)
    pair.second.cut.add("read_clip")
    with pytest.raises(InternalError, match="boom"):
        await collect(answer)


@pytest.mark.parametrize("twins", [1, 2])
async def test_a_node_that_never_told_may_have_footage_of_any_camera(twins: int, tmp_path: Path) -> None:
    """Whichever read: what it may have is missing, and so the answer is not complete."""
    nodes = [Twin("first", "1", took_over=False), Twin("second", "2", took_over=True)][:twins]
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serving(twin)) for twin in nodes]
        nobody = f"unix:{tmp_path / 'nobody'}"
        made = await stack.enter_async_context(
            gateway("district", [*(each.address for each in served), nobody], wait=False)
        )
        for link in list(made.links)[:twins]:
            await link.until(up=True)
        top = await stack.enter_async_context(served_gateway(made))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        remote = RemoteFootage(channel, target="district")

        def reads(context: ReadContext, source: str = "") -> list[AsyncIterator[Any]]:
            return [
                remote.coverage(context, GATE.id, "main", WHOLE, source),
                remote.read_fragments(context, FragmentsRequest(GATE.id, WHOLE, source=source)),
                remote.read_clip(context, ClipRequest(GATE.id, WHOLE, source=source)),
                remote.read_frames(context, GATE.id, "main", WHOLE, SECOND, SMALL, source),
            ]

        everywhere = [
            remote.find(CONTEXT, FindRequest(Named([GATE.id]), WHOLE)),
            remote.next_cameras(CONTEXT, NextCamerasRequest(GATE.id, ZERO_US, 1, 10, 60 * SECOND)),
            remote.list_cameras(CONTEXT),
        ]
        for answer in (*reads(CONTEXT), *everywhere):
            items, notices, end = await collect(answer)
            assert items
            assert [notice.node for notice in notices] == [nobody]
            assert not end.complete
        for answer in reads(STRICT):
            with pytest.raises(Incomplete) as caught:
                await collect(answer)
            assert caught.value.node == nobody
        # One node's alone is that node's to say.
        for answer in reads(STRICT, "first"):
            assert (await collect(answer))[2].complete
        for ask in (
            lambda context, at_us: remote.locate(context, GATE.id, "main", at_us),
            lambda context, at_us: remote.snapshot(context, GATE.id, "main", at_us, SMALL),
        ):
            shown = await ask(CONTEXT, ZERO_US + SECOND)
            assert [notice.node for notice in shown.notices] == [nobody]
            with pytest.raises(Incomplete):
                await ask(STRICT, ZERO_US + SECOND)
            # It may have been recorded there.
            with pytest.raises(NodeUnavailable):
                await ask(CONTEXT, ZERO_US - 10 * SECOND)


async def test_frames_go_on_after_a_node_that_dies_within_its_stretch(pair: Pair) -> None:
    pair.second.cut.add("read_frames")
    answer = pair.remote.read_frames(CONTEXT, GATE.id, "main", WHOLE, SECOND, SMALL)
    pictures, notices, end = await collect(answer)
    assert not end.complete
    (notice,) = notices
    assert (notice.code, notice.node) == ("node_failed", "second")
    seconds = [(picture.asked_us - ZERO_US) // SECOND for picture in pictures]
    assert seconds == [*range(17), *range(31, -(-WHOLE.duration_us // SECOND))]
    assert notice.range is not None
    assert notice.range.start_us == ZERO_US + 16 * SECOND + 1
