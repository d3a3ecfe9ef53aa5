"""How long it takes to fetch something over slow lines."""

from __future__ import annotations

from collections.abc import Sequence

from nvr.footage.time import format_duration
from nvr.footage.types import ClipPart, LineSpeed

__all__ = ["estimate_text", "rate_text", "seconds_for"]

_US = 1_000_000


def seconds_for(parts: Sequence[ClipPart]) -> float | None:
    """About how long the bytes of these parts take; None: no line is known to be slow.

    Lines carry at the same time, and each one part after another.
    """
    by_line: dict[str, float] = {}
    for part in parts:
        if part.line is not None and part.line.bits_per_s:
            took_s = part.size_bytes * 8 / part.line.bits_per_s
            by_line[part.line.node] = by_line.get(part.line.node, 0.0) + took_s
    return max(by_line.values(), default=None)


def estimate_text(parts: Sequence[ClipPart]) -> str:
    """``about 12m over the line of house-7 (cap 4 Mbit/s)``; empty when no line is known to be slow."""
    seconds = seconds_for(parts)
    if seconds is None:
        return ""
    slowest: LineSpeed | None = None
    for part in parts:
        if part.line is None or not part.line.bits_per_s:
            continue
        if slowest is None or part.line.bits_per_s < slowest.bits_per_s:
            slowest = part.line
    if slowest is None:
        return ""
    how = "cap " if slowest.bits_per_s == slowest.cap_bits_per_s else "lately "
    duration = format_duration(max(1, round(seconds)) * _US)
    return f"about {duration} over the line of {slowest.node} ({how}{rate_text(slowest.bits_per_s)})"


def rate_text(bits_per_s: int) -> str:
    """A rate for people: ``4 Mbit/s``."""
    for factor, unit in ((10**9, "Gbit"), (10**6, "Mbit"), (10**3, "kbit")):
        if bits_per_s >= factor:
            return f"{bits_per_s / factor:.3g} {unit}/s"
    return f"{bits_per_s} bit/s"
