"""The cap on what a child sends: a token bucket, with other rates at other hours of the day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time

__all__ = ["CapHours", "CapSchedule", "Shaper", "wire_bytes"]

_BURST_S = 0.02
"""How much may go at once, in seconds of the cap: little, or urgent frames wait behind it in the modem."""


@dataclass(frozen=True, slots=True)
class CapHours:
    """A cap for some hours of each day; ``start`` may be later than ``end``: over midnight."""

    start: time
    end: time
    bits_per_s: int | None
    """None: no cap."""

    def holds_at(self, at: time) -> bool:
        """Whether it is the cap at a time of day; equal ``start`` and ``end``: all day."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(frozen=True, slots=True)
class CapSchedule:
    """The cap, and what it is at other hours: the first that holds counts."""

    bits_per_s: int | None = None
    hours: Sequence[CapHours] = ()

    def at(self, at: time) -> int | None:
        """Bits a second at a time of day; None: no cap."""
        return next((hours.bits_per_s for hours in self.hours if hours.holds_at(at)), self.bits_per_s)


def wire_bytes(frame_bytes: int) -> int:
    """What a frame takes on the line, about: gRPC, HTTP/2, TLS records, TCP and IP on 1,500-byte packets."""
    return frame_bytes + 60 + frame_bytes // 20


class Shaper:
    """A token bucket of bits that may be overdrawn by one frame; then nothing goes until that is paid."""

    def __init__(self, now_s: float) -> None:
        self._rate: int | None = None
        self._tokens = 0.0
        self._at_s = now_s

    @property
    def bits_per_s(self) -> int | None:
        """The cap now."""
        return self._rate

    def set_rate(self, bits_per_s: int | None, now_s: float) -> None:
        """Another cap from now on."""
        self._fill(now_s)
        self._rate = bits_per_s
        if bits_per_s is None:
            self._tokens = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until something may be sent; 0: now."""
        if self._rate is None:
            return 0.0
        self._fill(now_s)
        return max(0.0, -self._tokens / self._rate)

    def sent(self, size_bytes: int, now_s: float) -> None:
        """So much was sent."""
        if self._rate is not None:
            self._fill(now_s)
            self._tokens -= size_bytes * 8

    def frame_bytes(self, most: int, least: int) -> int:
        """How long a frame may be that others do not wait behind for more than 20 ms."""
        if self._rate is None:
            return most
        return max(least, min(most, int(self._rate * _BURST_S / 8)))

    def _fill(self, now_s: float) -> None:
        if self._rate is not None:
            self._tokens = min(self._tokens + (now_s - self._at_s) * self._rate, self._rate * _BURST_S)
        self._at_s = now_s
