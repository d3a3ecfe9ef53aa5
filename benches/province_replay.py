"""Replays a ledger's day on a province's gateway: questions by place, clips, live views.

What an officer's program does, by the contract's own client; each answer is checked.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import grpc

from benches.ledger import DAY_US, Extraction, Ledger, LiveView, Question
from benches.province_nodes import LIVE
from nvr.errors import NvrError
from nvr.footage.channel import dial
from nvr.footage.places import Circle, FindRequest, Found, Named
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import ClipData, ClipHead, ClipPart, ClipRequest, End, LiveUnit, ReadContext, TimeRange

AT_ONCE = 8
WHOLE_EVERY, COMPARED_EVERY = 4, 16
"""Of how many clips one is read whole, and one of how many is compared with the recorder's own."""
_CHANNELS = 8
_SAMPLES = 300
_SYNC_S = 180.0


class WrongAnswerError(Exception):
    """An answer that is not what the recorders have."""


@dataclass
class Taken:
    """Milliseconds of each kind of call, and what went wrong."""

    find_ms: list[float] = field(default_factory=list)
    head_ms: list[float] = field(default_factory=list)
    first_byte_ms: list[float] = field(default_factory=list)
    live_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """How long after its time each step began, because others were under way."""
    failures: list[str] = field(default_factory=list)
    clips: int = 0
    whole: int = 0
    compared: int = 0
    bytes: int = 0
    cameras: int = 0
    """Cameras found, with what each has of the range, in all answers together."""
    recorders: int = 0
    seconds: float = 0.0


class Officers:
    """Clients of a province. ``day_us``: when the ledger's day began."""

    def __init__(self, addresses: Mapping[str, str], day_us: int) -> None:
        self._addresses = addresses
        self._day_us = day_us
        self._channels = [dial(addresses["province"]) for _ in range(_CHANNELS)]
        self._direct: dict[str, grpc.aio.Channel] = {}
        self._turn = 0
        self.taken = Taken()

    async def close(self) -> None:
        """Closes the connections."""
        for channel in (*self._channels, *self._direct.values()):
            await channel.close()

    def _province(self) -> RemoteFootage:
        self._turn += 1
        return RemoteFootage(self._channels[self._turn % _CHANNELS], target="province")

    def node(self, name: str) -> RemoteFootage:
        """Any node, asked directly."""
        if name not in self._direct:
            self._direct[name] = dial(self._addresses[name])
        return RemoteFootage(self._direct[name], target=name)

    async def knows(self, cameras: int) -> None:
        """Returns when the province knows so many cameras, and every node below is there.

        Raises :exc:`TimeoutError` after three minutes.
        """
        request = FindRequest(limit=1)
        give_up_s = time.monotonic() + _SYNC_S
        while time.monotonic() < give_up_s:
            async for step in self._province().find(ReadContext(), request):
                if isinstance(step, End) and step.complete and step.remaining == cameras - 1:
                    return
            await asyncio.sleep(0.5)
        raise TimeoutError(f"the province does not know {cameras} cameras within {_SYNC_S:g} s")

    async def replay(self, day: Ledger, real: Callable[[Question], bool], seconds: float) -> Taken:
        """The day within so many seconds, as far as it concerns real recorders."""
        work: list[tuple[int, Callable[[], Awaitable[object]]]] = []
        work += [(each.at_us, partial(self._look, each)) for each in day.places if real(each)]
        work += [(each.at_us, partial(self._extract, each)) for each in day.extractions if real(each)]
        work += [(each.at_us, partial(self._watch, each)) for each in day.live_views]
        work.sort(key=lambda pair: pair[0])
        free = asyncio.Semaphore(AT_ONCE)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for at_us, step in work:
                due = started + at_us / DAY_US * seconds
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await free.acquire()
                self.taken.late_ms.append(max(0.0, (time.perf_counter() - due) * 1000))
                tasks.create_task(self._counted(step, free))
        self.taken.seconds = time.perf_counter() - started
        return self.taken

    async def _counted(self, step: Callable[[], Awaitable[object]], free: asyncio.Semaphore) -> None:
        try:
            await step()
        except (NvrError, WrongAnswerError) as error:
            self.taken.failures.append(f"{type(error).__name__}: {error}")
        finally:
            free.release()

    def range_of(self, question: Question) -> TimeRange:
        """By the wall."""
        return TimeRange(self._day_us + question.range.start_us, self._day_us + question.range.end_us)

    async def _look(self, question: Question) -> list[Found]:
        request = FindRequest(Circle(question.place, question.radius_m), self.range_of(question))
        started = time.perf_counter()
        found = await _found(self._province(), request)
        self.taken.find_ms.append((time.perf_counter() - started) * 1000)
        self.taken.cameras += len(found)
        self.taken.recorders += len({each.camera.node for each in found})
        return found

    async def _extract(self, extraction: Extraction) -> None:
        found = await self._look(extraction)
        range_ = self.range_of(extraction)
        if len(found) <= extraction.nth:
            # Fewer stand within the circle: it is the farthest of them.
            extraction = replace(extraction, nth=len(found) - 1)
        chosen = found[extraction.nth]
        if [span.range for span in chosen.spans] != [range_]:
            raise WrongAnswerError(f"{chosen.camera.node}/{chosen.camera.name} has not all of {range_}")
        whole = extraction.number % WHOLE_EVERY == 0
        request = ClipRequest(chosen.camera.id, range_, head_only=not whole)
        part, digest = await self._clip(request)
        if whole and extraction.number % COMPARED_EVERY == 0:
            own = self.node(chosen.camera.node)
            if await _clip_of(own, request) != (part, digest):
                raise WrongAnswerError(f"the clip of {chosen.camera.name} is not the recorder's")
            self.taken.compared += 1

    async def _clip(self, request: ClipRequest) -> tuple[ClipPart, str]:
        """The part, and the digest of its bytes."""
        started = time.perf_counter()

        def came(step: ClipHead | ClipData) -> None:
            of = self.taken.head_ms if isinstance(step, ClipHead) else self.taken.first_byte_ms
            of.append((time.perf_counter() - started) * 1000)

        part, digest = await _clip_of(self._province(), request, came)
        self.taken.clips += 1
        if not request.head_only:
            self.taken.whole += 1
            self.taken.bytes += part.size_bytes
        return part, digest

    async def _watch(self, view: LiveView) -> None:
        """Until the first picture."""
        camera = f"ward-{view.district}/{LIVE}"
        started = time.perf_counter()
        answer = self._province().watch_live(ReadContext(), camera, "main")
        try:
            async for step in answer:
                if isinstance(step, LiveUnit):
                    self.taken.live_ms.append((time.perf_counter() - started) * 1000)
                    return
        finally:
            await answer.aclose()  # type: ignore[attr-defined]
        raise WrongAnswerError(f"{camera} shows nothing")


async def _found(source: RemoteFootage, request: FindRequest) -> list[Found]:
    """Raises :exc:`WrongAnswerError` for an answer that is not complete, or finds nothing."""
    found = []
    async for step in source.find(ReadContext(purpose="case"), request):
        if isinstance(step, Found):
            found.append(step)
        elif not isinstance(step, End):
            raise WrongAnswerError(f"{step.code}: {step.message}")
        elif not step.complete or not found:
            raise WrongAnswerError(f"{len(found)} cameras, complete {step.complete}")
    return found


async def _clip_of(
    source: RemoteFootage,
    request: ClipRequest,
    came: Callable[[ClipHead | ClipData], None] = lambda _step: None,
) -> tuple[ClipPart, str]:
    """The only part of a clip, and the digest of its bytes; ``came`` is told of the head and the first."""
    head: ClipHead | None = None
    size = 0
    digest = hashlib.sha256()
    async for step in source.read_clip(ReadContext(purpose="case"), request):
        if isinstance(step, ClipHead):
            came(step)
            head = step
        elif isinstance(step, ClipData):
            if not size:
                came(step)
            size += len(step.data)
            digest.update(step.data)
        elif not isinstance(step, End) or not step.complete:
            raise WrongAnswerError(f"a clip that is not whole: {step}")
    if head is None or len(head.parts) != 1 or head.gaps:
        raise WrongAnswerError(f"a clip of one part was recorded: {head}")
    part = head.parts[0]
    if size != (0 if request.head_only else part.size_bytes):
        raise WrongAnswerError(f"{size} bytes of {part.size_bytes}")
    return part, digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Service:
    """Milliseconds, in order, that a node takes by itself with nothing else to do."""

    recorder_find: list[float]
    recorder_clip: list[float]
    district_find: list[float]
    district_clip: list[float]
    province_find: list[float]
    province_clip: list[float]


async def service_times(
    officers: Officers, day: Ledger, real: Callable[[Question], bool], districts: int
) -> Service:
    """The same questions to recorder, district and province by turns, one after another.

    What a gateway takes is the difference at each rank of the ordered times.
    """
    chosen = [each for each in day.extractions if real(each)]
    find_ms: tuple[list[float], ...] = ([], [], [])
    clip_ms: tuple[list[float], ...] = ([], [], [])
    for extraction in chosen[:: -(-len(chosen) // _SAMPLES)]:
        range_ = officers.range_of(extraction)
        circle = Circle(extraction.place, extraction.radius_m)
        found = await _found(officers.node("province"), FindRequest(circle, range_))
        recorder = found[0].camera.node
        ids = [each.camera.id for each in found if each.camera.node == recorder]
        district = int(recorder.rpartition("-")[2]) % districts
        for tier, name in enumerate((recorder, f"district-{district}", "province")):
            source = officers.node(name)
            # Connecting is no part of it: gateways stay connected.
            await source.node()
            started = time.perf_counter()
            await _found(source, FindRequest(Named(ids), range_))
            find_ms[tier].append((time.perf_counter() - started) * 1000)
            started = time.perf_counter()
            await _clip_of(source, ClipRequest(ids[0], range_, head_only=True))
            clip_ms[tier].append((time.perf_counter() - started) * 1000)
    return Service(
        recorder_find=sorted(find_ms[0]),
        recorder_clip=sorted(clip_ms[0]),
        district_find=_added(find_ms[0], find_ms[1]),
        district_clip=_added(clip_ms[0], clip_ms[1]),
        province_find=_added(find_ms[1], find_ms[2]),
        province_clip=_added(clip_ms[1], clip_ms[2]),
    )


def _added(below: list[float], with_it: list[float]) -> list[float]:
    return [max(0.0, more - less) for less, more in zip(sorted(below), sorted(with_it), strict=True)]
