"""What recorders have acknowledged, seen from outside, and what answers must have of it.

A fragment is acknowledged when the recorder that wrote it gives it from its own disk. A
witness follows each recorder through a door of its host, so also where all cables are cut.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from nvr.errors import NvrError
from nvr.footage.types import Fragment, FragmentRef, FragmentsRequest, Span, TimeRange
from tests.network.ward import CONTEXT, Ward

Name = tuple[str, int]
"""Run and sequence: what a fragment is called everywhere."""

_EVERY_S = 0.4
# A picture: until the next fragment begins, it is not exactly known when the last one ends.
_GRAIN_US = 100_000
# Delays that grow by more begin a new run.
_STEP_US = 200_000


def name_of(ref: FragmentRef) -> Name:
    return ref.run_id, ref.sequence


def union(ranges: Iterable[TimeRange], within: TimeRange) -> list[tuple[int, int]]:
    """What ranges cover of another, as pieces in order."""
    pieces: list[tuple[int, int]] = []
    for range_ in sorted(ranges, key=lambda each: (each.start_us, each.end_us)):
        start_us, end_us = max(range_.start_us, within.start_us), min(range_.end_us, within.end_us)
        if start_us >= end_us:
            continue
        if pieces and pieces[-1][1] >= start_us:
            pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end_us))
        else:
            pieces.append((start_us, end_us))
    return pieces


def missing(
    wanted: Iterable[TimeRange], given: Iterable[TimeRange], within: TimeRange
) -> list[tuple[int, int]]:
    """What of the wanted ranges, within another, is not in the given ones."""
    left = []
    has = union(given, within)
    for start_us, end_us in union(wanted, within):
        at_us = start_us
        for has_start_us, has_end_us in has:
            if has_end_us <= at_us or has_start_us >= end_us:
                continue
            if has_start_us > at_us:
                left.append((at_us, has_start_us))
            at_us = has_end_us
        if at_us < end_us:
            left.append((at_us, end_us))
    return [(start_us, end_us) for start_us, end_us in left if end_us - start_us >= _GRAIN_US]


def same(one: FragmentRef, other: FragmentRef) -> bool:
    """Whether two references say the same. How long the last fragment is shown, the next one decides."""
    apart_us = abs(one.duration_us - other.duration_us)
    return apart_us < _GRAIN_US and replace(one, duration_us=0) == replace(other, duration_us=0)


def goes_on(before: FragmentRef, ref: FragmentRef) -> bool:
    """Whether a recorder says the same again. When a fragment ends, the next one says, and that may begin
    much earlier than was thought: what comes when a recorder was stopped is late at first.
    """
    longer_us = ref.duration_us - before.duration_us
    return longer_us < _STEP_US and replace(before, duration_us=0) == replace(ref, duration_us=0)


def shown(ref: FragmentRef) -> TimeRange:
    return TimeRange(ref.start_us, ref.start_us + ref.duration_us)


@dataclass(frozen=True)
class Acknowledged:
    node: str
    camera_id: str
    ref: FragmentRef
    seen_s: float
    """When, by the clock of this process."""


@dataclass
class Ledger:
    """By node, camera and name. Nothing is ever taken out."""

    start_us: int
    entries: dict[tuple[str, str, Name], Acknowledged] = field(default_factory=dict)
    claimed: dict[tuple[str, str, Name], str] = field(default_factory=dict)
    """What answers have given, and which answer."""
    spans: list[tuple[str, Span, str]] = field(default_factory=list)
    """Camera, span and the answer that gave it."""

    def acknowledge(self, node: str, refs: Iterable[FragmentRef]) -> None:
        now_s = time.monotonic()
        for ref in refs:
            key = node, ref.camera_id, name_of(ref)
            known = self.entries.get(key)
            if known is None:
                self.entries[key] = Acknowledged(node, ref.camera_id, ref, now_s)
            else:
                assert goes_on(known.ref, ref), (
                    f"{node} gives a fragment otherwise than before: {known.ref}, {ref}"
                )

    def of(self, camera_id: str, *, before_s: float) -> list[Acknowledged]:
        """What was acknowledged of a camera before an instant."""
        return [
            each for each in self.entries.values() if each.camera_id == camera_id and each.seen_s < before_s
        ]

    def claim(self, camera_id: str, given: Fragment, answer: str) -> None:
        self.claimed.setdefault((given.node, camera_id, name_of(given.ref)), answer)

    def check_claims(self) -> None:
        """Nothing that an answer gave was invented, or is lost."""
        for key, answer in self.claimed.items():
            assert key in self.entries, f"{answer} gave {key}, which no recorder has"
        by_run: dict[tuple[str, str, str], list[TimeRange]] = {}
        for entry in self.entries.values():
            run = entry.node, entry.camera_id, entry.ref.run_id
            by_run.setdefault(run, []).append(shown(entry.ref))
        for camera_id, span, answer in self.spans:
            has = by_run.get((span.node, camera_id, span.run_id), [])
            left = missing([span.range], has, span.range)
            assert not left, f"{answer} says that {span.node} has {span}, and it lacks {left}"


async def witness(ward: Ward, node: str, ledger: Ledger) -> None:
    """Follows what a recorder has on its disk, for ever."""
    while True:
        try:
            async with asyncio.timeout(10):
                await look(ward, node, ledger)
        except (NvrError, TimeoutError):
            # It is dead, or busy.
            pass
        await asyncio.sleep(_EVERY_S)


async def look(ward: Ward, node: str, ledger: Ledger) -> None:
    """All that a recorder has now."""
    footage = ward.footage(node)
    end_us = time.time_ns() // 1000
    for camera in await ward.cameras(node):
        if any(stream.oldest_us for stream in camera.streams):
            request = FragmentsRequest(camera.id, TimeRange(ledger.start_us, end_us), refs_only=True)
            steps = footage.read_fragments(CONTEXT, request)
            refs = [step.ref async for step in steps if isinstance(step, Fragment)]
            assert len({name_of(ref) for ref in refs}) == len(refs), f"{node} gives a fragment twice"
            ledger.acknowledge(node, refs)


def check_covered(
    entries: Sequence[Acknowledged], given: Iterable[TimeRange], within: TimeRange, answer: str
) -> None:
    """An answer that calls itself complete has what was acknowledged before it was asked for."""
    has = list(given)
    for entry in entries:
        left = missing([shown(entry.ref)], has, within)
        assert not left, f"{answer} is complete, it says, and {entry.node} has {entry.ref}: {left} is missing"


def check_once(refs: Sequence[FragmentRef], answer: str) -> None:
    names = [name_of(ref) for ref in refs]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    assert not twice, f"{answer} has {twice} twice"
