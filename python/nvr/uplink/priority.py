"""What goes first on a line that is too slow for all: control, live, clips, bulk."""

from collections.abc import Collection
from enum import IntEnum
from typing import Any

from nvr.v1 import uplink_pb2

__all__ = ["Picker", "Priority", "priority_of"]

_SHARE = 0.05
"""Of what goes before it a class gets so much all the same: it is slow, and never at a standstill …"""
_TURN_BYTES = 16 << 10
"""… in turns of about so much."""


class Priority(IntEnum):
    """Classes of answers; lower goes first. The values are those of ``nvr.v1.UplinkPriority``."""

    CONTROL = uplink_pb2.UPLINK_PRIORITY_CONTROL
    LIVE = uplink_pb2.UPLINK_PRIORITY_LIVE
    CLIPS = uplink_pb2.UPLINK_PRIORITY_CLIPS
    BULK = uplink_pb2.UPLINK_PRIORITY_BULK

    def to_pb(self) -> Any:
        """As the wire has it."""
        return int(self)

    @classmethod
    def from_pb(cls, value: int) -> "Priority":
        """The class of the wire; one that this version does not know is that of clips."""
        try:
            return cls(value)
        except ValueError:
            return cls.CLIPS


_LIVE = frozenset({"WatchLive", "Snapshot"})
_CLIPS = frozenset({"ReadClip", "ReadFragments", "ReadFrames"})
# Why copies are read; travels with the read through every tier.
_BULK_PURPOSES = frozenset({"copy"})


def priority_of(method: str, request: Any) -> Priority:
    """The class of a call. ``method``: ``/nvr.v1.FootageService/ReadClip``."""
    name = method.rpartition("/")[2]
    if name in _LIVE:
        return Priority.LIVE
    if name not in _CLIPS:
        return Priority.CONTROL
    purpose = getattr(getattr(request, "context", None), "purpose", "")
    return Priority.BULK if purpose in _BULK_PURPOSES else Priority.CLIPS


class Picker:
    """Whose turn it is: the most urgent class, and now and then one that waits behind it."""

    def __init__(self) -> None:
        self._owed = dict.fromkeys(Priority, 0.0)

    def pick(self, waiting: Collection[Priority]) -> Priority:
        """The class that sends next; ``waiting`` is not empty."""
        for each in Priority:
            if each not in waiting:
                self._owed[each] = 0.0
        due = (each for each in sorted(waiting) if self._owed[each] >= _TURN_BYTES)
        return next(due, min(waiting))

    def sent(self, priority: Priority, size: int, waiting: Collection[Priority]) -> None:
        """A class has sent so many bytes while these were waiting."""
        self._owed[priority] = max(0.0, self._owed[priority] - size)
        for each in waiting:
            if each > priority:
                self._owed[each] += size * _SHARE
