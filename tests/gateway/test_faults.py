"""A node below that is dead, late, refusing, failing or lying costs its own answer only, and is named."""

import asyncio
import dataclasses
import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import AccessDenied, Incomplete, InternalError, NodeUnavailable
from nvr.footage.channel import dial
from nvr.footage.places import Circle, FindRequest, Found, Named
from nvr.footage.remote import RemoteFootage
from nvr.footage.source import Answer
from nvr.footage.types import Camera, End, FragmentsRequest, Gap, NodeInfo, Notice, Place, ReadContext, Span
from nvr.gateway.links import sure_offset_us
from nvr.v1 import common_pb2, footage_pb2
from tests.acceptance.test_source import collect
from tests.acceptance.world import SECOND
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import until
from tests.gateway.tree import Gateway, Served, gateway, served_gateway, serving
from tests.support.processes import child

CONTEXT = ReadContext(purpose="faults", request_id="f-1")
WHOLE = memory_world().gate.whole


class Leaf(MemoryFootage):
    """A node of its own cameras, each leaf some kilometres from the next; misbehaves on request."""

    def __init__(self, number: int, *, fault: Callable[[], BaseException] | None = None) -> None:
        super().__init__(memory_world(f"leaf-{number}", number))
        self.number = number
        self.fault = fault
        self.hang = False
        self.lie = False
        self.clock_us = 0
        self.tells_after_s = 0.0
        self.version: str | None = None
        self.finds = 0

    async def node(self) -> NodeInfo:
        info = await super().node()
        if self.version is not None:
            info = dataclasses.replace(info, version=self.version, capabilities=())
        await asyncio.sleep(self.tells_after_s)
        return dataclasses.replace(info, now_us=info.now_us + self.clock_us)

    async def list_cameras(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Camera]:
        place = Place(19.8 + self.number * 0.01, 105.8)
        async for step in super().list_cameras(context, cameras):
            yield dataclasses.replace(step, place=place) if isinstance(step, Camera) else step

    async def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        self.finds += 1
        if self.fault is not None:
            raise self.fault()
        if self.hang:
            await asyncio.Event().wait()
        async for step in super().find(context, request):
            if self.lie and isinstance(step, Found):
                other = memory_world("leaf-0", 0).gate.id
                yield dataclasses.replace(step, camera=dataclasses.replace(step.camera, id=other))
            else:
                yield step


async def over(
    stack: AsyncExitStack, leaves: Sequence[MemoryFootage], *, timeout_s: float = 20
) -> tuple[Gateway, list[Served]]:
    served = [await stack.enter_async_context(serving(leaf)) for leaf in leaves]
    made = await stack.enter_async_context(
        gateway("district", [each.address for each in served], timeout_s=timeout_s)
    )
    return made, served


async def ask(made: Gateway, **more: Any) -> tuple[dict[str, Found], list[Notice], End]:
    found, notices, end = await collect(made.footage.find(CONTEXT, FindRequest(range=WHOLE, **more)))
    return {each.camera.id: each for each in found}, notices, end


def cameras_of(leaf: MemoryFootage) -> set[str]:
    return {camera.id for camera in leaf.world.cameras}


def assert_only_lacks(answer: tuple[dict[str, Found], list[Notice], End], leaf: Leaf, code: str) -> None:
    """All is there but what this leaf has, of which a warning says so."""
    found, notices, end = answer
    assert not end.complete
    (notice,) = notices
    assert (notice.code, notice.node, notice.cameras) == (code, f"leaf-{leaf.number}", 2)
    assert notice.range == WHOLE
    for camera_id, each in found.items():
        assert bool(each.coverage) == (camera_id not in cameras_of(leaf)), "unknown is not a gap"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda: AccessDenied("not you"), "node_refused"),
        (lambda: InternalError("boom"), "node_failed"),
        (lambda: ValueError("a defect"), "node_failed"),
    ],
)
async def test_a_node_that_fails_costs_its_own_answer_only(
    fault: Callable[[], BaseException], code: str
) -> None:
    bad = Leaf(1, fault=fault)
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), bad, Leaf(2)])
        assert_only_lacks(await ask(made), bad, code)


async def test_a_node_that_is_late_costs_its_own_answer_only() -> None:
    late = Leaf(1)
    late.hang = True
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), late, Leaf(2)], timeout_s=0.5)
        assert_only_lacks(await ask(made), late, "deadline")


async def test_a_caller_with_a_deadline_gets_the_others_before_it() -> None:
    late = Leaf(1)
    late.hang = True
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), late])
        top = await stack.enter_async_context(served_gateway(made))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        remote = RemoteFootage(channel, target="district")
        # As a caller a tier above does.
        span = common_pb2.TimeRange(start_us=WHOLE.start_us, end_us=WHOLE.end_us)
        call = remote._stub.Find(footage_pb2.FindRequest(range=span), timeout=2.0)
        steps = [step async for step in call]
        assert [step.warning.code for step in steps if step.HasField("warning")] == ["deadline"]
        assert not steps[-1].end.complete
        assert sum(bool(step.item.coverage) for step in steps if step.HasField("item")) == 2


async def test_a_node_that_claims_anothers_cameras_is_found_out() -> None:
    liar = Leaf(1)
    liar.lie = True
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), liar, Leaf(2)])
        found, notices, end = await ask(made)
        assert not end.complete
        assert [(notice.code, notice.node) for notice in notices] == [("node_lied", "leaf-1")]
        honest = Leaf(0)
        for camera_id in cameras_of(honest):
            assert found[camera_id].spans[0].node == "leaf-0"


async def test_a_dead_node_is_named_and_its_cameras_are_still_known() -> None:
    async with AsyncExitStack() as stack:
        leaves = [Leaf(0), Leaf(1)]
        made, served = await over(stack, leaves)
        await served[1].stop()
        link = next(link for link in made.links if link.name == "leaf-1")
        await link.until(up=False)
        answer = await ask(made)
        assert_only_lacks(answer, leaves[1], "node_unreachable")
        # It comes back, at the same address.
        await served[1].start()
        await link.until(up=True)
        _, notices, end = await ask(made)
        assert (notices, end.complete) == ([], True)


async def test_a_node_that_never_answered_makes_every_answer_incomplete(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        leaf = await stack.enter_async_context(serving(Leaf(0)))
        made = await stack.enter_async_context(
            gateway("district", [leaf.address, f"unix:{tmp_path / 'nobody'}"], wait=False)
        )
        first, nobody = made.links
        await first.until(up=True)
        found, notices, end = await ask(made)
        assert len(found) == 2
        assert not end.complete
        assert [notice.node for notice in notices] == [nobody.target]


async def test_what_is_known_is_kept_over_a_restart_of_the_gateway(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        leaf = await stack.enter_async_context(serving(Leaf(0)))
        path = tmp_path / "directory.sqlite"
        async with gateway("district", [leaf.address], path=path):
            pass
        await leaf.stop()
        made = await stack.enter_async_context(gateway("district", [leaf.address], path=path, wait=False))
        cameras, notices, end = await collect(made.footage.list_cameras(CONTEXT))
        assert {camera.name for camera in cameras} == {"market-gate", "yard"}
        assert not end.complete
        assert notices


async def test_partial_answers_are_refused_where_they_are_put_together() -> None:
    bad = Leaf(1, fault=lambda: InternalError("boom"))
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), bad])
        top = await stack.enter_async_context(served_gateway(made))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        remote = RemoteFootage(channel, target="district")
        strict = dataclasses.replace(CONTEXT, partial="refuse")
        with pytest.raises(Incomplete) as caught:
            await collect(remote.find(strict, FindRequest(range=WHOLE)))
        assert (caught.value.node, caught.value.facts["warning"]) == ("leaf-1", "node_failed")
        # Of the cameras of the others nothing is missing.
        good = FindRequest(Named(sorted(cameras_of(Leaf(0)))), range=WHOLE)
        assert len((await collect(remote.find(strict, good)))[0]) == 2


async def test_only_nodes_that_can_hold_an_answer_are_asked() -> None:
    leaves = [Leaf(number) for number in range(8)]
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, leaves)
        made.fanout.contacted = 0
        near = Circle(Place(19.83, 105.8), 1_500)
        found, notices, end = await ask(made, where=near)
        assert {each.camera.node for each in found.values()} == {"leaf-2", "leaf-3", "leaf-4"}
        assert (made.fanout.contacted, notices, end.complete) == (3, [], True)
        assert [leaf.finds for leaf in leaves] == [0, 0, 1, 1, 1, 0, 0, 0]
        # Nothing was recorded then: nobody is asked, and the directory says why.
        early = dataclasses.replace(WHOLE, start_us=0, end_us=1000)
        answer = made.footage.find(CONTEXT, FindRequest(near, early))
        items, _, end = await collect(answer)
        assert made.fanout.contacted == 3
        assert end.complete
        assert {gap.reason for each in items for gap in each.coverage if isinstance(gap, Gap)} == {"expired"}


async def test_clocks_that_are_apart_are_measured_and_marked() -> None:
    slow = Leaf(1)
    slow.clock_us = -5 * SECOND
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), slow])
        node_id = (await slow.node()).id
        while made.directory.clock_offset_us(node_id) is None:
            await made.directory.changed(made.directory.version)
        found, notices, end = await ask(made)
        assert end.complete, "nothing is missing"
        assert [(notice.code, notice.node) for notice in notices] == [("clock_apart", "leaf-1")]
        for each in found.values():
            for span in each.spans:
                offset = span.clock_offset_us
                if span.node == "leaf-0":
                    assert offset is None
                else:
                    assert offset is not None
                    assert abs(offset + 5 * SECOND) < SECOND
        # The tier above adds up what is measured on the way.
        below = await stack.enter_async_context(served_gateway(made))
        top = await stack.enter_async_context(gateway("province", [below.address]))
        while top.directory.clock_offset_us(node_id) is None:
            await top.directory.changed(top.directory.version)
        found, notices, end = await ask(top)
        assert end.complete
        assert {(notice.code, notice.node) for notice in notices} == {("clock_apart", "leaf-1")}
        spans = [span for each in found.values() for span in each.spans]
        assert {(span.node, round((span.clock_offset_us or 0) / SECOND)) for span in spans} == {
            ("leaf-0", 0),
            ("leaf-1", -5),
        }


async def test_a_node_that_answers_late_has_no_wrong_clock_for_that() -> None:
    busy = Leaf(1)
    busy.tells_after_s = 2.5
    async with AsyncExitStack() as stack:
        made, _ = await over(stack, [busy])
        node_id = (await busy.node()).id
        while made.directory.clock_offset_us(node_id) is None:
            await made.directory.changed(made.directory.version)
        _, notices, _ = await ask(made)
        assert notices == []


@given(
    apart_us=st.integers(-10 * SECOND, 10 * SECOND),
    there_us=st.integers(0, 10 * SECOND),
    back_us=st.integers(0, 10 * SECOND),
)
def test_of_a_clock_no_more_is_said_than_is_sure(apart_us: int, there_us: int, back_us: int) -> None:
    round_trip_us = there_us + back_us
    measured_us = apart_us + there_us - round_trip_us // 2
    sure_us = sure_offset_us(measured_us, round_trip_us)
    if round_trip_us <= SECOND // 5:
        assert abs(sure_us - apart_us) <= SECOND // 10
    else:
        assert min(0, apart_us) - 1 <= sure_us <= max(0, apart_us) + 1


async def test_a_node_of_the_first_version_is_asked_as_it_understands() -> None:
    old = Leaf(1)
    old.version = "0.1.0"
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(old))
        new = await stack.enter_async_context(serving(Leaf(0)))
        made = await stack.enter_async_context(gateway("district", [served.address, new.address]))
        found, notices, end = await ask(made)
        assert (notices, end.complete) == ([], True)
        assert {each.camera.node for each in found.values()} == {"leaf-0", "leaf-1"}
        assert all(each.spans for each in found.values())
        assert old.finds == 0


async def test_a_cycle_is_refused_with_its_path() -> None:
    async with AsyncExitStack() as stack:
        leaf = await stack.enter_async_context(serving(Leaf(0)))
        lower = await stack.enter_async_context(gateway("lower", [leaf.address]))
        below = await stack.enter_async_context(served_gateway(lower))
        upper = await stack.enter_async_context(gateway("upper", [below.address]))
        above = await stack.enter_async_context(served_gateway(upper))
        # The lower one is told to ask the upper one as well.
        looped = await stack.enter_async_context(gateway("lower", [above.address, leaf.address], wait=False))
        loop = next(iter(looped.links))
        await until(lambda: loop.reason == "node_lied")
        assert "cycle" in loop.detail
        assert "lower → upper → lower" in loop.detail
        assert not loop.up


async def test_a_node_with_two_parents_is_refused_by_the_one_above_both() -> None:
    async with AsyncExitStack() as stack:
        leaf = await stack.enter_async_context(serving(Leaf(0)))
        first = await stack.enter_async_context(gateway("first", [leaf.address]))
        second = await stack.enter_async_context(gateway("second", [leaf.address]))
        served = [await stack.enter_async_context(served_gateway(each)) for each in (first, second)]
        top = await stack.enter_async_context(gateway("top", [served[0].address]))
        both = await stack.enter_async_context(
            gateway("top", [served[0].address, served[1].address], wait=False)
        )
        links = list(both.links)
        await until(
            lambda: any(link.up for link in links) and any(link.reason == "node_lied" for link in links)
        )
        refused = next(link for link in links if link.reason == "node_lied")
        assert "two parents" in refused.detail
        # The cameras are there all the same, once.
        cameras, _, _ = await collect(both.footage.list_cameras(CONTEXT))
        assert len({camera.id for camera in cameras}) == len(cameras) == 2
        await top.settled()


async def test_a_node_killed_in_the_middle_of_a_stream_is_named() -> None:
    with child("-m", "tests.support.memory_node", "3") as process:
        address = json.loads(process.wait_line(lambda line: line.startswith("{")))["address"]
        async with AsyncExitStack() as stack:
            made = await stack.enter_async_context(gateway("district", [address], wait=False))
            # It is of the kind that tells no directory: it is polled.
            await made.settled()
            camera = memory_world().gate.id
            answer = made.footage.read_fragments(CONTEXT, FragmentsRequest(camera, WHOLE))
            await anext(answer)
            process.send(signal.SIGKILL)
            with pytest.raises(NodeUnavailable) as caught:
                await collect(rest(answer))
            assert caught.value.node == "station-1"


async def rest(answer: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for step in answer:
        yield step


async def test_many_children_of_which_some_are_dead_or_stalled() -> None:
    leaves = [Leaf(number) for number in range(40)]
    async with AsyncExitStack() as stack:
        made, served = await over(stack, leaves, timeout_s=2)
        for each in served[:6]:
            await each.stop()
        for leaf in leaves[6:9]:
            leaf.hang = True
        for link in made.links:
            if link.name in {f"leaf-{number}" for number in range(6)}:
                await link.until(up=False)
        found, notices, end = await ask(made)
        assert not end.complete
        assert {notice.node for notice in notices} == {f"leaf-{number}" for number in range(9)}
        assert sorted(notice.code for notice in notices) == ["deadline"] * 3 + ["node_unreachable"] * 6
        assert sum(bool(each.coverage) for each in found.values()) == 2 * 31
        assert all(isinstance(item, Span | Gap) for each in found.values() for item in each.coverage)
