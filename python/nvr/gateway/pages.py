"""Which part of a timeline of several nodes' fragments a page has: a cursor's meaning, and what comes once.

Which stretches there are can be another thing at the next page: a node may have come
back, or gone, or a copy may have been filled. So a cursor says to which instant
fragments were given, whatever lies there; where the same node goes on, that node's own
cursor; and which nodes' last fragments reach beyond that instant, or may in what another
node says of them: where a copy ends, its last fragment ends too, by what the fragment
says itself; where its recorder has the next one, it ends with that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
from nvr.footage.types import FragmentRef, FragmentsRequest, TimeRange
from nvr.gateway.merge import Stretch

__all__ = ["Given", "Reading", "reading_order"]

_CURSOR = "t4"
# Nodes differ in where a fragment ends by less than this: at 200 ms a recorder begins another run.
_ENDS_APART_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Given:
    """A fragment, as its node gave it."""

    shows: TimeRange
    run_id: str
    sequence: int

    @staticmethod
    def of(ref: FragmentRef) -> "Given":
        """What a reference names."""
        return Given(TimeRange(ref.start_us, ref.start_us + ref.duration_us), ref.run_id, ref.sequence)

    def is_copy_of(self, other: "Given") -> bool:
        """Whether both are one fragment, of which two nodes have a copy."""
        return (self.run_id, self.sequence) == (other.run_id, other.sequence)


@dataclass(slots=True)
class Reading:
    """A stretch as it is read."""

    stretch: Stretch
    taken_us: int
    """What the node has that begins before this instant is shown by an earlier stretch of it."""
    reached_us: int
    inner: str = ""
    """The node's own cursor: where to begin; after reading, where it would go on."""
    complete: bool = True

    def reach(self, shows: TimeRange, *, backward: bool) -> None:
        """A fragment of it has come."""
        range_ = self.stretch.range
        if backward:
            self.reached_us = max(range_.start_us, shows.start_us)
        else:
            self.reached_us = min(range_.end_us, shows.end_us)

    def is_new(self, each: Given, given: Mapping[str, Given], *, backward: bool) -> bool:
        """Whether a fragment is shown here first. ``given``: the last fragment of each node."""
        start_us = each.shows.start_us
        if start_us < self.taken_us or any(map(each.is_copy_of, given.values())):
            return False
        before = given.get(self.stretch.node)
        if before is None:
            return True
        return start_us < before.shows.start_us if backward else start_us > before.shows.start_us

    def cursor(self, given: Mapping[str, Given], *, backward: bool) -> str:
        """For what comes after it. ``given``: the last fragment of each node."""
        if not self.inner:
            self.reached_us = self.stretch.range.start_us if backward else self.stretch.range.end_us
        reaching = [
            [node, each.shows.start_us, each.shows.end_us, each.run_id, each.sequence]
            for node, each in given.items()
            if (
                each.shows.start_us < self.reached_us
                if backward
                else each.shows.end_us > self.reached_us - _ENDS_APART_US
            )
        ]
        return encode_cursor(
            _CURSOR, [self.reached_us, self.inner and self.stretch.node, self.inner, reaching]
        )


def reading_order(
    stretches: Sequence[Stretch], request: FragmentsRequest
) -> tuple[list[Reading], dict[str, Given]]:
    """What is left to read of stretches in order of time, and what was given last of nodes.

    Raises :exc:`InvalidArgument` for a cursor that is of no such answer.
    """
    backward = request.backward
    taken_us: dict[str, int] = {}
    readings = []
    for part in stretches:
        first_us = part.range.end_us if backward else part.range.start_us
        readings.append(Reading(part, taken_us.get(part.node, 0), first_us))
        taken_us[part.node] = part.range.end_us
    if backward:
        readings.reverse()
    if not request.cursor:
        return readings, {}
    at_us, node, inner, given = _parse(request.cursor)
    left = []
    for reading in readings:
        range_ = reading.stretch.range
        if inner and reading.stretch.node == node and range_.start_us <= at_us <= range_.end_us:
            reading.inner, inner = inner, ""
        elif backward:
            range_ = TimeRange(range_.start_us, min(range_.end_us, at_us))
        else:
            range_ = TimeRange(max(range_.start_us, at_us), range_.end_us)
        if range_.start_us < range_.end_us:
            reading.stretch = Stretch(reading.stretch.node, range_)
            reading.reached_us = at_us if reading.inner else range_.end_us if backward else range_.start_us
            left.append(reading)
    return left, given


def _parse(text: str) -> tuple[int, str, str, dict[str, Given]]:
    match decode_cursor(_CURSOR, text):
        case [int(at_us), str(node), str(inner), list(given)]:
            return at_us, node, inner, dict(map(_given, given))
        case _:
            raise bad_cursor()


def _given(value: Any) -> tuple[str, Given]:
    match value:
        case [str(node), int(start_us), int(end_us), str(run_id), int(sequence)] if start_us < end_us:
            return node, Given(TimeRange(start_us, end_us), run_id, sequence)
        case _:
            raise bad_cursor()
