"""Which part of a timeline of several nodes' fragments a page has: a cursor's meaning, and what comes once.

Which stretches there are can be another thing at the next page: a node may have come
back, or gone, or a copy may have been filled. So a cursor says to which instant
fragments were given, whatever lies there; where the same node goes on, that node's own
cursor; and which nodes' last fragments reach beyond that instant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
from nvr.footage.types import FragmentsRequest, TimeRange
from nvr.gateway.merge import Stretch

__all__ = ["Reading", "reading_order"]

_CURSOR = "t3"


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

    def is_new(self, shows: TimeRange, before: TimeRange | None, *, backward: bool) -> bool:
        """Whether a fragment is shown here first. ``before``: the last one of the node's other stretches."""
        if shows.start_us < self.taken_us:
            return False
        if before is None:
            return True
        return shows.start_us < before.start_us if backward else shows.start_us > before.start_us

    def cursor(self, given: Mapping[str, TimeRange], *, backward: bool) -> str:
        """For what comes after it. ``given``: the last fragment of each node."""
        if not self.inner:
            self.reached_us = self.stretch.range.start_us if backward else self.stretch.range.end_us
        reaching = [
            [node, shown.start_us, shown.end_us]
            for node, shown in given.items()
            if (shown.start_us < self.reached_us if backward else shown.end_us > self.reached_us)
        ]
        return encode_cursor(
            _CURSOR, [self.reached_us, self.inner and self.stretch.node, self.inner, reaching]
        )


def reading_order(
    stretches: Sequence[Stretch], request: FragmentsRequest
) -> tuple[list[Reading], dict[str, TimeRange]]:
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


def _parse(text: str) -> tuple[int, str, str, dict[str, TimeRange]]:
    match decode_cursor(_CURSOR, text):
        case [int(at_us), str(node), str(inner), list(given)]:
            return at_us, node, inner, dict(map(_given, given))
        case _:
            raise bad_cursor()


def _given(value: Any) -> tuple[str, TimeRange]:
    match value:
        case [str(node), int(start_us), int(end_us)] if start_us < end_us:
            return node, TimeRange(start_us, end_us)
        case _:
            raise bad_cursor()
