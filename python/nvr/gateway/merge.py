"""One timeline from what several nodes have of a camera.

At each instant the span with the higher epoch is shown, then that of the later
run. Strangers, nodes that the network catalog does not have, come after all others:
what they tell fills holes, and hides nothing. Where no node has footage there is a
gap, with the reason of the node that was to record it; footage that a node has in
memory still is `pending`, whatever the others say. What a node did not answer is no
gap: it is left out.
"""

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nvr.footage.types import Gap, Span, TimeRange

__all__ = ["Stretch", "Told", "fills", "fits", "merge_coverage", "stretches"]

# Reasons that a node gives for a time in which it was not the one to record.
_NOT_ITS_DUTY = frozenset({"not_recorded", "not_copied", "yielded", "removed", "disabled"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a node, or the nodes behind it, told of a range. ``rank`` 0: the one that is to record it."""

    items: Sequence[Span | Gap]
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a range that is read from one node."""

    node: str
    range: TimeRange


def merge_coverage(
    range_: TimeRange,
    told: Sequence[Told],
    *,
    all_answered: bool,
    strangers: Collection[str] = (),
) -> list[Span | Gap]:
    """Spans and gaps in order of time; they fill the range. Unless ``all_answered``, only spans are told.

    ``strangers``: names of nodes.
    """
    spans = [item for each in told for item in each.items if isinstance(item, Span)]
    shown = _shown(spans, range_, strangers)
    if not all_answered:
        return list(shown)
    merged: list[Span | Gap] = []
    at_us = range_.start_us
    for span in shown:
        if span.range.start_us > at_us:
            merged += _gaps(TimeRange(at_us, span.range.start_us), told)
        merged.append(span)
        at_us = span.range.end_us
    if at_us < range_.end_us:
        merged += _gaps(TimeRange(at_us, range_.end_us), told)
    return merged


def fills(items: Sequence[Span | Gap], range_: TimeRange) -> bool:
    """Whether spans and gaps, in order of time, fill a range exactly: else a part of it was not answered."""
    at_us = range_.start_us
    for item in items:
        if item.range.start_us != at_us:
            return False
        at_us = item.range.end_us
    return at_us == range_.end_us


def fits(items: Sequence[Span | Gap], range_: TimeRange) -> bool:
    """Whether spans and gaps are in order of time, do not overlap, and lie in a range."""
    at_us = range_.start_us
    for item in items:
        if item.range.start_us < at_us or item.range.end_us <= item.range.start_us:
            return False
        at_us = item.range.end_us
    return at_us <= range_.end_us


def stretches(shown: Sequence[Span | Gap]) -> list[Stretch]:
    """From which node each part is read. Gaps between spans of one node stay within its stretch."""
    found: list[Stretch] = []
    for item in shown:
        if not isinstance(item, Span):
            continue
        if found and found[-1].node == item.node:
            found[-1] = Stretch(item.node, TimeRange(found[-1].range.start_us, item.range.end_us))
        else:
            found.append(Stretch(item.node, item.range))
    return found


def _shown(spans: Sequence[Span], range_: TimeRange, strangers: Collection[str]) -> list[Span]:
    """What is shown where spans overlap: a sweep over their edges, preferred ones first."""

    def preference(span: Span) -> tuple[bool, int, str, str]:
        return span.node not in strangers, span.epoch, span.run_id, span.node

    preferred = sorted(spans, key=preference, reverse=True)
    waiting = sorted(range(len(preferred)), key=lambda index: -preferred[index].range.start_us)
    edges = sorted({edge for span in spans for edge in (span.range.start_us, span.range.end_us)})
    shown: list[Span] = []
    active: list[int] = []
    for start_us, end_us in pairwise(edges):
        while waiting and preferred[waiting[-1]].range.start_us <= start_us:
            heapq.heappush(active, waiting.pop())
        while active and preferred[active[0]].range.end_us <= start_us:
            heapq.heappop(active)
        cut = TimeRange(max(start_us, range_.start_us), min(end_us, range_.end_us))
        if not active or cut.start_us >= cut.end_us:
            continue
        best = replace(preferred[active[0]], range=cut)
        if shown and shown[-1].range.end_us == cut.start_us and replace(shown[-1], range=cut) == best:
            best = replace(best, range=TimeRange(shown.pop().range.start_us, cut.end_us))
        shown.append(best)
    return shown


def _gaps(range_: TimeRange, told: Sequence[Told]) -> list[Gap]:
    """Why nothing is recorded in a range of which no node has footage."""
    gaps = [(each.rank, item) for each in told for item in each.items if isinstance(item, Gap)]
    edges = {range_.start_us, range_.end_us}
    for _, gap in gaps:
        edges |= {gap.range.start_us, gap.range.end_us}
    inside = sorted(edge for edge in edges if range_.start_us <= edge <= range_.end_us)
    found: list[Gap] = []
    for start_us, end_us in pairwise(inside):
        covering = [
            (gap.reason != "pending", gap.reason in _NOT_ITS_DUTY, rank, gap)
            for rank, gap in gaps
            if gap.range.start_us <= start_us and gap.range.end_us >= end_us
        ]
        best = min(covering, key=lambda each: each[:3])[3] if covering else Gap(range_, "not_recorded")
        if found and (found[-1].reason, found[-1].detail) == (best.reason, best.detail):
            found[-1] = replace(found[-1], range=TimeRange(found[-1].range.start_us, end_us))
        else:
            found.append(replace(best, range=TimeRange(start_us, end_us)))
    return found
