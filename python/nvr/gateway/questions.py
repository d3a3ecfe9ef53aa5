"""A question by place over many nodes: asked of those that can hold an answer, put together in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from nvr.directory.directory import Directory
from nvr.directory.plan import Planned, unheld_gap
from nvr.directory.types import NodeEntry
from nvr.errors import LimitExceeded, NvrError
from nvr.footage.places import FindOrder, FindRequest, Found, Named
from nvr.footage.types import End, Gap, Notice, ReadContext, Span, TimeRange
from nvr.gateway.below import Below
from nvr.gateway.fanout import Fanout
from nvr.gateway.links import AnyLink, Links
from nvr.gateway.merge import Told, fills, merge_coverage
from nvr.gateway.trouble import LieError, trouble

__all__ = ["CLOCK_APART_US", "Question", "with_clocks"]

CLOCK_APART_US = 1_000_000
"""Clocks that are further apart than this are told with the spans."""
_IDS_A_CALL = 500
_MOST_SOURCES = 64
"""Nodes that can have footage of one camera."""
_MOST_HELD = 200_000
"""Spans and gaps of one question that wait for their turn: some 50 MB."""


@dataclass(slots=True)
class _Awaited:
    """What a camera's answer still waits for: the children asked, and what each has told."""

    planned: Planned
    waiting: set[str] = field(default_factory=set)
    told: dict[str, list[Found]] = field(default_factory=dict)
    failed: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Asked:
    """What a child was asked, and which of its answers are still to come."""

    link: AnyLink
    below: Below
    ids: Sequence[str]
    left: set[str]
    sources: dict[str, set[str]] = field(default_factory=dict)
    short: set[str] = field(default_factory=set)
    """Cameras of which a part of the range was left out."""

    def check(self, found: Found, range_: TimeRange, *, by_source: bool) -> Found:
        """The answer, with nodes named as here. Raises :exc:`LieError` for one that it may not give."""
        camera_id = found.camera.id
        if camera_id not in self.left and camera_id not in self.sources:
            raise LieError(f"it answers for camera {camera_id[:80]}, for which it was not asked")
        sources = self.sources.setdefault(camera_id, set())
        if found.source in sources or len(sources) >= (_MOST_SOURCES if by_source else 1):
            raise LieError(f"it answers twice for camera {camera_id}")
        sources.add(found.source)
        source = self.below.check_node(found.source) if by_source else found.source
        coverage = self.below.check_coverage(found.coverage, range_)
        if not fills(found.coverage, range_):
            self.short.add(camera_id)
        if source == found.source and coverage is found.coverage:
            return found
        return replace(found, source=source, coverage=coverage)

    def check_end(self, end: End) -> None:
        """Raises :exc:`LieError` when it leaves something out, and says that it does not."""
        if end.complete and self.short:
            self.left |= self.short
            raise LieError("it calls its answer complete, and leaves a part of the range out")

    def silence(self) -> LieError:
        """That it said nothing of some cameras."""
        return LieError(f"it says nothing of {len(self.left)} cameras that it told of before")


class _TooMuchError(LimitExceeded):
    """Of what the nodes answered no more can be held."""


class Question:
    """One question by place that asks for footage."""

    def __init__(
        self, directory: Directory, links: Links, fanout: Fanout, context: ReadContext, request: FindRequest
    ) -> None:
        self._directory = directory
        self._links = links
        self._fanout = fanout
        # Who refuses a part decides so of the whole, where it is put together.
        self._context = replace(context, partial="allow")
        self._request = request
        self._notices: list[Notice] = []
        self._taken = 0
        self._held = 0
        self.complete = True
        self.contacted = 0

    async def answer(self, items: Sequence[Planned], range_: TimeRange) -> AsyncIterator[Found | Notice]:
        """Each camera as soon as it and all before it are answered; warnings as they come."""
        awaited = {planned.camera.id: _Awaited(planned) for planned in items}
        asked: dict[str, tuple[AnyLink, list[str]]] = {}
        for each in awaited.values():
            for node_id in each.planned.holders:
                self._want(each, node_id, asked)
            self._settle(each)
        tasks = [
            asyncio.create_task(self._ask(link, ids[first : first + _IDS_A_CALL], awaited, range_))
            for link, ids in asked.values()
            for first in range(0, len(ids), _IDS_A_CALL)
        ]
        self.contacted = len(asked)
        try:
            for each in awaited.values():
                await each.done.wait()
                for notice in self._news():
                    yield notice
                for found in self._found(each, range_):
                    yield found
                self._held -= sum(len(found.coverage) for of in each.told.values() for found in of)
                each.told.clear()
            await asyncio.gather(*tasks)
            for notice in self._news():
                yield notice
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _want(self, each: _Awaited, node_id: str, asked: dict[str, tuple[AnyLink, list[str]]]) -> None:
        link = self._links.of(node_id)
        if link.node_id not in each.waiting:
            each.waiting.add(link.node_id)
            asked.setdefault(link.node_id, (link, []))[1].append(each.planned.camera.id)

    async def _ask(
        self, link: AnyLink, ids: Sequence[str], awaited: dict[str, _Awaited], range_: TimeRange
    ) -> None:
        """Asks one node for some cameras. Whatever goes wrong costs these answers of it only."""
        asked = _Asked(link, Below(self._directory, link), ids, set(ids))
        request = replace(
            self._request,
            where=Named(ids),
            range=range_,
            order=FindOrder.NEAREST,
            limit=0,
            cursor="",
            ids_only=True,
        )
        error: NvrError | None = None
        try:
            async with self._fanout.asking(link):
                async for step in self._answer_of(link, request):
                    if isinstance(step, Notice):
                        self._warn(asked.below.notice(step))
                    elif isinstance(step, End):
                        self.complete = self.complete and step.complete
                        asked.check_end(step)
                    else:
                        found = asked.check(step, range_, by_source=self._request.by_source)
                        self._take(asked, found, awaited[found.camera.id])
        except NvrError as caught:
            error = caught
        finally:
            # A camera of which a node says nothing, though it was asked: it has forgotten it, or hides it.
            for camera_id in asked.left:
                awaited[camera_id].failed = True
            if asked.left or error is not None:
                self.complete = False
                self._warn(self._lost(error or asked.silence(), asked, range_))
            for camera_id in ids:
                awaited[camera_id].waiting.discard(link.node_id)
                self._settle(awaited[camera_id])

    def _lost(self, error: NvrError, asked: _Asked, range_: TimeRange) -> Notice:
        """The warning that stands for what a node did not give, or for what was not taken of it."""
        cameras = len(asked.left) or len(asked.ids)
        camera_id = next(iter(asked.left)) if len(asked.left) == 1 else ""
        if isinstance(error, _TooMuchError):
            return Notice("truncated", error.message, self._directory.own.name, camera_id, range_, cameras)
        return trouble(error, node=asked.link.name, camera_id=camera_id, range=range_, cameras=cameras)

    def _answer_of(self, link: AnyLink, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        node = self._directory.node(link.node_id)
        if node is None or "find" in node.capabilities:
            return link.footage.find(self._context, request)
        return self._by_coverage(link, node, request)

    async def _by_coverage(
        self, link: AnyLink, node: NodeEntry, request: FindRequest
    ) -> AsyncIterator[Found | Notice | End]:
        """A node of the first version is asked for each camera on its own."""
        complete = True
        cameras = request.where.cameras if isinstance(request.where, Named) else ()
        for camera_id, entries in self._directory.entries(list(cameras)).items():
            items: list[Span | Gap] = []
            if request.range is not None:
                answer = link.footage.coverage(self._context, camera_id, request.stream, request.range)
                async for step in answer:
                    if isinstance(step, Notice):
                        yield step
                    elif isinstance(step, End):
                        complete = complete and step.complete
                    else:
                        items.append(step)
            yield Found(
                self._directory.camera_view(entries),
                coverage=tuple(items),
                source=node.name if request.by_source else "",
            )
        yield End(complete=complete)

    def _take(self, asked: _Asked, found: Found, each: _Awaited) -> None:
        if self._held + len(found.coverage) > _MOST_HELD:
            raise _TooMuchError(
                f"more than {_MOST_HELD} spans and gaps wait for their turn: ask for less at once, "
                "by a shorter range or a limit"
            )
        self._held += len(found.coverage)
        each.told.setdefault(asked.link.node_id, []).append(found)
        asked.left.discard(found.camera.id)
        if not self._request.by_source:
            each.waiting.discard(asked.link.node_id)
            self._settle(each)

    def _settle(self, each: _Awaited) -> None:
        if not each.waiting:
            each.done.set()

    def _found(self, each: _Awaited, range_: TimeRange) -> list[Found]:
        planned, request = each.planned, self._request
        answers = [(child, found) for child, of in each.told.items() for found in of]
        if not planned.holders:
            coverage: list[Span | Gap] = [unheld_gap(planned, request.stream, range_)]
            source = planned.camera.node if request.by_source else ""
            return [Found(planned.camera, planned.distance_m, tuple(coverage), source)]
        if request.by_source:
            made = [
                (found.source, with_clocks(self._directory, found.coverage, self._warn))
                for _, found in answers
            ]
        elif not answers:
            made = [("", [])]
        else:
            duty = self._directory.route(planned.entries[0].node_id)
            told = [Told(found.coverage, int(child != duty)) for child, found in answers]
            whole = not each.failed and all(fills(found.coverage, range_) for _, found in answers)
            if whole and len(told) == 1:
                merged = list(told[0].items)
            else:
                merged = merge_coverage(range_, told, all_answered=whole)
            made = [("", self._with_clocks(merged))]
        if request.order is FindOrder.NEWEST:
            made = [(source, list(reversed(items))) for source, items in made]
        return [Found(planned.camera, planned.distance_m, tuple(items), source) for source, items in made]

    def _with_clocks(self, items: Sequence[Span | Gap]) -> list[Span | Gap]:
        return with_clocks(self._directory, items, self._warn)

    def _warn(self, notice: Notice) -> None:
        if notice not in self._notices:
            self._notices.append(notice)

    def _news(self) -> list[Notice]:
        news, self._taken = self._notices[self._taken :], len(self._notices)
        return news


def with_clocks(
    directory: Directory, items: Sequence[Span | Gap], warn: Callable[[Notice], None]
) -> list[Span | Gap]:
    """Spans of nodes whose clocks are apart from ours, marked so; one warning a node."""
    marked: list[Span | Gap] = []
    for item in items:
        if isinstance(item, Span):
            node = directory.node_named(item.node)
            offset_us = None if node is None else directory.clock_offset_us(node.id)
            if offset_us is not None and abs(offset_us) > CLOCK_APART_US:
                item = replace(item, clock_offset_us=offset_us)
                message = f"the clock of node {item.node} is {offset_us / 1e6:+.1f} s from this node's"
                warn(Notice("clock_apart", message, item.node))
        marked.append(item)
    return marked
