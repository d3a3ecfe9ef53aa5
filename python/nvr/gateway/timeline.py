"""A camera that several nodes have as one timeline: each stretch is read from the node shown there."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nvr.errors import ClipChanged, InvalidArgument, NodeUnavailable, NoFootage
from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
from nvr.footage.source import Answer
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
from nvr.gateway.links import AnyLink
from nvr.gateway.merge import Stretch, stretches

__all__ = ["Timeline"]

_CURSOR = "t1"
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
    """``links``: by the name of each node that has footage; ``coverage``: all of theirs, merged."""

    def __init__(
        self,
        *,
        context: ReadContext,
        camera_id: str,
        stream: StreamName,
        links: Mapping[str, AnyLink],
        coverage: Callable[[TimeRange], Answer[Span | Gap]],
        node: str,
    ) -> None:
        self._context = context
        self._camera_id = camera_id
        self._stream: StreamName = stream
        self._links = links
        self._coverage = coverage
        self._node = node

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

    def _link(self, node: str) -> AnyLink:
        link = self._links.get(node)
        if link is None or not link.up:
            raise NodeUnavailable(f"node {node} is away", node=node)
        return link

    async def holder(self, at_us: int) -> tuple[AnyLink, str]:
        """The node that shows an instant (0: the newest picture). Raises :exc:`NoFootage`."""
        if at_us:
            found = (await self._plan(TimeRange(at_us, at_us + 1))).stretches
        else:
            # The newest picture of a camera that is recorded is of these days.
            now = await self._newest()
            found = (await self._plan(TimeRange(max(0, now - _DAY_US), now))).stretches
        if not found:
            raise NoFootage(f"no node has footage of camera {self._camera_id} there", node=self._node)
        return self._link(found[-1].node), found[-1].node

    async def _newest(self) -> int:
        newest_us = 0
        for link in self._links.values():
            if not link.up:
                continue
            async for step in link.footage.list_cameras(self._context, [self._camera_id]):
                if not isinstance(step, Notice | End):
                    newest_us = max(
                        [newest_us, *(each.newest_us for each in step.streams if each.kind == self._stream)]
                    )
        if not newest_us:
            raise NoFootage(f"no node has footage of camera {self._camera_id}", node=self._node)
        return newest_us

    async def read_fragments(self, request: FragmentsRequest) -> AsyncIterator[Fragment | Notice | End]:
        """Stretch by stretch; the cursor names the stretch and the place within it."""
        planned = await self._plan(request.range)
        for notice in planned.notices:
            yield notice
        parts = planned.stretches[:: -1 if request.backward else 1]
        first_us, inner = _parse_cursor(request.cursor) if request.cursor else (None, "")
        complete, sent = planned.complete, 0
        for part in parts:
            if first_us is not None:
                passed = part.range.end_us > first_us if request.backward else part.range.start_us < first_us
                if passed and part.range.start_us != first_us:
                    continue
            asked = replace(
                request,
                camera=self._camera_id,
                range=part.range,
                source=part.node,
                cursor=inner if part.range.start_us == first_us else "",
                limit=request.limit - sent if request.limit else 0,
            )
            async for step in self._link(part.node).footage.read_fragments(self._context, asked):
                if isinstance(step, End):
                    complete = complete and step.complete
                    if step.cursor:
                        yield End(complete, encode_cursor(_CURSOR, [part.range.start_us, step.cursor]))
                        return
                elif isinstance(step, Fragment):
                    sent += 1
                    yield step
                else:
                    yield step
            if request.limit and sent >= request.limit and part is not parts[-1]:
                following = parts[parts.index(part) + 1]
                yield End(complete, encode_cursor(_CURSOR, [following.range.start_us, ""]))
                return
        yield End(complete=complete)

    async def read_clip(self, request: ClipRequest) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """A part is one node's; parts are numbered over all stretches."""
        planned = await self._plan(request.range)
        for notice in planned.notices:
            yield notice
        heads: list[tuple[Stretch, ClipPart]] = []
        complete = planned.complete
        for part in planned.stretches:
            asked = self._clip(request, part, head_only=True)
            async for step in self._link(part.node).footage.read_clip(self._context, asked):
                if isinstance(step, ClipHead):
                    heads += [(part, each) for each in step.parts]
                elif isinstance(step, End):
                    complete = complete and step.complete
                elif isinstance(step, Notice):
                    yield step
        parts = [replace(each, index=index) for index, (_, each) in enumerate(heads)]
        self._check_resume(request, parts)
        yield ClipHead(tuple(parts), tuple(planned.gaps))
        if not request.head_only:
            for index in range(request.part, len(heads)):
                async for data in self._bytes(request, index, *heads[index]):
                    yield data
        yield End(complete=complete)

    async def _bytes(
        self, request: ClipRequest, index: int, stretch: Stretch, part: ClipPart
    ) -> AsyncIterator[ClipData]:
        offset = request.offset if index == request.part else 0
        asked = replace(
            self._clip(request, stretch, head_only=False), part=part.index, offset=offset, if_etag=part.etag
        )
        answer = self._link(stretch.node).footage.read_clip(self._context, asked)
        async for step in answer:
            if isinstance(step, ClipData):
                if step.part != part.index:
                    break
                yield ClipData(index, step.offset, step.data)
                if step.offset + len(step.data) >= part.size_bytes:
                    break
        close = getattr(answer, "aclose", None)
        if close is not None:
            await close()

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
        planned = await self._plan(range_)
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


def _parse_cursor(text: str) -> tuple[int, str]:
    match decode_cursor(_CURSOR, text):
        case [int(start_us), str(inner)]:
            return start_us, inner
        case _:
            raise bad_cursor()
