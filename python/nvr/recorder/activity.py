"""Which cameras' pictures arrive, since when and how much, by a clock that is never set."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Activity", "Sampler"]

_US_PER_S = 1_000_000
# A camera with a picture a second still counts as recorded.
_STILL_S = 4.0
_RATE_PERIOD_S = 1.0
_RATE_WEIGHT = 0.3


class StreamStatus(Protocol):
    """What is read of ``nvr._core.StreamStatus``."""

    camera_id: str
    stream: str
    state: str
    reason: str
    frames: int
    bytes: int
    reconnects: dict[str, int]


@dataclass(frozen=True, slots=True)
class Activity:
    """Of a camera: of its main stream, but for ``bitrate_bps``, which is of all its streams."""

    recording: bool = False
    recording_for_us: int = 0
    reason: str = ""
    bitrate_bps: int = 0


@dataclass(slots=True)
class _Stream:
    frames: int = -1
    sessions: int = -1
    moved_s: float = float("-inf")
    since_s: float | None = None
    rate_s: float = 0.0
    rate_bytes: int = 0
    bps: float = 0.0


class Sampler:
    """Compares the counters of streams with those of the sample before."""

    def __init__(self, status: Callable[[], Iterable[StreamStatus]]) -> None:
        self._status = status
        self._streams: dict[tuple[str, str], _Stream] = {}

    def sample(self) -> dict[str, Activity]:
        """By camera. Not for two threads at once."""
        now_s = time.monotonic()
        found: dict[str, Activity] = {}
        seen = set()
        for status in self._status():
            key = (status.camera_id, status.stream)
            seen.add(key)
            stream = self._streams.setdefault(key, _Stream(rate_s=now_s, rate_bytes=status.bytes))
            self._follow(stream, status, now_s)
            before = found.get(status.camera_id, Activity())
            bps = before.bitrate_bps + round(stream.bps)
            if status.stream == "main":
                since_s = stream.since_s
                found[status.camera_id] = Activity(
                    recording=since_s is not None,
                    recording_for_us=0 if since_s is None else round((now_s - since_s) * _US_PER_S),
                    reason=status.reason,
                    bitrate_bps=bps,
                )
            else:
                found[status.camera_id] = Activity(
                    before.recording, before.recording_for_us, before.reason, bps
                )
        for key in self._streams.keys() - seen:
            del self._streams[key]
        return found

    @staticmethod
    def _follow(stream: _Stream, status: StreamStatus, now_s: float) -> None:
        sessions = sum(status.reconnects.values())
        if sessions != stream.sessions:
            stream.sessions, stream.since_s, stream.moved_s = sessions, None, float("-inf")
        elif status.frames > stream.frames >= 0:
            stream.moved_s = now_s
        stream.frames = status.frames
        if status.state != "recording" or now_s - stream.moved_s > _STILL_S:
            stream.since_s = None
        elif stream.since_s is None:
            stream.since_s = now_s
        passed_s = now_s - stream.rate_s
        if passed_s >= _RATE_PERIOD_S:
            bps = max(0, status.bytes - stream.rate_bytes) * 8 / passed_s
            if bps:
                # What it sends when it sends: a camera that is away needs its room when it is back.
                stream.bps = bps if not stream.bps else stream.bps + _RATE_WEIGHT * (bps - stream.bps)
            stream.rate_s, stream.rate_bytes = now_s, status.bytes
