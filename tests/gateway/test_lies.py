"""A child that says what it may not, or what cannot be, of footage: found out, and named."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nvr.errors import NvrError
from nvr.footage.places import FindRequest
from nvr.footage.source import Answer
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    Notice,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from tests.acceptance.test_source import collect
from tests.footage.memory import memory_world
from tests.footage.serving import until
from tests.gateway.tree import Gateway, gateway, serving
from tests.gateway.twins import GATE, WHOLE, ZERO_US, Twin

CONTEXT = ReadContext()
OTHER = memory_world("other", 7).gate.id
MAX_US = 253_402_300_799_000_000
SHOWN_BY_BOTH_US = ZERO_US + 18_000_000


class Liar(Twin):
    """Every step of an answer, and the fragment of a look-up, go through ``lie``."""

    def __init__(self, lie: Callable[[Any], Any], name: str = "liar") -> None:
        super().__init__(name, "1", took_over=False)
        self.lie = lie

    async def _lying(self, answer: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for step in answer:
            yield self.lie(step)

    def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange, source: str = ""
    ) -> Answer[Span | Gap]:
        return self._lying(super().coverage(context, camera, stream, range, source))

    def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        return self._lying(super().read_fragments(context, request))

    def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        return self._lying(super().read_clip(context, request))

    async def locate(self, *args: Any, **more: Any) -> FragmentRef:
        ref: FragmentRef = self.lie(await super().locate(*args, **more))
        return ref


async def over(stack: AsyncExitStack, *twins: Twin) -> Gateway:
    served = [await stack.enter_async_context(serving(twin)) for twin in twins]
    return await stack.enter_async_context(gateway("district", [each.address for each in served]))


def of_another_node(step: Any) -> Any:
    return dataclasses.replace(step, node="second") if isinstance(step, Span | Fragment) else step


def parts_of_another_node(step: Any) -> Any:
    if not isinstance(step, ClipHead):
        return step
    return dataclasses.replace(
        step, parts=tuple(dataclasses.replace(part, node="second") for part in step.parts)
    )


def of_another_camera(step: Any) -> Any:
    if isinstance(step, FragmentRef):
        return dataclasses.replace(step, camera_id=OTHER)
    if isinstance(step, Fragment):
        return dataclasses.replace(step, ref=dataclasses.replace(step.ref, camera_id=OTHER))
    return step


def outside(step: Any) -> Any:
    if not isinstance(step, Span):
        return step
    return dataclasses.replace(step, range=TimeRange(step.range.start_us, WHOLE.end_us + 1))


def fewer(step: Any) -> Any:
    if not isinstance(step, Span):
        return step
    return dataclasses.replace(step, range=TimeRange(step.range.start_us + 1, step.range.end_us))


def bytes_elsewhere(step: Any) -> Any:
    return dataclasses.replace(step, offset=step.offset + 1) if isinstance(step, ClipData) else step


@pytest.mark.parametrize("lie", [of_another_node, outside, fewer])
async def test_coverage_that_cannot_be_is_not_taken(lie: Callable[[Any], Any]) -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(lie), Twin("second", "2", took_over=True))
        items, notices, end = await collect(made.footage.coverage(CONTEXT, GATE.id, "main", WHOLE))
        assert not end.complete
        assert [(notice.code, notice.node, notice.range) for notice in notices] == [
            ("node_lied", "liar", WHOLE)
        ]
        assert {item.node for item in items if isinstance(item, Span)} == {"second"}


@pytest.mark.parametrize("lie", [of_another_node, of_another_camera])
async def test_fragments_of_another_are_not_passed_on(lie: Callable[[Any], Any]) -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(lie), Twin("second", "2", took_over=True))
        request = FragmentsRequest(GATE.id, WHOLE, source="liar")
        with pytest.raises(NvrError) as caught:
            await collect(made.footage.read_fragments(CONTEXT, request))
        assert (caught.value.reason, caught.value.node) == ("NODE_LIED", "liar")


async def test_a_clip_of_another_node_is_not_passed_on() -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(parts_of_another_node), Twin("second", "2", took_over=True))
        with pytest.raises(NvrError) as caught:
            await collect(made.footage.read_clip(CONTEXT, ClipRequest(GATE.id, WHOLE, source="liar")))
        assert (caught.value.reason, caught.value.node) == ("NODE_LIED", "liar")


async def test_a_fragment_of_another_camera_is_not_located() -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(of_another_camera), Twin("second", "2", took_over=True))
        ref = await made.footage.locate(CONTEXT, GATE.id, "main", SHOWN_BY_BOTH_US)
        assert (ref.camera_id, ref.epoch) == (GATE.id, 1)
        assert [(notice.code, notice.node) for notice in ref.notices] == [("node_lied", "liar")]


async def test_bytes_that_do_not_fit_are_never_given() -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(bytes_elsewhere), Twin("second", "2", took_over=True))
        answer = made.footage.read_clip(CONTEXT, ClipRequest(GATE.id, WHOLE))
        assert isinstance(await anext(answer), ClipHead)
        with pytest.raises(NvrError) as caught:
            await anext(answer)
        assert (caught.value.reason, caught.value.node) == ("NODE_LIED", "liar")


async def test_what_a_child_says_against_another_is_about_itself() -> None:
    def accuse(step: Any) -> Any:
        return Notice("node_failed", "it is broken", "second") if isinstance(step, Gap) else step

    async with AsyncExitStack() as stack:
        made = await over(stack, Liar(accuse), Twin("second", "2", took_over=True))
        _, notices, _ = await collect(made.footage.coverage(CONTEXT, GATE.id, "main", WHOLE))
        assert {notice.node for notice in notices} == {"liar"}


async def test_one_node_at_two_addresses_is_one() -> None:
    twin = Twin("first", "1", took_over=False)
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(serving(twin))).address for _ in range(2)]
        made = await stack.enter_async_context(gateway("district", addresses, wait=False))
        links = list(made.links)
        await until(lambda: any(link.reason == "node_lied" for link in links))
        await until(lambda: any(link.up for link in links))
        refused = next(link for link in links if link.reason == "node_lied")
        assert all(address in refused.detail for address in addresses)
        _, notices, end = await collect(made.footage.coverage(CONTEXT, GATE.id, "main", WHOLE))
        assert (notices, end.complete) == ([], True)
        _, notices, end = await collect(made.footage.find(CONTEXT, FindRequest(range=WHOLE)))
        assert (notices, end.complete) == ([], True)


async def test_all_of_time_is_answered_by_what_there_is() -> None:
    async with AsyncExitStack() as stack:
        made = await over(stack, Twin("first", "1", took_over=False), Twin("second", "2", took_over=True))
        ever = TimeRange(0, MAX_US)
        items, notices, end = await collect(made.footage.coverage(CONTEXT, GATE.id, "main", ever))
        assert isinstance(end, End)
        assert (notices, end.complete) == ([], True)
        ranges = [item.range for item in items if isinstance(item, Span | Gap)]
        assert (ranges[0].start_us, ranges[-1].end_us) == (0, MAX_US)
        assert len(ranges) < 10
