"""Many sources of footage as one: what a gateway serves.

Nearly every camera is recorded by one node: its reads go on unchanged to the
child behind which that node is, and the answer comes back as it is. A camera
that several nodes have is one timeline (:mod:`nvr.gateway.timeline`). Questions
by place are in :mod:`nvr.gateway.questions`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from nvr.directory.directory import Directory
from nvr.directory.plan import next_cameras, plan
from nvr.directory.types import AreaResolver, CameraEntry
from nvr.errors import CameraNotFound, NodeUnavailable, NoFootage, NvrError
from nvr.footage.closing import closing
from nvr.footage.places import FindRequest, Found, NextCamera, NextCamerasRequest
from nvr.footage.source import Answer
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LiveUnit,
    NodeInfo,
    Notice,
    Picture,
    PictureOptions,
    ReadContext,
    Span,
    StreamName,
    StreamState,
    TimeRange,
)
from nvr.gateway.below import Below
from nvr.gateway.events import merged_events
from nvr.gateway.fanout import Fanout
from nvr.gateway.links import AnyLink, Links
from nvr.gateway.merge import Told, fills, merge_coverage
from nvr.gateway.questions import Clocks, Question
from nvr.gateway.timeline import Timeline
from nvr.gateway.trouble import LieError, not_known, omissions, refused, trouble
from nvr.node.events import EventBus

__all__ = ["FederatedFootage", "Sources"]

T = TypeVar("T")
# For more cameras than this a list has what the directory knows, without counters.
_MOST_ASKED = 1000


@dataclass(frozen=True, slots=True)
class Sources:
    """A camera, and the children behind which its footage is, the one that is to record it first."""

    camera_id: str
    entries: Sequence[CameraEntry]
    links: Sequence[tuple[AnyLink, str]]
    """Each with the name of the node to ask for, or empty: all that it has."""

    @property
    def one(self) -> tuple[AnyLink, str] | None:
        """The only child, where there is one."""
        return self.links[0] if len(self.links) == 1 else None


class FederatedFootage:
    """A :class:`nvr.footage.source.FootageSource` over the nodes below."""

    def __init__(
        self,
        *,
        node: NodeInfo,
        directory: Directory,
        links: Links,
        fanout: Fanout,
        areas: AreaResolver,
        now_us: Callable[[], int] | None = None,
        asked: Callable[[int, Iterable[str]], None] = lambda _contacted, _omissions: None,
    ) -> None:
        """``asked``: is told of each question by place: nodes contacted, codes of what was left out."""
        self._node = node
        self._directory = directory
        self._links = links
        self._fanout = fanout
        self._areas = areas
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._asked = asked
        self.own_events = EventBus()
        """What happens on this node itself; who watches events is told of it."""

    async def node(self) -> NodeInfo:
        """Who answers here."""
        return replace(self._node, now_us=self._now_us())

    # --- questions over many cameras --------------------------------------------

    async def find(self, context: ReadContext, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        """Cameras at a place, and what the nodes that can have footage say."""
        planned = plan(self._directory, request, self._areas)
        notices = self._links.unknown()
        for notice in notices:
            yield notice
        contacted, complete = 0, True
        if request.range is None:
            for item in planned.items:
                yield Found(item.camera, item.distance_m, (), item.camera.node if request.by_source else "")
        else:
            question = Question(self._directory, self._links, self._fanout, context, request, request.range)
            async for step in question.answer(planned.items):
                if isinstance(step, Notice):
                    notices.append(step)
                yield step
            contacted, complete = question.contacted, question.complete
        if planned.cut:
            message = f"{planned.remaining} more cameras; ask on with the cursor"
            notices.append(Notice("truncated", message, self._node.name, cameras=planned.remaining))
            yield notices[-1]
        omissions = [notice.code for notice in notices if notice.code != "clock_apart"]
        self._asked(contacted, omissions)
        yield End(complete and not omissions, planned.cursor, planned.remaining)

    async def next_cameras(
        self, context: ReadContext, request: NextCamerasRequest
    ) -> AsyncIterator[NextCamera | Notice | End]:
        """Cameras that can be reached from a sighting, by the directory."""
        found = next_cameras(self._directory, request)
        for each in found.items:
            yield each
        notices = self._links.unknown() + found.notices(self._node.name)
        for notice in notices:
            yield notice
        yield End(complete=not notices, remaining=found.remaining)

    async def list_cameras(
        self, context: ReadContext, cameras: Sequence[str] = ()
    ) -> AsyncIterator[Camera | Notice | End]:
        """By name. With what their streams do now where they are few enough to be asked for."""
        context = replace(context, partial="allow")
        unknown = [] if cameras else self._links.unknown()
        for notice in unknown:
            yield notice
        ids = [self._directory.resolve(name)[0] for name in cameras] or self._directory.active_ids()
        known = self._directory.entries(ids)
        now: dict[str, list[Camera]] = {}
        notices: list[Notice] = []
        if len(ids) <= _MOST_ASKED:
            wanted: dict[str, tuple[AnyLink, list[str]]] = {}
            for camera_id, entries in known.items():
                for link, _ in self._sources(camera_id, entries, "").links:
                    wanted.setdefault(link.node_id, (link, []))[1].append(camera_id)
            asks = (self._state(context, link, asked, now, notices) for link, asked in wanted.values())
            await asyncio.gather(*asks)
        for notice in notices:
            yield notice
        views = [self._view(entries, now.get(camera_id, [])) for camera_id, entries in known.items()]
        for view in sorted(views, key=lambda view: (view.name, view.id)):
            yield view
        yield End(complete=not notices and not unknown)

    async def _state(
        self,
        context: ReadContext,
        link: AnyLink,
        ids: Sequence[str],
        now: dict[str, list[Camera]],
        notices: list[Notice],
    ) -> None:
        """What a child's cameras do now; the directory stands in for one that does not answer."""
        try:
            async with self._fanout.asking(link):
                async for step in link.footage.list_cameras(context, ids):
                    if isinstance(step, Camera) and step.id in ids:
                        now.setdefault(step.id, []).append(step)
                    elif isinstance(step, Notice):
                        notices.append(step)
        except NvrError as error:
            notices.append(trouble(error, node=link.name, cameras=len(ids)))

    def _view(self, entries: Sequence[CameraEntry], now: Sequence[Camera]) -> Camera:
        view = self._directory.camera_view(entries)
        told = [each for each in now if each.node == view.node or len(entries) == 1]
        if not told:
            return view
        oldest = {stream.kind: stream.oldest_us for stream in view.streams}
        streams = [
            replace(stream, oldest_us=min(stream.oldest_us, oldest.get(stream.kind) or stream.oldest_us))
            for stream in told[0].streams
        ]
        return replace(told[0], streams=tuple(streams), sources=view.sources)

    def watch_events(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Event]:
        """What happens below, from now on; a child that comes back is listened to again."""
        ids = {self._directory.resolve(name)[0] for name in cameras}
        if not ids:
            return merged_events(context, self._directory, self._links, self.own_events)
        wanted: dict[str, list[str]] = {}
        for camera_id, entries in self._directory.entries(sorted(ids)).items():
            for link, _ in self._sources(camera_id, entries, "").links:
                wanted.setdefault(link.node_id, []).append(camera_id)
        return merged_events(context, self._directory, self._links, self.own_events, wanted)

    # --- reads of one camera -----------------------------------------------------

    async def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange, source: str = ""
    ) -> AsyncIterator[Span | Gap | Notice | End]:
        """Spans and gaps; what a node that may have footage does not answer is left out, with a warning."""
        found = self._of(camera, source)
        notices = self._unknown(source)
        complete = not notices
        told: list[Told] = []
        context = replace(context, partial="allow")

        async def ask(rank: int, link: AnyLink, node: str) -> bool:
            try:
                async with self._fanout.asking(link):
                    answer = link.footage.coverage(context, found.camera_id, stream, range, node)
                    items: list[Span | Gap] = []
                    whole = False
                    below = Below(self._directory, link)
                    async for step in answer:
                        if isinstance(step, Notice):
                            notices.append(below.notice(step))
                        elif isinstance(step, End):
                            whole = step.complete
                        else:
                            items.append(step)
                    items = list(below.check_coverage(items, range))
                    if whole and not fills(items, range):
                        raise LieError("it calls its answer complete, and leaves a part of the range out")
            except NvrError as error:
                notices.append(trouble(error, node=link.name, camera_id=found.camera_id, range=range))
                return False
            told.append(Told(items, rank))
            return whole

        asks = [ask(rank, link, node) for rank, (link, node) in enumerate(found.links)]
        answered = all(await asyncio.gather(*asks))
        complete = complete and answered
        strangers = self._directory.strangers
        merged = merge_coverage(range, told, all_answered=answered, strangers=strangers) if told else []
        items = Clocks(self._directory, notices.append).marked(merged)
        for notice in dict.fromkeys(notices):
            yield notice
        for item in items:
            yield item
        yield End(complete=complete)

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        """The fragment that shows an instant, of the node that is preferred there; or the nearest one."""
        found = self._of(camera, source)
        refuse = context.partial == "refuse"
        context = replace(context, partial="allow")
        refs: list[FragmentRef] = []
        of_strangers: list[FragmentRef] = []
        failed: list[NvrError] = []
        nothing: NoFootage | None = None
        notices = self._unknown(source)
        unknown = bool(notices)

        async def ask(link: AnyLink, node: str) -> FragmentRef:
            ref = await self._fanout.ask(
                link, lambda: link.footage.locate(context, found.camera_id, stream, at_us, mode, node)
            )
            if ref.camera_id != found.camera_id:
                raise LieError("it gives footage of another camera than was asked", node=link.name)
            return ref

        answers = await asyncio.gather(
            *(ask(link, node) for link, node in found.links), return_exceptions=True
        )
        # A gateway right below has put its own answers together in this way already.
        recorders = {entry.node_id for entry in found.entries}
        for (link, _), answer in zip(found.links, answers, strict=True):
            if isinstance(answer, FragmentRef):
                refs.append(answer)
                if link.node_id in recorders and link.name in self._directory.strangers:
                    of_strangers.append(answer)
                below = Below(self._directory, link)
                notices += [below.notice(notice) for notice in answer.notices]
            elif isinstance(answer, NoFootage):
                nothing = answer
            elif isinstance(answer, NvrError):
                failed.append(answer)
                range_ = TimeRange(at_us, at_us + 1)
                notices.append(trouble(answer, node=link.name, camera_id=found.camera_id, range=range_))
            else:
                raise answer
        missing = omissions(notices)
        if missing and refuse and (unknown or len(found.links) > 1):
            raise refused(missing)
        if refs:
            showing = [ref for ref in refs if ref.start_us <= at_us < ref.start_us + ref.duration_us]
            if showing:
                shown = max(showing, key=lambda ref: (ref not in of_strangers, ref.epoch, ref.run_id))
            else:
                shown = min(refs, key=lambda ref: (abs(ref.start_us - at_us), -ref.epoch))
            return replace(shown, notices=tuple(notices))
        if failed:
            raise failed[0]
        if unknown:
            raise not_known(missing)
        raise nothing or NoFootage(f"no node has footage of {camera[:200]}", node=self._node.name)

    async def read_fragments(
        self, context: ReadContext, request: FragmentsRequest
    ) -> AsyncIterator[Fragment | Notice | End]:
        """Stored fragments, as the nodes have them."""
        found = self._of(request.camera, request.source)
        if found.one is not None:
            link, node = found.one
            asked = replace(request, camera=found.camera_id, source=node)
            below = Below(self._directory, link)
            unknown = self._unknown(request.source)
            async for step in self._pass_on(link, link.footage.read_fragments(context, asked), unknown):
                if isinstance(step, Fragment):
                    if step.ref.camera_id != found.camera_id:
                        raise LieError("it gives footage of another camera than was asked", node=link.name)
                    name = below.check_node(step.node)
                    step = step if name == step.node else replace(step, node=name)
                yield step
            return
        async for piece in self._timeline(context, found, request.stream).read_fragments(request):
            yield piece

    async def read_clip(
        self, context: ReadContext, request: ClipRequest
    ) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """A clip; each of its parts is one node's."""
        found = self._of(request.camera, request.source)
        if found.one is not None:
            link, node = found.one
            asked = replace(request, camera=found.camera_id, source=node)
            below = Below(self._directory, link)
            unknown = self._unknown(request.source)
            answer: Answer[ClipHead | ClipData] = self._pass_on(
                link, link.footage.read_clip(context, asked), unknown
            )
            async for step in answer:
                if isinstance(step, ClipHead):
                    parts = [
                        replace(part, node=below.check_node(part.node), line=link.slower(part.line))
                        for part in step.parts
                    ]
                    step = replace(step, parts=tuple(parts))
                yield step
            return
        async for piece in self._timeline(context, found, request.stream).read_clip(request):
            yield piece

    async def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> AsyncIterator[Picture | Notice | End]:
        """Decoded pictures, decoded by the node that has them."""
        found = self._of(camera, source)
        if found.one is not None:
            link, node = found.one
            answer = link.footage.read_frames(
                context, found.camera_id, stream, range, interval_us, options, node
            )
            async for step in self._pass_on(link, answer, self._unknown(source)):
                yield step
            return
        timeline = self._timeline(context, found, stream)
        async for piece in timeline.read_frames(range, interval_us, options):
            yield piece

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        """The picture shown at an instant; 0: the newest."""
        found = self._of(camera, source)
        if found.one is None:
            return await self._timeline(context, found, stream).snapshot(at_us, options)
        link, node = found.one
        if not link.up:
            raise link.error()
        unknown = self._unknown(source)
        if unknown and context.partial == "refuse":
            raise refused(unknown)
        try:
            picture = await link.footage.snapshot(context, found.camera_id, stream, at_us, options, node)
        except NoFootage:
            if unknown:
                raise not_known(unknown) from None
            raise
        return replace(picture, notices=(*unknown, *picture.notices)) if unknown else picture

    async def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> AsyncIterator[LiveUnit | Notice | End]:
        """Units as they come, of the node that records the camera now."""
        found = self._of(camera, source)
        recording = [
            self._sources(found.camera_id, [entry], source and entry.node_id).links[0]
            for entry in found.entries
            if any(each.state is StreamState.RECORDING for each in entry.camera.streams)
        ]
        link, node = next((pair for pair in (*recording, *found.links) if pair[0].up), found.links[0])
        answer = link.footage.watch_live(context, found.camera_id, stream, audio, node)
        async for step in self._pass_on(link, answer):
            yield step

    # --- inside ----------------------------------------------------------------

    def _unknown(self, source: str) -> list[Notice]:
        """Warnings of children that may have footage of any camera; none where one node's is asked for."""
        return [] if source else self._links.unknown()

    async def _pass_on(
        self, link: AnyLink, answer: AsyncIterator[T | Notice | End], missing: Sequence[Notice] = ()
    ) -> AsyncIterator[T | Notice | End]:
        """An answer as it comes; ``missing``: what it may lack.

        Bytes that were begun cannot be had elsewhere: a failure is the call's.
        """
        if not link.up:
            raise link.error()
        for notice in missing:
            yield notice
        self._fanout.contacted += 1
        try:
            async with closing(answer):
                async for step in answer:
                    if missing and isinstance(step, End):
                        step = replace(step, complete=False)
                    yield step
        except NodeUnavailable as error:
            if not error.node:
                error.node = link.name
            raise

    def _timeline(self, context: ReadContext, found: Sources, stream: StreamName) -> Timeline:
        return Timeline(
            context=context,
            camera_id=found.camera_id,
            stream=stream,
            links={
                self._directory.name_of(entry.node_id): self._sources(
                    found.camera_id, [entry], entry.node_id
                ).links[0]
                for entry in found.entries
            },
            coverage=lambda range_: self.coverage(context, found.camera_id, stream, range_),
            fanout=self._fanout,
            node=self._node.name,
            now_us=self._now_us,
        )

    def _of(self, camera: str, source: str) -> Sources:
        """The camera that is meant. Raises :exc:`CameraNotFound`, :exc:`AmbiguousCamera`."""
        camera_id, entries = self._directory.resolve(camera)
        return self._sources(camera_id, entries, source)

    def _sources(self, camera_id: str, entries: Sequence[CameraEntry], source: str) -> Sources:
        if source:
            # A name that two nodes have is that of the first; the other goes by its id.
            named = self._directory.node_named(source)
            wanted = source if named is None else named.id
            entries = [entry for entry in entries if entry.node_id == wanted]
            if not entries:
                raise CameraNotFound(
                    f"node {source[:200]!r} has nothing of that camera", field="source", node=self._node.name
                )
        links: dict[str, tuple[AnyLink, str]] = {}
        for entry in entries:
            link = self._links.of(entry.node_id)
            links.setdefault(link.node_id, (link, self._source_at(link, entry.node_id) if source else ""))
        return Sources(camera_id, entries, list(links.values()))

    def _source_at(self, link: AnyLink, node_id: str) -> str:
        """What a child is to be told so that it reads one node alone."""
        if link.node_id == node_id:
            # The node itself needs not be told its name, and one of the first version would not know it.
            return ""
        child, node = self._directory.node(link.node_id), self._directory.node(node_id)
        if node is None or (child is not None and "source_id" in child.capabilities):
            # A name may be that of another node there.
            return self._directory.short_id(node_id)
        return node.name
