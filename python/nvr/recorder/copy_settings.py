"""``[[copy]]``: footage of other nodes that this one keeps a copy of."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nvr.settings.fields import AbsolutePath, DurationUs, ListenAddress, RateBits, Section

__all__ = ["CopySettings"]

_LEAST_US = 1_000_000


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
    cap: RateBits | None = None
    """The most that is fetched, in bits a second; default: no cap."""
    every: Annotated[DurationUs, AfterValidator(_not_too_short)] = 30_000_000
    """How often to look for what is new; stored as microseconds."""
    ca: AbsolutePath | None = None
    """PEM file of the authorities whose certificate the source shows; with it, TLS is used."""
