"""What a copy lacks: the source's footage without one's own, run by run. Nothing here does I/O."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nvr.footage.types import FragmentRef, Gap, Span, TimeRange

__all__ = ["MissingRun", "missing_fragments", "missing_runs", "untold_gaps"]

_NO_FACTS = frozenset({"future", "pending", "not_recorded", "not_copied", "expired", "damaged"})
"""Reasons that say nothing about why the source has no footage, or will be others soon."""


@dataclass(frozen=True, slots=True)
class MissingRun:
    """What is missing of one run, oldest first."""

    run_id: str
    ranges: tuple[TimeRange, ...]

    @property
    def duration_us(self) -> int:
        """How much that is."""
        return sum(each.duration_us for each in self.ranges)


def missing_runs(
    theirs: Iterable[Span], ours: Iterable[Span], without: Iterable[TimeRange] = ()
) -> list[MissingRun]:
    """What the source shows of each run and we do not hold; the run with the newest such part first.

    ``without``: ranges that are not wanted, whatever the run (retention has deleted them here).
    """
    held: dict[str, list[TimeRange]] = {}
    for span in ours:
        held.setdefault(span.run_id, []).append(span.range)
    unwanted = list(without)
    found: dict[str, list[TimeRange]] = {}
    for span in theirs:
        rest = _without(span.range, [*held.get(span.run_id, ()), *unwanted])
        if rest:
            found.setdefault(span.run_id, []).extend(rest)
    runs = [
        MissingRun(run_id, tuple(sorted(ranges, key=lambda each: each.start_us)))
        for run_id, ranges in found.items()
    ]
    return sorted(runs, key=lambda run: (run.ranges[-1].end_us, run.run_id), reverse=True)


def missing_fragments(
    listed: Iterable[FragmentRef], held: Collection[tuple[str, int]]
) -> list[list[FragmentRef]]:
    """Those that are not held (by run and sequence), in unbroken stretches of one run each."""
    stretches: list[list[FragmentRef]] = []
    unbroken: dict[str, list[FragmentRef]] = {}
    for ref in listed:
        if (ref.run_id, ref.sequence) in held:
            unbroken.pop(ref.run_id, None)
        elif ref.run_id in unbroken:
            unbroken[ref.run_id].append(ref)
        else:
            unbroken[ref.run_id] = [ref]
            stretches.append(unbroken[ref.run_id])
    return stretches


def untold_gaps(theirs: Iterable[Gap], ours: Iterable[Gap], range: TimeRange) -> list[Gap]:
    """Gaps of the source that are over, have a cause, and that we can only call not copied."""
    unexplained = [gap.range for gap in ours if gap.reason == "not_copied"]
    return [
        gap
        for gap in theirs
        if gap.reason not in _NO_FACTS
        and gap.range.end_us < range.end_us
        and any(_overlap(gap.range, each) for each in unexplained)
    ]


def _overlap(a: TimeRange, b: TimeRange) -> bool:
    return a.start_us < b.end_us and b.start_us < a.end_us


def _without(whole: TimeRange, holes: Iterable[TimeRange]) -> list[TimeRange]:
    """What is left of a range, in order."""
    rest, at = [], whole.start_us
    for hole in sorted(holes, key=lambda each: each.start_us):
        if hole.start_us > at:
            rest.append(TimeRange(at, min(hole.start_us, whole.end_us)))
        at = max(at, hole.end_us)
        if at >= whole.end_us:
            return [each for each in rest if each.duration_us > 0]
    rest.append(TimeRange(at, whole.end_us))
    return [each for each in rest if each.duration_us > 0]
