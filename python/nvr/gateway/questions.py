"""A question by place over many nodes: asked of those that can hold an answer, put together in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from google.protobuf.message import DecodeError

from nvr._core import FindReader
from nvr.directory.directory import Directory
from nvr.directory.plan import Planned, unheld_gap
from nvr.errors import InternalError, LimitExceeded, NvrError
from nvr.footage import convert, convert_places
from nvr.footage.places import FindOrder, FindRequest, Found, Named
from nvr.footage.types import End, Gap, Notice, ReadContext, Span, TimeRange
from nvr.gateway.below import Below
from nvr.gateway.fanout import Asking, Fanout
from nvr.gateway.links import AnyLink, Links
from nvr.gateway.merge import Told, fills, merge_coverage
from nvr.gateway.trouble import LieError, trouble
from nvr.v1 import common_pb2, footage_pb2

__all__ = ["CLOCK_APART_US", "Clocks", "Question"]

CLOCK_APART_US = 1_000_000
"""Clocks that are further apart than this are told with the spans."""
_READER = FindReader(span=Span, gap=Gap, time_range=TimeRange)
_FIND = "/nvr.v1.FootageService/Find"
_IDS_A_CALL = 500
_MOST_SOURCES = 64
"""Nodes that can have footage of one camera."""
_MOST_WARNINGS = 1000
"""Warnings of one child."""
_MOST_HELD = 200_000
"""Spans and gaps of one question that wait for their turn: some 50 MB."""


@dataclass(slots=True)
class _Said:
    """What a child says of a camera."""

    source: str
    items: Sequence[Span | Gap]
    whole: bool
    """They fill the range."""


@dataclass(slots=True)
class _Awaited:
    """What a camera's answer still waits for: the children asked, and what each has told."""

    planned: Planned
    waiting: set[str] = field(default_factory=set)
    told: dict[str, list[_Said]] = field(default_factory=dict)
    failed: bool = False
    done: bool = False


class _Asked(Asking):
    """What a child was asked, and which of its answers are still to come."""

    def __init__(self, question: "Question", link: AnyLink, ids: Sequence[str]) -> None:
        super().__init__(link)
        self.ids = ids
        self.below = Below(question.directory, link)
        self.left = set(ids)
        self._question = question
        self._sources: dict[str, set[str]] = {}
        self._short: set[str] = set()
        """Cameras of which a part of the range was left out."""
        self._warnings = 0

    def on_message(self, raw: bytes) -> bool:
        """A message of ``Find``'s answer."""
        try:
            # All of the camera but its id is known here already.
            found, raw_warning, raw_end = _READER.read(raw)
            warning = None if raw_warning is None else common_pb2.Warning.FromString(raw_warning)
            end = None if raw_end is None else common_pb2.End.FromString(raw_end)
        except (DecodeError, ValueError) as error:
            raise InternalError(f"{self.link.target}: the node's answer cannot be understood") from error
        for camera_id, source, items in found:
            self.said(camera_id, source, items)
        if warning is not None:
            self.warned(convert.notice_from_pb(warning))
        if end is not None:
            self.ended(convert.end_from_pb(end))
        return end is not None

    def on_end(self, error: NvrError | None) -> None:
        """All has come, or nothing more does."""
        self._question.on_end(self, error)

    def said(self, camera_id: str, source: str, items: Sequence[Span | Gap]) -> None:
        """Takes what it says of a camera, with nodes named as here. Raises :exc:`LieError` for a lie."""
        question = self._question
        if camera_id not in self.left and camera_id not in self._sources:
            raise LieError(f"it answers for camera {camera_id[:80]}, for which it was not asked")
        sources = self._sources.setdefault(camera_id, set())
        if source in sources or len(sources) >= (_MOST_SOURCES if question.by_source else 1):
            raise LieError(f"it answers twice for camera {camera_id}")
        sources.add(source)
        if question.by_source:
            source = self.below.check_node(source)
        whole = fills(items, question.range)
        if not whole:
            self._short.add(camera_id)
        items = self.below.check_coverage(items, question.range)
        question.take(self, camera_id, _Said(source, items, whole))
        self.left.discard(camera_id)

    def warned(self, notice: Notice) -> None:
        """Passes a warning on. Raises :exc:`LieError` when there is no end of them."""
        self._warnings += 1
        if self._warnings > _MOST_WARNINGS:
            raise LieError(f"it gives more than {_MOST_WARNINGS} warnings")
        self._question.warn(self.below.notice(notice))

    def ended(self, end: End) -> None:
        """Raises :exc:`LieError` when it leaves something out, and says that it does not."""
        self._question.complete = self._question.complete and end.complete
        if end.complete and self._short:
            self.left |= self._short
            raise LieError("it calls its answer complete, and leaves a part of the range out")

    def silence(self) -> LieError:
        """That it said nothing of some cameras."""
        return LieError(f"it says nothing of {len(self.left)} cameras that it told of before")


class _TooMuchError(LimitExceeded):
    """Of what the nodes answered no more can be held."""


class Question:
    """One question by place that asks for footage of ``range_``."""

    def __init__(
        self,
        directory: Directory,
        links: Links,
        fanout: Fanout,
        context: ReadContext,
        request: FindRequest,
        range_: TimeRange,
    ) -> None:
        self.directory = directory
        self.range = range_
        self.by_source = request.by_source
        self._links = links
        self._fanout = fanout
        # Who refuses a part decides so of the whole, where it is put together.
        self._context = replace(context, partial="allow")
        self._request = replace(
            request, where=None, range=range_, order=FindOrder.NEAREST, limit=0, cursor="", ids_only=True
        )
        self._order = request.order
        # Who asks for ids only puts the answer into order itself, and waits for none that is late.
        self._in_order = not request.ids_only or bool(request.limit)
        self._settled: deque[_Awaited] = deque()
        self._progress = asyncio.Event()
        """One more is answered."""
        self._awaited: dict[str, _Awaited] = {}
        self._notices: dict[Notice, None] = {}
        self._taken = 0
        self._held = 0
        self._open = 0
        self._all_ended = asyncio.Event()
        self._clocks = Clocks(directory, self.warn)
        self.complete = True
        self.contacted = 0

    async def answer(self, items: Sequence[Planned]) -> AsyncIterator[Found | Notice]:
        """Each camera once it and all before it (for ids only: it) are answered; warnings as they come."""
        self._awaited = {planned.camera.id: _Awaited(planned) for planned in items}
        wanted: dict[str, tuple[AnyLink, list[str]]] = {}
        for each in self._awaited.values():
            for node_id in each.planned.holders:
                self._want(each, node_id, wanted)
            self._settle(each)
        asks = [
            _Asked(self, link, ids[first : first + _IDS_A_CALL])
            for link, ids in wanted.values()
            for first in range(0, len(ids), _IDS_A_CALL)
        ]
        self.contacted, self._open = len(wanted), len(asks)
        tasks = self._ask(asks)
        try:
            async for each in self._turns():
                for notice in self._news():
                    yield notice
                for found in self._found(each):
                    yield found
                self._held -= sum(len(said.items) for of in each.told.values() for said in of)
                each.told.clear()
            if asks:
                await self._all_ended.wait()
            for notice in self._news():
                yield notice
        finally:
            for asked in asks:
                asked.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _turns(self) -> AsyncIterator[_Awaited]:
        """All cameras, each once it is answered."""
        for each in self._awaited.values():
            while not (each.done if self._in_order else self._settled):
                self._progress.clear()
                await self._progress.wait()
            yield each if self._in_order else self._settled.popleft()

    def _want(self, each: _Awaited, node_id: str, wanted: dict[str, tuple[AnyLink, list[str]]]) -> None:
        link = self._links.of(node_id)
        if link.node_id not in each.waiting:
            each.waiting.add(link.node_id)
            wanted.setdefault(link.node_id, (link, []))[1].append(each.planned.camera.id)

    def _ask(self, asks: Sequence[_Asked]) -> "list[asyncio.Task[None]]":
        """Asks each node. Whatever goes wrong costs what it was asked only."""
        together: list[_Asked] = []
        tasks = []
        for asked in asks:
            if not asked.link.up:
                asked.finish(asked.link.error())
            elif asked.link.reachable is not None and self._finds(asked.link):
                together.append(asked)
            else:
                tasks.append(asyncio.create_task(self._ask_alone(asked)))
        if together:
            # Protobuf merges messages that are one after the other: what is the same is made once.
            same = convert_places.find_to_pb(self._request, self._context).SerializeToString()
            requests = [same + _which(asked.ids) for asked in together]
            most = max(len(asked.ids) for asked in together)
            most = most * (_MOST_SOURCES if self.by_source else 1) + _MOST_WARNINGS + 2
            self._fanout.ask_all(_FIND, together, requests, most_messages=most)
        return tasks

    async def _ask_alone(self, asked: _Asked) -> None:
        """A node of the first version, or one in this process."""
        link = asked.link
        try:
            async with self._fanout.asking(link):
                async for step in self._answer_of(link, replace(self._request, where=Named(asked.ids))):
                    if isinstance(step, Notice):
                        asked.warned(step)
                    elif isinstance(step, End):
                        asked.ended(step)
                    else:
                        asked.said(step.camera.id, step.source, step.coverage)
        except NvrError as error:
            asked.finish(error)
        else:
            asked.finish(None)

    def on_end(self, asked: _Asked, error: NvrError | None) -> None:
        """Of a node nothing more comes."""
        # A camera of which a node says nothing, though it was asked: it has forgotten it, or hides it.
        for camera_id in asked.left:
            self._awaited[camera_id].failed = True
        if asked.left or error is not None:
            self.complete = False
            self.warn(self._lost(error or asked.silence(), asked))
        for camera_id in asked.ids:
            self._awaited[camera_id].waiting.discard(asked.link.node_id)
            self._settle(self._awaited[camera_id])
        self._open -= 1
        if not self._open:
            self._all_ended.set()

    def _lost(self, error: NvrError, asked: _Asked) -> Notice:
        """The warning that stands for what a node did not give, or for what was not taken of it."""
        cameras = len(asked.left) or len(asked.ids)
        camera_id = next(iter(asked.left)) if len(asked.left) == 1 else ""
        if isinstance(error, _TooMuchError):
            return Notice("truncated", error.message, self.directory.own.name, camera_id, self.range, cameras)
        return trouble(error, node=asked.link.name, camera_id=camera_id, range=self.range, cameras=cameras)

    def _finds(self, link: AnyLink) -> bool:
        """Whether a node knows the question; one of the first version does not."""
        node = self.directory.node(link.node_id)
        return node is None or "find" in node.capabilities

    def _answer_of(self, link: AnyLink, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        if self._finds(link):
            return link.footage.find(self._context, request)
        return self._by_coverage(link, request)

    async def _by_coverage(self, link: AnyLink, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        """A node of the first version is asked for each camera on its own."""
        complete = True
        cameras = request.where.cameras if isinstance(request.where, Named) else ()
        for camera_id, entries in self.directory.entries(list(cameras)).items():
            items: list[Span | Gap] = []
            answer = link.footage.coverage(self._context, camera_id, request.stream, self.range)
            async for step in answer:
                if isinstance(step, Notice):
                    yield step
                elif isinstance(step, End):
                    complete = complete and step.complete
                else:
                    items.append(step)
            yield Found(
                self.directory.camera_view(entries),
                coverage=tuple(items),
                source=link.name if request.by_source else "",
            )
        yield End(complete=complete)

    def take(self, asked: _Asked, camera_id: str, said: _Said) -> None:
        """Keeps what a node says until its camera's turn. Raises when no more can be held."""
        if self._held + len(said.items) > _MOST_HELD:
            raise _TooMuchError(
                f"more than {_MOST_HELD} spans and gaps wait for their turn: ask for less at once, "
                "by a shorter range or a limit"
            )
        self._held += len(said.items)
        each = self._awaited[camera_id]
        each.told.setdefault(asked.link.node_id, []).append(said)
        if not self.by_source:
            each.waiting.discard(asked.link.node_id)
            self._settle(each)

    def _settle(self, each: _Awaited) -> None:
        if not each.waiting and not each.done:
            each.done = True
            self._settled.append(each)
            self._progress.set()

    def _found(self, each: _Awaited) -> list[Found]:
        planned, range_ = each.planned, self.range
        if len(each.told) == 1 and planned.holders and not self.by_source and not each.failed:
            # One node has it all, as of nearly every camera: there is nothing to put together.
            (of,) = each.told.values()
            if len(of) == 1 and of[0].whole:
                items = self._clocks.marked(of[0].items)
                if self._order is FindOrder.NEWEST:
                    items = items[::-1]
                return [Found(planned.camera, planned.distance_m, tuple(items), "")]
        answers = [(child, said) for child, of in each.told.items() for said in of]
        if not planned.holders:
            coverage: list[Span | Gap] = [unheld_gap(planned, self._request.stream, range_)]
            source = planned.camera.node if self.by_source else ""
            return [Found(planned.camera, planned.distance_m, tuple(coverage), source)]
        if self.by_source:
            made = [(said.source, self._clocks.marked(said.items)) for _, said in answers]
        elif not answers:
            made = [("", ())]
        else:
            duty = self.directory.route(planned.entries[0].node_id)
            told = [Told(said.items, int(child != duty)) for child, said in answers]
            whole = not each.failed and all(said.whole for _, said in answers)
            merged = merge_coverage(range_, told, all_answered=whole, strangers=self.directory.strangers)
            made = [("", self._clocks.marked(merged))]
        if self._order is FindOrder.NEWEST:
            made = [(source, items[::-1]) for source, items in made]
        return [Found(planned.camera, planned.distance_m, tuple(items), source) for source, items in made]

    def warn(self, notice: Notice) -> None:
        """Tells of something, once."""
        self._notices.setdefault(notice)

    def _news(self) -> list[Notice]:
        if len(self._notices) == self._taken:
            return []
        news = list(islice(self._notices, self._taken, None))
        self._taken = len(self._notices)
        return news


def _which(ids: Sequence[str]) -> bytes:
    """The part of a request that is a node's own."""
    return footage_pb2.FindRequest(where=convert_places.where_to_pb(Named(ids))).SerializeToString()


class Clocks:
    """How far the clocks of nodes are from ours, within one answer. ``warn``: is told once for each node."""

    def __init__(self, directory: Directory, warn: Callable[[Notice], None]) -> None:
        self._directory = directory
        self._warn = warn
        self._apart: dict[str, int | None] = {}

    def marked(self, items: Sequence[Span | Gap]) -> Sequence[Span | Gap]:
        """The items; spans of nodes whose clocks are apart from ours are marked so."""
        offsets = {item.node: self._offset_us(item.node) for item in items if isinstance(item, Span)}
        if not any(offsets.values()):
            return items
        return [
            replace(item, clock_offset_us=offset_us)
            if isinstance(item, Span) and (offset_us := offsets[item.node]) is not None
            else item
            for item in items
        ]

    def _offset_us(self, name: str) -> int | None:
        """None: not apart, or not known."""
        if name in self._apart:
            return self._apart[name]
        node = self._directory.node_named(name)
        offset_us = None if node is None else self._directory.clock_offset_us(node.id)
        if offset_us is None or abs(offset_us) <= CLOCK_APART_US:
            offset_us = None
        else:
            message = f"the clock of node {name} is {offset_us / 1e6:+.1f} s from this node's"
            self._warn(Notice("clock_apart", message, name))
        self._apart[name] = offset_us
        return offset_us
