"""A discrete simulation of the recorders that are not there, under the gateways' own code.

Everything that decides is the product's: a directory for the province and for each district, plans,
questions, routes, deadlines, merging (:class:`nvr.gateway.federated.FederatedFootage`). Only time is
simulated: an event loop whose clock jumps to the next timer, and nodes that answer after a time drawn
from what real ones took, one call after another at each node.
"""

import asyncio
import random
import selectors
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benches.ledger import DAY_US, Extraction, Ledger, Question
from benches.province_nodes import Size, directory_file, standing_in
from benches.province_replay import Service
from nvr.directory.directory import Directory
from nvr.directory.types import NodeEntry
from nvr.errors import NvrError
from nvr.footage.places import Circle, FindRequest, Found, Named
from nvr.footage.source import FootageSource
from nvr.footage.types import (
    CAPABILITIES,
    Camera,
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    End,
    NodeInfo,
    NodeKind,
    Notice,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.gateway.fanout import Fanout
from nvr.gateway.federated import FederatedFootage
from nvr.gateway.links import Link, Links, RemoteChild
from nvr.network_catalog.held import HeldAreas


class _Jumping(selectors.SelectSelector):
    """Does not wait: the clock goes on by as long as it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything in the simulation waits, and for nothing that will come")
        self.now_s += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in which time passes only while all wait."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._jumping.now_s


class Node:
    """A node's time: one call after another, each for so many milliseconds as one that was measured."""

    def __init__(self, find_ms: Sequence[float], clip_ms: Sequence[float], chance: random.Random) -> None:
        self._find_ms, self._clip_ms, self._chance = find_ms, clip_ms, chance
        self._free = asyncio.Lock()
        self.busy_s = 0.0

    async def find(self) -> None:
        """Takes the time of a question by place."""
        await self._serve(self._find_ms)

    async def clip(self) -> None:
        """Takes the time of a clip's head."""
        await self._serve(self._clip_ms)

    async def _serve(self, measured_ms: Sequence[float]) -> None:
        took_s = self._chance.choice(measured_ms) / 1000
        async with self._free:
            self.busy_s += took_s
            await asyncio.sleep(took_s)


class Recorder:
    """Has all of whatever it is asked for."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name

    async def find(self, context: ReadContext, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        """A span over the range for each camera."""
        await self._node.find()
        if not isinstance(request.where, Named) or request.range is None:
            raise TypeError("a gateway asks a recorder for cameras by id, and for a range")
        for camera_id in request.where.cameras:
            span = Span(request.range, "0193143f-0000-7000-8000-000000000000", node=self._name)
            yield Found(Camera(camera_id, "", node=self._name), coverage=(span,))
        yield End(complete=True)

    async def read_clip(
        self, context: ReadContext, request: ClipRequest
    ) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """The head."""
        await self._node.clip()
        yield ClipHead([ClipPart(0, request.range, 1, "e", "avc1", "", self._name, request.range)])
        yield End(complete=True)


class Tier:
    """A gateway, which takes its own time before it asks those below."""

    def __init__(self, node: Node, footage: FederatedFootage) -> None:
        self.node, self._footage = node, footage

    async def find(self, context: ReadContext, request: FindRequest) -> AsyncIterator[Found | Notice | End]:
        """What the nodes below answer."""
        await self.node.find()
        async for step in self._footage.find(context, request):
            yield step

    async def read_clip(
        self, context: ReadContext, request: ClipRequest
    ) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
        """The recorder's."""
        await self.node.clip()
        async for step in self._footage.read_clip(context, request):
            yield step


class _Child(RemoteChild):
    """What stands at the other end of a link: only ``find`` and ``read_clip`` are asked here."""

    # Of this process: no client of sockets reaches it, and it has dialled nobody.
    address = ""
    uplink = None

    def __init__(self, footage: Tier | Recorder) -> None:
        self.footage = cast(FootageSource, footage)


def _gateway(node: Node, own: NodeEntry, directory: Directory, below: dict[str, Tier | Recorder]) -> Tier:
    """A gateway over its directory, all its links up."""
    links = Links(directory)
    for node_id, footage in below.items():
        link = Link(_Child(footage), directory, target=node_id, node_id=node_id)
        link.up = True
        directory.set_link(node_id, connected=True)
        links.add(link)
    info = NodeInfo(own.id, own.name, "0", CAPABILITIES, kind=NodeKind.GATEWAY)
    return Tier(
        node,
        FederatedFootage(
            node=info, directory=directory, links=links, fanout=Fanout(), areas=HeldAreas(directory)
        ),
    )


@dataclass
class Simulated:
    """Milliseconds of simulated time, and what went wrong."""

    find_ms: list[float] = field(default_factory=list)
    head_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    recorders: int = 0
    province_busy: float = 0.0
    """Share of the day in which the province's gateway was at work."""
    cpu_s: float = 0.0
    """What the code that is real took."""


def simulate(
    work: Path,
    province_id: str,
    districts: dict[int, str],
    day: Ledger,
    size: Size,
    service: Service,
    day_us: int,
    seconds: float,
) -> Simulated:
    """The day within so many seconds of simulated time, as far as it concerns recorders that are not there.

    ``work`` has the province's directory as its gateway left it, and those of the districts;
    ``districts``: their ids.
    """
    found = Simulated()
    chance = random.Random(3)
    used_s = time.process_time()
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        opened: list[Directory] = []
        try:
            tiers: dict[str, Tier | Recorder] = {}
            for number, node_id in districts.items():
                own = NodeEntry(standing_in(number), f"told-{number}", kind=NodeKind.GATEWAY)
                directory = Directory(directory_file(work, number), own)
                opened.append(directory)
                recorders: dict[str, Tier | Recorder] = {
                    each.id: Recorder(Node(service.recorder_find, service.recorder_clip, chance), each.name)
                    for each in directory.children()
                }
                found.recorders += len(recorders)
                node = Node(service.district_find, service.district_clip, chance)
                tiers[node_id] = _gateway(node, own, directory, recorders)
            own = NodeEntry(province_id, "province", kind=NodeKind.GATEWAY)
            directory = Directory(work / "province" / "directory.sqlite", own)
            opened.append(directory)
            top = _gateway(Node(service.province_find, service.province_clip, chance), own, directory, tiers)
            runner.run(_replay(top, day, size, day_us, seconds, found))
        finally:
            for directory in opened:
                directory.close()
    found.province_busy = top.node.busy_s / seconds
    found.cpu_s = time.process_time() - used_s
    return found


async def _replay(
    top: Tier,
    day: Ledger,
    size: Size,
    day_us: int,
    seconds: float,
    found: Simulated,
) -> None:
    loop = asyncio.get_running_loop()
    work = [each for each in (*day.places, *day.extractions) if not size.is_real(each)]
    work.sort(key=lambda each: each.at_us)
    async with asyncio.TaskGroup() as tasks:
        for question in work:
            await asyncio.sleep(max(0.0, question.at_us / DAY_US * seconds - loop.time()))
            tasks.create_task(_step(top, question, day_us, found))


async def _step(top: Tier, question: Question, day_us: int, found: Simulated) -> None:
    loop = asyncio.get_running_loop()
    range_ = TimeRange(day_us + question.range.start_us, day_us + question.range.end_us)
    started = loop.time()
    request = FindRequest(Circle(question.place, question.radius_m), range_)
    try:
        steps = [step async for step in top.find(ReadContext(), request)]
        cameras = [step for step in steps if isinstance(step, Found)]
        held = all([span.range for span in each.spans] == [range_] for each in cameras)
        if not cameras or not held or steps[-1] != End(complete=True):
            found.failures.append(f"{question}: {steps}")
            return
        found.find_ms.append((loop.time() - started) * 1000)
        if isinstance(question, Extraction):
            chosen = cameras[min(question.nth, len(cameras) - 1)].camera
            started = loop.time()
            asked = ClipRequest(chosen.id, range_, head_only=True)
            heads = [step async for step in top.read_clip(ReadContext(), asked)]
            if not isinstance(heads[0], ClipHead) or heads[0].parts[0].node != chosen.node:
                found.failures.append(f"{chosen}: {heads}")
                return
            found.head_ms.append((loop.time() - started) * 1000)
    except NvrError as error:
        found.failures.append(f"{type(error).__name__}: {error}")
