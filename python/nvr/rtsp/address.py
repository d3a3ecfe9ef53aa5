"""Addresses and ranges of RTSP: which camera and which instants a client means.

::

    rtsp://host/market-gate/main                                 live
    rtsp://host/node/market-gate/sub?start=2026-11-09T20:00:00+07:00&end=…
    rtsp://host/market-gate/main/clock=20261109T130000Z-20261109T131000Z

The third form is what a description calls the second: clients append to it
(``…/trackID=0``), which a query would not survive.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote, unquote

from nvr.errors import InvalidArgument, NotFound
from nvr.footage.time import from_datetime, parse_instant, to_datetime
from nvr.footage.types import StreamName, TimeRange

__all__ = ["RefusedError", "Target", "format_clock", "parse_play_range", "parse_scale", "parse_target"]

_MAX_CAMERA = 200
_MAX_SCALE = 64
_SECOND_US = 1_000_000
_CLOCK = re.compile(r"([0-9]{8}T[0-9]{6}(?:\.[0-9]{1,6})?Z)", re.ASCII)
_NPT = re.compile(r"(?:([0-9]{1,9}):([0-9]{1,2}):)?([0-9]{1,9})(?:\.([0-9]{0,9}))?", re.ASCII)
_SCALE = re.compile(r"([0-9]{1,3})(?:\.0*)?", re.ASCII)

INVALID_RANGE = 457
INVALID_HEADER = 456


class RefusedError(Exception):
    """A request that is answered with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """What an address names: a stream of a camera, live or (with a range) as it was."""

    camera: str
    stream: StreamName
    range: TimeRange | None = None

    @property
    def path(self) -> str:
        """By which it is addressed; :func:`parse_target` understands it."""
        path = f"{quote(self.camera, safe='/')}/{self.stream}"
        if self.range is None:
            return path
        return f"{path}/clock={format_clock(self.range.start_us)}-{format_clock(self.range.end_us)}"

    def of(self, camera_id: str) -> "Target":
        """The same of a camera whose id is known."""
        return replace(self, camera=camera_id)


def parse_target(path: str, query: str, now_us: int) -> Target:
    """What an address means. Raises :exc:`NotFound`, :exc:`InvalidArgument`.

    ``?start=…`` without ``end`` is until now. A plus in the query is a plus, as
    people write it in a time zone.
    """
    segments = path.strip("/").split("/")
    range_: TimeRange | None = None
    if segments[-1].startswith("clock="):
        try:
            range_ = _clock_range(unquote(segments.pop()).removeprefix("clock="), now_us)
        except RefusedError as error:
            raise InvalidArgument(f"path: {error}", field="path") from None
    stream = segments.pop() if segments else ""
    camera = unquote("/".join(segments))
    if stream not in ("main", "sub") or not 0 < len(camera) <= _MAX_CAMERA or not camera.isprintable():
        raise NotFound("an address is /<camera>/main or /<camera>/sub")
    fields = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if "start" in fields:
        start_us = parse_instant(unquote(fields["start"]), field="start")
        end_us = parse_instant(unquote(fields["end"]), field="end") if "end" in fields else now_us
        if start_us >= end_us:
            raise InvalidArgument("end: the range must end after its start", field="end")
        range_ = TimeRange(start_us, end_us)
    elif "end" in fields:
        raise InvalidArgument("start: a range has one", field="start")
    return Target(camera, "main" if stream == "main" else "sub", range_)


def format_clock(at_us: int) -> str:
    """An instant as RFC 2326 writes it (section 3.7): ``20261109T130000.25Z``."""
    text = to_datetime(at_us).strftime("%Y%m%dT%H%M%S")
    fraction = f"{at_us % _SECOND_US:06}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def _parse_clock(text: str) -> int:
    try:
        return from_datetime(datetime.fromisoformat(text))
    except ValueError:
        raise RefusedError(INVALID_RANGE, "there is no such instant") from None


def _clock_range(text: str, end_us: int) -> TimeRange:
    start, _, end = text.partition("-")
    if not _CLOCK.fullmatch(start) or (end and not _CLOCK.fullmatch(end)):
        raise RefusedError(INVALID_RANGE, "a range is 20261109T130000Z-20261109T131000Z, in UTC")
    start_us = _parse_clock(start)
    if end:
        end_us = _parse_clock(end)
    if start_us >= end_us:
        raise RefusedError(INVALID_RANGE, "the range must end after its start")
    return TimeRange(start_us, end_us)


def parse_play_range(header: str, of: TimeRange | None, now_us: int) -> TimeRange | None:
    """What a PLAY asks for by its ``Range`` (RFC 2326, 12.29); None: what comes live.

    ``of``: the recorded range that was described, which ``npt`` counts from.
    Raises :exc:`RefusedError`.
    """
    unit, _, text = header.partition(";")[0].strip().partition("=")
    match unit.strip().lower():
        case "clock":
            return _clock_range(text.strip(), now_us if of is None else of.end_us)
        case "npt" | "":
            return of and _npt_range(text.strip(), of)
        case _:
            raise RefusedError(INVALID_RANGE, "a range is given as clock or npt")


def _npt_range(text: str, of: TimeRange) -> TimeRange:
    start, _, end = text.partition("-")
    if start in ("", "now"):
        return of
    start_us = of.start_us + _parse_npt(start)
    end_us = min(of.end_us, of.start_us + _parse_npt(end)) if end else of.end_us
    if start_us >= end_us:
        raise RefusedError(INVALID_RANGE, "nothing of what was described lies there")
    return TimeRange(start_us, end_us)


def _parse_npt(text: str) -> int:
    match = _NPT.fullmatch(text)
    if match is None:
        raise RefusedError(INVALID_RANGE, "npt is seconds, or hours:minutes:seconds")
    hours, minutes, seconds, fraction = match.groups(default="0")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * _SECOND_US + int(fraction[:6].ljust(6, "0"))


def parse_scale(header: str) -> int:
    """How many times as fast as it was (RFC 2326, 12.34): 1 to 64. Raises :exc:`RefusedError`."""
    if not header:
        return 1
    match = _SCALE.fullmatch(header.strip())
    if match is None or not 1 <= int(match[1]) <= _MAX_SCALE:
        raise RefusedError(INVALID_HEADER, f"Scale: a whole number from 1 to {_MAX_SCALE}")
    return int(match[1])
