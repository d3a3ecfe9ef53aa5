"""How fast a line is, from what arrives on its other side, and how much may be under way on it.

By the model of BBR (Cardwell et al., ACM Queue 14 (5), 2016): the line carries the
most that it delivered lately, and its round trip is the shortest lately. More under
way than their product only waits in some queue, in front of what is urgent.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["LineMeter"]

_LEAST_BYTES = 64 << 10
_MOST_BYTES = 32 << 20
_GAIN = 1.25
# Acks come in pieces, and the peer's machine may be busy.
_SLACK_S = 0.05
_RATE_WINDOW_S = 5.0
_ROUND_TRIP_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """What had been sent after a frame, and what had arrived by then."""

    total: int
    at_s: float
    delivered: int
    delivered_at_s: float


class _Windowed:
    """The greatest of what was seen in the last seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, value: float, now_s: float) -> None:
        while self._seen and self._seen[-1][1] <= value:
            self._seen.pop()
        self._seen.append((now_s, value))
        # The newest stays however old it is: a line that was idle is as fast as it was.
        while len(self._seen) > 1 and self._seen[0][0] < now_s - self._window_s:
            self._seen.popleft()

    @property
    def greatest(self) -> float | None:
        return self._seen[0][1] if self._seen else None


class LineMeter:
    """Sizes are in bytes as both sides count them."""

    def __init__(self, now_s: float) -> None:
        self._under_way: deque[_Sent] = deque()
        self._sent = 0
        self._delivered = 0
        self._delivered_at_s = now_s
        self._rate = _Windowed(_RATE_WINDOW_S)
        self._round_trip = _Windowed(_ROUND_TRIP_WINDOW_S)

    @property
    def under_way(self) -> int:
        """Sent, and not known to have arrived."""
        return self._sent - self._delivered

    @property
    def bytes_per_s(self) -> float:
        """The most that arrived lately; 0: not measured yet."""
        return self._rate.greatest or 0.0

    @property
    def room(self) -> int:
        """How much more may be under way."""
        shortest_s = -(self._round_trip.greatest or 0.0)
        most = self.bytes_per_s * (shortest_s + _SLACK_S) * _GAIN
        return int(min(_MOST_BYTES, max(_LEAST_BYTES, most))) - self.under_way

    def sent(self, size: int, now_s: float) -> None:
        """A frame was sent."""
        if not self.under_way:
            self._delivered_at_s = now_s
        self._sent += size
        self._under_way.append(_Sent(self._sent, now_s, self._delivered, self._delivered_at_s))

    def arrived(self, total: int, now_s: float) -> None:
        """All that has arrived until now. Raises :exc:`ValueError` for what was not sent."""
        if not self._delivered <= total <= self._sent:
            raise ValueError(f"{total} bytes have arrived, and {self._sent} were sent")
        if total == self._delivered:
            return
        self._delivered, self._delivered_at_s = total, now_s
        last = None
        while self._under_way and self._under_way[0].total <= total:
            last = self._under_way.popleft()
        if last is None:
            return
        took_s = now_s - last.delivered_at_s
        if took_s > 0:
            self._rate.add((total - last.delivered) / took_s, now_s)
        self._round_trip.add(-(now_s - last.at_s), now_s)
