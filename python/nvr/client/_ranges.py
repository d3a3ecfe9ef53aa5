"""Which range a caller means."""

from __future__ import annotations

from nvr.errors import InvalidArgument
from nvr.footage.time import Duration, Instant, parse_duration, parse_instant, parse_range
from nvr.footage.types import TimeRange


def resolve_range(start: Instant, end: Instant | None, duration: Duration | None) -> TimeRange:
    """The range from ``start`` to ``end``, or of ``duration`` from ``start``.

    Raises :exc:`nvr.errors.InvalidArgument` unless exactly one of both is
    given, and when the range is empty; :exc:`nvr.errors.NaiveDatetime` for a
    time without a zone.
    """
    if end is not None and duration is None:
        return parse_range(start, end)
    if end is not None or duration is None:
        raise InvalidArgument("give either an end or a duration, and not both", field="end")
    start_us = parse_instant(start, field="start")
    duration_us = parse_duration(duration, field="duration")
    if duration_us == 0:
        raise InvalidArgument("a duration must be longer than nothing", field="duration")
    return TimeRange(start_us, start_us + duration_us)
