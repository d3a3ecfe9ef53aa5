"""Instants and durations as people give them, turned into integer microseconds.

Inside the package time is an ``int``: microseconds since the Unix epoch, UTC.
At its surface an instant is an aware ``datetime`` or an ISO 8601 string with
``Z`` or an offset; a duration is a ``timedelta`` or a string such as ``"1s"``,
``"500ms"`` or ``"1h30m"``. What does not name one instant is refused.
"""

import re
from datetime import UTC, datetime, timedelta

from nvr.errors import InvalidArgument, NaiveDatetime
from nvr.footage.types import TimeRange

__all__ = [
    "MAX_US",
    "Duration",
    "Instant",
    "format_duration",
    "format_instant",
    "from_datetime",
    "parse_duration",
    "parse_instant",
    "parse_range",
    "to_datetime",
]

Instant = datetime | str
Duration = timedelta | str

MAX_US = 253_402_300_799_000_000
"""The last instant that is accepted, 9999-12-31T23:59:59Z: the limit of the protocol and of ``datetime``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_TEXT = 64
_UNITS_US = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
    "µs": 1,
}
_TERM = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?\s*(d|h|ms|m|s|us|µs)\s*", re.ASCII)
_DATE_ONLY = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", re.ASCII)


def from_datetime(value: datetime, *, field: str = "") -> int:
    """Microseconds since the epoch of an aware ``datetime``.

    Raises :exc:`NaiveDatetime` without a time zone, :exc:`InvalidArgument`
    before 1970 or after :data:`MAX_US`.
    """
    if value.utcoffset() is None:
        raise NaiveDatetime(
            f"{value.isoformat()} has no time zone, so it does not name one instant: "
            "give datetime(..., tzinfo=timezone.utc), or value.astimezone() for this machine's local time",
            field=field,
        )
    return _checked((value - _EPOCH) // _MICROSECOND, str(value), field)


def to_datetime(at_us: int) -> datetime:
    """The aware ``datetime``, in UTC, of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=at_us)


def parse_instant(value: Instant, *, field: str = "") -> int:
    """Microseconds since the epoch of what a user gave.

    Raises :exc:`NaiveDatetime` when the time zone is missing, and
    :exc:`InvalidArgument` when it is no instant or lies outside 1970–9999.
    """
    if isinstance(value, datetime):
        return from_datetime(value, field=field)
    if not isinstance(value, str):
        raise InvalidArgument(
            f"an instant is an aware datetime or an ISO 8601 string, not {type(value).__name__}", field=field
        )
    text = value.strip()
    shown = repr(text[:_MAX_TEXT])
    if len(text) > _MAX_TEXT:
        raise InvalidArgument(f"{shown}… is too long for an instant", field=field)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(
            f"{shown} is not an ISO 8601 instant such as 2026-11-23T14:05:00Z or "
            "2026-11-23T21:05:00.250+07:00",
            field=field,
        ) from None
    if parsed.utcoffset() is None:
        example = f"{text}T00:00:00Z" if _DATE_ONLY.fullmatch(text) else f"{text}Z"
        raise NaiveDatetime(
            f"{shown} has no time zone, so it does not name one instant: "
            f"add Z for UTC ({example}) or an offset such as +07:00",
            field=field,
        )
    return from_datetime(parsed, field=field)


def parse_range(start: Instant, end: Instant) -> TimeRange:
    """The half-open range between two instants; :exc:`InvalidArgument` unless start < end."""
    start_us, end_us = parse_instant(start, field="start"), parse_instant(end, field="end")
    if start_us >= end_us:
        raise InvalidArgument(
            f"the range starts at {format_instant(start_us)} and ends at {format_instant(end_us)}: "
            "the end must come after the start",
            field="end",
        )
    return TimeRange(start_us, end_us)


def parse_duration(value: Duration, *, field: str = "") -> int:
    """Microseconds of a duration: ``timedelta``, ``"1s"``, ``"500ms"``, ``"2m"``, ``"1h30m"``, ``"1.5s"``.

    Units are d, h, m, s, ms, us, from large to small, each at most once. Raises
    :exc:`InvalidArgument` for anything else, for less than zero, and for what
    is not a whole number of microseconds.
    """
    if isinstance(value, timedelta):
        return _checked(value // _MICROSECOND, str(value), field)
    if not isinstance(value, str):
        raise InvalidArgument(
            f"a duration is a timedelta or a string such as '1s', not {type(value).__name__}", field=field
        )
    text = value.strip()
    shown = repr(text[:_MAX_TEXT])
    wrong = InvalidArgument(
        f"{shown} is not a duration such as 1s, 500ms, 2m or 1h30m (units: d h m s ms us, large to small)",
        field=field,
    )
    if not text or len(text) > _MAX_TEXT:
        raise wrong
    total, position, last_unit_us = 0, 0, None
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise wrong
        whole, fraction, unit = term.group(1), term.group(2) or "", term.group(3)
        unit_us = _UNITS_US[unit]
        if last_unit_us is not None and unit_us >= last_unit_us:
            raise wrong
        part, rest = divmod(int(whole + fraction) * unit_us, 10 ** len(fraction))
        if rest:
            raise InvalidArgument(f"{shown} is not a whole number of microseconds", field=field)
        total += part
        last_unit_us, position = unit_us, term.end()
    return _checked(total, shown, field)


def format_instant(at_us: int) -> str:
    """ISO 8601 in UTC with as many decimals as needed (0, 3 or 6): ``2026-11-23T14:05:00.123Z``."""
    spec = "seconds" if at_us % 1_000_000 == 0 else "milliseconds" if at_us % 1_000 == 0 else "microseconds"
    return to_datetime(at_us).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def format_duration(duration_us: int) -> str:
    """A duration as :func:`parse_duration` reads it: ``1h30m``, ``1s500ms``, ``0s``."""
    if duration_us == 0:
        return "0s"
    sign, rest, parts = "-" if duration_us < 0 else "", abs(duration_us), ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS_US[unit])
        if count:
            parts += f"{count}{unit}"
    return sign + parts


def _checked(value_us: int, shown: str, field: str) -> int:
    if not 0 <= value_us <= MAX_US:
        raise InvalidArgument(f"{shown} is out of range (1970 to 9999, durations not negative)", field=field)
    return value_us
