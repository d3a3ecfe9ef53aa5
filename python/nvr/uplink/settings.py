"""``[uplink]``: the node above, which this one dials because it cannot be dialled itself."""

import re
from collections.abc import Iterator, Mapping
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field

from nvr.settings.document import Fault
from nvr.settings.fields import AbsolutePath, Address, DurationUs, ListenAddress, RateBits, Section
from nvr.uplink.shaper import CapHours, CapSchedule

__all__ = ["UplinkSettings", "uplink_faults"]

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def _time(value: object) -> time:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        # Pydantic takes a ValueError as a fault of the file, not of the program.
        raise ValueError('a time of day is written "22:00"')
    return time(int(match[1]), int(match[2]))


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError('not a time zone such as "Asia/Ho_Chi_Minh"') from error


class UplinkHours(Section):
    """``[[uplink.hours]]``: another cap for some hours of each day."""

    start: Annotated[time, BeforeValidator(_time)] = Field(alias="from")
    """From this time of day …"""
    end: Annotated[time, BeforeValidator(_time)] = Field(alias="to")
    """… until this one, over midnight where it is earlier."""
    cap: RateBits | Literal["none"]
    """The most that is sent then, in bits a second; ``none``: no cap."""


class UplinkSettings(Section):
    """``[uplink]``."""

    parent: ListenAddress
    """gRPC address of the node above: host:port."""
    tls: bool | None = None
    """Whether it speaks TLS; default: where this node does."""
    ca: AbsolutePath | None = None
    """Authorities that the node above is checked against; default: ``client_ca`` of ``[tls]``."""
    cap: RateBits | None = None
    """The most that this node sends, in bits a second, all calls together."""
    hours: list[UplinkHours] = Field(default=[], max_length=48)
    """Other caps at other hours."""
    time_zone: Annotated[ZoneInfo, BeforeValidator(_zone)] = ZoneInfo("UTC")
    """Whose hours they are."""
    keepalive: DurationUs = 15_000_000
    """A line on which nothing comes for twice as long is dead; 1 s to 10 min."""

    def schedule(self) -> CapSchedule:
        """The caps."""
        hours = [
            CapHours(each.start, each.end, None if each.cap == "none" else each.cap) for each in self.hours
        ]
        return CapSchedule(self.cap, hours)


def uplink_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """What no single field of ``[uplink]`` shows. ``document``: the whole file."""
    uplink = document.get("uplink")
    if not isinstance(uplink, dict):
        return
    keepalive = uplink.get("keepalive")
    if isinstance(keepalive, str) and not _within(keepalive):
        yield "uplink.keepalive", "must be 1s to 10m"
    plain = uplink.get("tls") is False or ("tls" not in document and uplink.get("tls") is not True)
    parent = uplink.get("parent")
    if plain and isinstance(parent, str) and not _is_loopback(parent):
        yield "uplink.parent", "another machine is dialled with TLS only: [tls] is missing, or tls is false"
    if uplink.get("tls") is True and "tls" not in document:
        yield "uplink.tls", "the node above asks for a certificate: [tls] is missing"


def _within(text: str) -> bool:
    from nvr.errors import InvalidArgument
    from nvr.footage.time import parse_duration

    try:
        return 1_000_000 <= parse_duration(text) <= 600_000_000
    except InvalidArgument:
        return True  # told already, with the field


def _is_loopback(text: str) -> bool:
    from nvr.errors import InvalidArgument

    try:
        return Address(text).is_loopback
    except InvalidArgument:
        return True  # told already
