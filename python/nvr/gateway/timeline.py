"""A camera that several nodes have as one timeline: each stretch is read from the node shown there."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nvr.errors import (
    ClipChanged,
    Incomplete,
    InvalidArgument,
    NodeUnavailable,
    NoFootage,
    NvrError,
    RangeInFuture,
)
from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
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
from nvr.gateway.trouble import LieError, trouble

__all__ = ["Timeline"]

_CURSOR = "t2"
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
    """``links``: by the name of each node that has footage; ``coverage``: all of theirs, merged.

    ``now_us``: the clock by which a clip must not end in the future.
    """

    def __init__(
        self,
        *,
        context: ReadContext,
        camera_id: str,
        stream: StreamName,
        links: Mapping[str, AnyLink],
        coverage: Callable[[TimeRange], Answer[Span | Gap]],
        fanout: Fanout,
        node: str,
        now_us: Callable[[], int],
    ) -> None:
        self._context = context
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

    def _link(self, node: str) -> AnyLink:
        link = self._links.get(node)
        if link is None or not link.up:
            raise NodeUnavailable(f"node {node} is away", node=node)
        return link

    async def holder(self, at_us: int) -> tuple[AnyLink, str]:
        """The node that shows an instant (0: the newest picture). Raises :exc:`NoFootage`."""
        if at_us:
            range_ = TimeRange(at_us, at_us + 1)
        else:
            # The newest picture of a camera that is recorded is of these days.
            now = await self._newest()
            range_ = TimeRange(max(0, now - _DAY_US), now)
        planned = await self._plan(range_)
        if not planned.complete and self._context.partial == "refuse":
            raise refused(planned.notices)
        found = planned.stretches
        if not found:
            raise NoFootage(f"no node has footage of camera {self._camera_id} there", node=self._node)
        return self._link(found[-1].node), found[-1].node

    async def _newest(self) -> int:
        newest_us = 0
        failed: list[Notice] = []
        context = replace(self._context, partial="allow")
        for name, link in self._links.items():
            try:
                async with self._fanout.asking(link):
                    async for step in link.footage.list_cameras(context, [self._camera_id]):
                        if not isinstance(step, Notice | End):
                            told = (each.newest_us for each in step.streams if each.kind == self._stream)
                            newest_us = max([newest_us, *told])
            except NvrError as error:
                failed.append(trouble(error, node=name, camera_id=self._camera_id))
        if failed and self._context.partial == "refuse":
            raise refused(failed)
        if not newest_us:
            raise NoFootage(f"no node has footage of camera {self._camera_id}", node=self._node)
        return newest_us

    async def read_fragments(self, request: FragmentsRequest) -> AsyncIterator[Fragment | Notice | End]:
        """Stretch by stretch; the cursor names the instant at which one begins, its node, and its own cursor.

        Which stretches there are can be another thing at the next page: a node may have come
        back, or gone. So a page begins at that instant whatever lies there, and at the node's
        own cursor where it is the same node's.
        """
        planned = await self._reading_plan(request.range)
        for notice in planned.notices:
            yield notice
        parts = planned.stretches[:: -1 if request.backward else 1]
        node, inner = "", ""
        if request.cursor:
            first_us, node, inner = _parse_cursor(request.cursor)
            parts = _from(parts, first_us, backward=request.backward)
        complete, sent = planned.complete, 0
        last: dict[str, tuple[str, int]] = {}
        for number, part in enumerate(parts):
            asked = replace(
                request,
                camera=self._camera_id,
                range=part.range,
                source=part.node,
                cursor=inner if number == 0 and part.node == node else "",
                limit=request.limit - sent if request.limit else 0,
            )
            async for step in self._link(part.node).footage.read_fragments(self._context, asked):
                if isinstance(step, End):
                    complete = complete and step.complete
                    if step.cursor:
                        yield End(complete, _cursor(part, step.cursor, backward=request.backward))
                        return
                elif isinstance(step, Fragment):
                    # One that reaches over a short stretch of another node belongs to both of its sides.
                    name = step.ref.run_id, step.ref.sequence
                    if last.get(part.node) == name:
                        continue
                    last[part.node] = name
                    sent += 1
                    yield step
                else:
                    yield step
            if request.limit and sent >= request.limit and number + 1 < len(parts):
                yield End(complete, _cursor(parts[number + 1], "", backward=request.backward))
                return
        yield End(complete=complete)

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
            for index in range(request.part, len(heads)):
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
        link = self._link(part.node)
        parts: list[ClipPart] = []
        async with self._fanout.asking(link):
            asked = self._clip(request, part, head_only=True)
            async for step in link.footage.read_clip(self._context, asked):
                if isinstance(step, ClipHead):
                    parts += step.parts
                elif isinstance(step, End):
                    planned.complete = planned.complete and step.complete
                elif isinstance(step, Notice):
                    planned.notices.append(step)
        return parts

    async def _bytes(
        self, request: ClipRequest, index: int, stretch: Stretch, part: ClipPart
    ) -> AsyncIterator[ClipData | Notice]:
        offset = request.offset if index == request.part else 0
        asked = replace(
            self._clip(request, stretch, head_only=False), part=part.index, offset=offset, if_etag=part.etag
        )
        answer = self._link(stretch.node).footage.read_clip(self._context, asked)
        try:
            async for step in answer:
                if offset == part.size_bytes:
                    break
                if isinstance(step, ClipData):
                    if (step.part, step.offset) != (part.index, offset):
                        break
                    offset += len(step.data)
                    yield ClipData(index, step.offset, step.data)
                elif isinstance(step, Notice):
                    yield step
        finally:
            close = getattr(answer, "aclose", None)
            if close is not None:
                await close()
        if offset != part.size_bytes:
            raise LieError(
                f"node {part.node} announced a part of {part.size_bytes} bytes, and its bytes do not fit at "
                f"{offset}",
                node=part.node,
            )

    def _clip(self, request: ClipRequest, part: Stretch, *, head_only: bool) -> ClipRequest:
        return ClipRequest(
            self._camera_id,
            part.range,
            self._stream,
            request.audio,
            head_only=head_only,
            source=part.node,
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
            answer = self._link(part.node).footage.read_frames(
                self._context,
                self._camera_id,
                self._stream,
                TimeRange(start_us, part.range.end_us),
                interval_us,
                options,
                part.node,
            )
            async for step in answer:
                if isinstance(step, End):
                    complete = complete and step.complete
                else:
                    yield step
        yield End(complete=complete)


def refused(notices: Sequence[Notice]) -> Incomplete:
    """The error of an answer that is one value, and to which a node that may have a better one is missing."""
    missing = notices[0] if notices else Notice("", "a node below did not answer all")
    return Incomplete(
        f"partial answers were refused, and part is missing: {missing.message}",
        facts={"warning": missing.code},
        node=missing.node,
    )


def _cursor(part: Stretch, inner: str, *, backward: bool) -> str:
    at_us = part.range.end_us if backward else part.range.start_us
    return encode_cursor(_CURSOR, [at_us, part.node, inner])


def _parse_cursor(text: str) -> tuple[int, str, str]:
    match decode_cursor(_CURSOR, text):
        case [int(at_us), str(node), str(inner)]:
            return at_us, node, inner
        case _:
            raise bad_cursor()


def _from(parts: Sequence[Stretch], at_us: int, *, backward: bool) -> list[Stretch]:
    """What is left of stretches, in the order of reading, from an instant on."""
    left = []
    for part in parts:
        start_us, end_us = part.range.start_us, part.range.end_us
        range_ = (
            TimeRange(start_us, min(end_us, at_us)) if backward else TimeRange(max(start_us, at_us), end_us)
        )
        if range_.start_us < range_.end_us:
            left.append(Stretch(part.node, range_))
    return left
