"""A camera that several nodes have as one timeline: each stretch is read from the node shown there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nvr.errors import (
    ClipChanged,
    InvalidArgument,
    NodeUnavailable,
    NoFootage,
    NvrError,
    RangeInFuture,
)
from nvr.footage.closing import closing
from nvr.footage.source import Answer
from nvr.footage.time import format_instant
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    End,
    Fragment,
    FragmentsRequest,
    Gap,
    Notice,
    Picture,
    PictureOptions,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from nvr.gateway.fanout import Fanout
from nvr.gateway.links import AnyLink
from nvr.gateway.merge import Stretch, stretches
from nvr.gateway.pages import Given, Reading, reading_order
from nvr.gateway.trouble import LieError, not_known, omissions, refused, trouble

__all__ = ["Timeline"]

_DAY_US = 86_400_000_000


@dataclass(slots=True)
class _Plan:
    """Which stretch is read from where, and what is known to be missing."""

    items: list[Span | Gap]
    notices: list[Notice]
    complete: bool

    @property
    def stretches(self) -> list[Stretch]:
        return stretches(self.items)

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]


class Timeline:
    """``links``: by the name of each node that has footage, its child and the source to ask that for.

    ``coverage``: all of theirs, merged. ``now_us``: the clock by which a clip must not end in the future.
    """

    def __init__(
        self,
        *,
        context: ReadContext,
        camera_id: str,
        stream: StreamName,
        links: Mapping[str, tuple[AnyLink, str]],
        coverage: Callable[[TimeRange], Answer[Span | Gap]],
        fanout: Fanout,
        node: str,
        now_us: Callable[[], int],
    ) -> None:
        self._refuse = context.partial == "refuse"
        # Who refuses a part decides so of the whole, where it is put together.
        self._context = replace(context, partial="allow")
        self._camera_id = camera_id
        self._stream: StreamName = stream
        self._links = links
        self._coverage = coverage
        self._fanout = fanout
        self._node = node
        self._now_us = now_us

    async def _plan(self, range_: TimeRange) -> _Plan:
        found = _Plan([], [], complete=False)
        async for step in self._coverage(range_):
            if isinstance(step, Notice):
                found.notices.append(step)
            elif isinstance(step, End):
                found.complete = step.complete
            else:
                found.items.append(step)
        return found

    async def _reading_plan(self, range_: TimeRange) -> _Plan:
        """The plan of what is read: what a node has in memory only is missing from that."""
        found = await self._plan(range_)
        pending = [gap.range for gap in found.gaps if gap.reason == "pending"]
        if pending:
            where = TimeRange(pending[0].start_us, pending[-1].end_us)
            message = (
                f"footage from {format_instant(where.start_us)} on is received and not yet on disk: ask again"
            )
            found.notices.append(Notice("pending", message, self._node, self._camera_id, where))
            found.complete = False
        return found

    def _link(self, node: str) -> tuple[AnyLink, str]:
        """The child behind which a node is, and the source to ask it for."""
        link, source = self._links.get(node, (None, ""))
        if link is None or not link.up:
            raise NodeUnavailable(f"node {node} is away", node=node)
        return link, source

    async def snapshot(self, at_us: int, options: PictureOptions) -> Picture:
        """The picture that the timeline shows at an instant (0: the newest), with what is missing to know it.

        Where the node that shows it fails, another that has one there stands in. Raises
        :exc:`NoFootage`; the error of a node where that may have it; :exc:`Incomplete`
        where partial answers are refused.
        """
        notices: list[Notice] = []
        range_ = TimeRange(at_us, at_us + 1)
        if not at_us:
            # The newest picture of a camera that is recorded is of these days.
            newest_us = await self._newest(notices)
            range_ = TimeRange(max(0, newest_us - _DAY_US), newest_us)
        planned = await self._plan(range_)
        notices += planned.notices
        first = planned.stretches[-1].node if planned.stretches else ""
        failed: NvrError | None = None
        for node in [first, *(name for name in self._links if name != first)] if first else ():
            self._check_refused(notices)
            try:
                link, source = self._link(node)
                async with self._fanout.asking(link):
                    picture = await link.footage.snapshot(
                        self._context, self._camera_id, self._stream, at_us, options, source
                    )
            except NoFootage:
                continue
            except NvrError as error:
                failed = failed or error
                notices.append(trouble(error, node=node, camera_id=self._camera_id, range=range_))
            else:
                notices += picture.notices
                self._check_refused(notices)
                return replace(picture, notices=tuple(dict.fromkeys(notices)))
        self._check_refused(notices)
        if failed is not None:
            raise failed
        missing = omissions(notices)
        if missing:
            raise NodeUnavailable(
                f"no node that answers has footage of camera {self._camera_id} there: {missing[0].message}",
                node=missing[0].node,
            )
        raise NoFootage(f"no node has footage of camera {self._camera_id} there", node=self._node)

    def _check_refused(self, notices: Sequence[Notice]) -> None:
        missing = omissions(notices)
        if missing and self._refuse:
            raise refused(missing)

    async def _newest(self, notices: list[Notice]) -> int:
        """When the newest picture of any node ends; what fails becomes a warning. Raises :exc:`NoFootage`."""

        async def ask(name: str, link: AnyLink) -> int:
            newest_us = 0
            try:
                async with self._fanout.asking(link):
                    async for step in link.footage.list_cameras(self._context, [self._camera_id]):
                        if not isinstance(step, Notice | End):
                            told = (each.newest_us for each in step.streams if each.kind == self._stream)
                            newest_us = max([newest_us, *told])
            except NvrError as error:
                notices.append(trouble(error, node=name, camera_id=self._camera_id))
            return newest_us

        asks = (ask(name, link) for name, (link, _) in self._links.items())
        newest_us = max(await asyncio.gather(*asks))
        if not newest_us:
            self._check_refused(notices)
            missing = omissions(notices)
            if missing:
                raise not_known(missing)
            raise NoFootage(f"no node has footage of camera {self._camera_id}", node=self._node)
        return newest_us

    async def read_fragments(self, request: FragmentsRequest) -> AsyncIterator[Fragment | Notice | End]:
        """Stretch by stretch, each fragment once.

        One that reaches over a short stretch of another node belongs to two stretches of its own:
        the earlier one shows it, in both directions and on every page. The last one of a copy that
        is not complete may reach into what its recorder shows: whoever gives it first does.
        """
        planned = await self._reading_plan(request.range)
        for notice in planned.notices:
            yield notice
        readings, given = reading_order(planned.stretches, request)
        complete, sent = planned.complete, 0
        for number, reading in enumerate(readings):
            try:
                async for step in self._fragments(request, reading, given, sent):
                    sent += isinstance(step, Fragment)
                    yield step
            except InvalidArgument:
                raise
            except NvrError as error:
                complete = False
                yield self._lost(error, reading.stretch, reading.reached_us, backward=request.backward)
            complete = complete and reading.complete
            full = request.limit and sent >= request.limit and number + 1 < len(readings)
            if reading.inner or full:
                yield End(complete, reading.cursor(given, backward=request.backward))
                return
        yield End(complete=complete)

    async def _fragments(
        self, request: FragmentsRequest, reading: Reading, given: dict[str, Given], sent: int
    ) -> AsyncIterator[Fragment | Notice]:
        """What one stretch shows, until ``request.limit``; ``sent`` so far."""
        part = reading.stretch
        before = dict(given)
        if reading.inner:
            # A node's own cursor says exactly where it was.
            before.pop(part.node, None)
        link, source = self._link(part.node)
        more = True
        while more:
            more = False
            asked = replace(
                request,
                camera=self._camera_id,
                range=part.range,
                source=source,
                cursor=reading.inner,
                limit=request.limit - sent if request.limit else 0,
            )
            reading.inner = ""
            async for step in link.footage.read_fragments(self._context, asked):
                if isinstance(step, End):
                    reading.complete = reading.complete and step.complete
                    reading.inner = step.cursor
                elif isinstance(step, Notice):
                    yield step
                else:
                    ref = step.ref
                    if ref.camera_id != self._camera_id:
                        raise LieError("it gives footage of another camera than was asked")
                    each = Given.of(ref)
                    reading.reach(each.shows, backward=request.backward)
                    if reading.is_new(each, before, backward=request.backward):
                        given[part.node] = each
                        sent += 1
                        yield step if step.node == part.node else replace(step, node=part.node)
                    else:
                        # Its place in the page is free.
                        more = True
            more = more and bool(reading.inner) and sent < request.limit

    def _lost(self, error: NvrError, part: Stretch, reached_us: int, *, backward: bool = False) -> Notice:
        """The warning for what a node did not give of its stretch, from where it came to."""
        start_us, end_us = part.range.start_us, part.range.end_us
        if backward:
            end_us = max(start_us, min(end_us, reached_us))
        else:
            start_us = min(end_us, max(start_us, reached_us))
        range_ = TimeRange(start_us, end_us) if start_us < end_us else part.range
        return trouble(error, node=part.node, camera_id=self._camera_id, range=range_)

    async def read_clip(self, request: ClipRequest) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """A part is one node's; parts are numbered over all stretches."""
        now_us = self._now_us()
        if request.range.end_us > now_us:
            raise RangeInFuture(
                f"the clip would end at {format_instant(request.range.end_us)}, "
                f"and here it is {format_instant(now_us)}: end it earlier",
                field="range.end_us",
                node=self._node,
            )
        planned = await self._reading_plan(request.range)
        heads: list[tuple[Stretch, ClipPart]] = []
        for part in planned.stretches:
            heads += [(part, each) for each in await self._head(request, part, planned)]
        told = list(dict.fromkeys(planned.notices))
        for notice in told:
            yield notice
        complete = planned.complete
        parts = [replace(each, index=index) for index, (_, each) in enumerate(heads)]
        self._check_resume(request, parts)
        yield ClipHead(tuple(parts), tuple(planned.gaps))
        if not request.head_only:
            last = request.part + 1 if request.one_part else len(heads)
            for index in range(request.part, min(last, len(heads))):
                async for step in self._bytes(request, index, *heads[index]):
                    if isinstance(step, Notice):
                        if step in told:
                            continue
                        told.append(step)
                        complete = False
                    yield step
        yield End(complete=complete)

    async def _head(self, request: ClipRequest, part: Stretch, planned: _Plan) -> list[ClipPart]:
        """A stretch's parts; what its node warns of goes into the plan."""
        parts: list[ClipPart] = []
        try:
            link, source = self._link(part.node)
            async with self._fanout.asking(link):
                asked = self._clip(request, part, source, head_only=True)
                async for step in link.footage.read_clip(self._context, asked):
                    if isinstance(step, ClipHead):
                        parts += (
                            replace(each, node=part.node, line=link.slower(each.line)) for each in step.parts
                        )
                    elif isinstance(step, End):
                        planned.complete = planned.complete and step.complete
                    elif isinstance(step, Notice):
                        planned.notices.append(step)
        except InvalidArgument:
            raise
        except NvrError as error:
            planned.complete = False
            planned.notices.append(self._lost(error, part, part.range.start_us))
            return []
        return parts

    async def _bytes(
        self, request: ClipRequest, index: int, stretch: Stretch, part: ClipPart
    ) -> AsyncIterator[ClipData | Notice]:
        offset = request.offset if index == request.part else 0
        link, source = self._link(stretch.node)
        asked = replace(
            self._clip(request, stretch, source, head_only=False),
            part=part.index,
            offset=offset,
            if_etag=part.etag,
            one_part=True,
        )
        async with closing(link.footage.read_clip(self._context, asked)) as answer:
            async for step in answer:
                if offset == part.size_bytes:
                    break
                if isinstance(step, ClipData):
                    if (step.part, step.offset) != (part.index, offset):
                        break
                    offset += step.size
                    # Where the part has the same number here, its bytes go on in the message they came in.
                    same = step.part == index
                    yield step if same else ClipData(index, step.offset, step.data)
                elif isinstance(step, Notice):
                    yield step
        if offset != part.size_bytes:
            raise LieError(
                f"node {part.node} announced a part of {part.size_bytes} bytes, and its bytes do not fit at "
                f"{offset}",
                node=part.node,
            )

    def _clip(self, request: ClipRequest, part: Stretch, source: str, *, head_only: bool) -> ClipRequest:
        return ClipRequest(
            self._camera_id,
            part.range,
            self._stream,
            request.audio,
            head_only=head_only,
            source=source,
        )

    def _check_resume(self, request: ClipRequest, parts: Sequence[ClipPart]) -> None:
        part = parts[request.part] if request.part < len(parts) else None
        if request.if_etag and (part is None or part.etag != request.if_etag):
            raise ClipChanged(
                f"part {request.part} of the clip is not what it was: read it anew from its start",
                field="if_etag",
                node=self._node,
            )
        if part is None and (request.part or request.offset):
            raise InvalidArgument(f"part: the clip has {len(parts)} parts", field="part", node=self._node)

    async def read_frames(
        self, range_: TimeRange, interval_us: int, options: PictureOptions
    ) -> AsyncIterator[Picture | Notice | End]:
        """The instants asked for, each of the node that shows it."""
        planned = await self._reading_plan(range_)
        for notice in planned.notices:
            yield notice
        complete = planned.complete
        for part in planned.stretches:
            start_us = part.range.start_us
            if interval_us:
                # The next instant of the question's own row.
                start_us = range_.start_us + -(-(start_us - range_.start_us) // interval_us) * interval_us
            if start_us >= part.range.end_us:
                continue
            reached_us = start_us
            try:
                link, source = self._link(part.node)
                answer = link.footage.read_frames(
                    self._context,
                    self._camera_id,
                    self._stream,
                    TimeRange(start_us, part.range.end_us),
                    interval_us,
                    options,
                    source,
                )
                async for step in answer:
                    if isinstance(step, End):
                        complete = complete and step.complete
                        continue
                    if isinstance(step, Picture):
                        reached_us = step.asked_us + 1
                    yield step
            except InvalidArgument:
                raise
            except NvrError as error:
                complete = False
                yield self._lost(error, part, reached_us)
        yield End(complete=complete)
