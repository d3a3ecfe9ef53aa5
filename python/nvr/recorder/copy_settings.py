"""``[[copy]]``: footage of other nodes that this one keeps a copy of."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from nvr.settings.fields import AbsolutePath, DurationUs, ListenAddress, Section

__all__ = ["CopySettings", "parse_rate"]

_RATE = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?(kbit|Mbit|Gbit)", re.ASCII)
_RATE_UNITS = {"kbit": 1_000, "Mbit": 1_000_000, "Gbit": 1_000_000_000}
_LEAST_US = 1_000_000


def parse_rate(text: str) -> int:
    """Bits a second of ``"2Mbit"``, ``"500kbit"``, ``"1.5Gbit"``; 1 kbit = 1000 bits."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a rate such as 500kbit, 2Mbit or 1.5Gbit (a second)")
    fraction = match[2] or ""
    rate: int = int(match[1] + fraction) * _RATE_UNITS[match[3]] // 10 ** len(fraction)
    if rate < _RATE_UNITS["kbit"]:
        raise ValueError("must be at least 1kbit; leave the line out for no cap")
    return rate


def _rate(value: object) -> int:
    # Pydantic takes a ValueError as a fault of the file, not of the program.
    if not isinstance(value, str):
        raise ValueError('write it as text, such as "2Mbit"')  # noqa: TRY004
    return parse_rate(value)


def _not_too_short(duration_us: int) -> int:
    if duration_us < _LEAST_US:
        raise ValueError("must be at least 1s")
    return duration_us


class CopySettings(Section):
    """One source of copies."""

    source: ListenAddress = Field(alias="from")
    """gRPC address of the node that recorded: host:port."""
    cameras: list[str] = Field(default=[], max_length=1000)
    """Names or ids at the source; default: all that it has."""
    stream: Literal["main", "sub"] = "main"
    """Which stream of them."""
    since: Annotated[DurationUs, AfterValidator(_not_too_short)] = 7 * 86_400_000_000
    """How far back, from now; stored as microseconds."""
    cap: Annotated[int, BeforeValidator(_rate)] | None = None
    """The most that is fetched, in bits a second; default: no cap."""
    every: Annotated[DurationUs, AfterValidator(_not_too_short)] = 30_000_000
    """How often to look for what is new; stored as microseconds."""
    ca: AbsolutePath | None = None
    """PEM file of the authorities whose certificate the source shows; with it, TLS is used."""
