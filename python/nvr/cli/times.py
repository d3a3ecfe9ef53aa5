"""Times as they are typed in a shell.

An instant is ISO 8601 with ``Z`` or an offset, or ``now``, or an age such as
``-10m`` (ten minutes before now, by the node's clock). An end may also be
``+60s``: so long after the start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, tzinfo

from typer.core import TyperCommand

from nvr.errors import InvalidArgument
from nvr.footage.time import format_instant, parse_duration, parse_instant, to_datetime
from nvr.footage.types import TimeRange

_AGE = re.compile(r"-(?:[0-9.]+(?:d|h|ms|m|s|us|µs))+", re.ASCII)


class TimesCommand(TyperCommand):
    """A command whose arguments may be ages: ``-10m`` is no option."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: D102
        return super().parse_args(ctx, ["now" + arg if _AGE.fullmatch(arg) else arg for arg in args])


def resolve_instant(text: str, now_us: Callable[[], int], *, field: str) -> int:
    """Microseconds since the epoch of what was typed; ``now_us`` is asked only for a relative one."""
    text = text.strip()
    if text == "now":
        return now_us()
    if text.startswith("now-"):
        return max(now_us() - parse_duration(text[4:], field=field), 0)
    if text.startswith("now"):
        raise InvalidArgument(f"{text!r}: before now is now-10m; after now nothing is recorded", field=field)
    return parse_instant(text, field=field)


def resolve_range(start: str, end: str, now_us: Callable[[], int]) -> TimeRange:
    """The range between two typed instants."""
    at_us: int | None = None

    def once() -> int:
        # Both ends mean the same now: -10m to now is exactly ten minutes.
        nonlocal at_us
        if at_us is None:
            at_us = now_us()
        return at_us

    start_us = resolve_instant(start, once, field="START")
    if end.startswith("+"):
        end_us = start_us + parse_duration(end[1:], field="END")
    else:
        end_us = resolve_instant(end, once, field="END")
    if start_us >= end_us:
        raise InvalidArgument(
            f"the range starts at {format_instant(start_us)} and ends at {format_instant(end_us)}: "
            "the end must come after the start",
            field="END",
        )
    return TimeRange(start_us, end_us)


def show_instant(at_us: int, zone: tzinfo | None) -> str:
    """An instant for people: UTC, or the time of a zone with its offset; empty for 0."""
    if not at_us:
        return ""
    if zone is None:
        return format_instant(at_us)
    local: datetime = to_datetime(at_us).astimezone(zone)
    spec = "seconds" if at_us % 1_000_000 == 0 else "milliseconds" if at_us % 1_000 == 0 else "microseconds"
    return local.isoformat(timespec=spec)
