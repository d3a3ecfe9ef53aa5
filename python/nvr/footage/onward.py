"""What goes on with a call to the nodes that are asked for its answer: its deadline and its trace.

Each tier has a shorter deadline than the one above, so that a node that is late
costs its own answer only: what the others gave still gets through. The trace
context is W3C's (https://www.w3.org/TR/trace-context/), in the metadata
``traceparent``: one trace id through all tiers, a span id for each call.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["TRACE_KEY", "Onward", "begin", "current", "metadata", "timeout_s", "within"]

TRACE_KEY = "traceparent"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

MARGIN_SHARE = 0.1
"""Of the time left, what a tier keeps for itself: to merge, and to send what it has …"""
MARGIN_MIN_S = 0.02
"""… at least so much …"""
MARGIN_MAX_S = 0.5
"""… and at most so much."""
_LEAST_S = 0.001


@dataclass(frozen=True, slots=True)
class Onward:
    """``trace_id`` and ``span_id``: of the call being served; ``deadline_s``: on ``time.monotonic()``."""

    trace_id: str
    span_id: str
    sampled: bool
    deadline_s: float | None = None

    @property
    def traceparent(self) -> str:
        """What the nodes that are asked get."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_current: ContextVar[Onward | None] = ContextVar("nvr_onward", default=None)
_until_s: ContextVar[float | None] = ContextVar("nvr_onward_until", default=None)


def begin(traceparent: str, deadline_s: float | None) -> Onward:
    """Enters a call: its trace is the caller's, or a new one where that is none; its span is new."""
    match = _TRACEPARENT.fullmatch(traceparent)
    given = match is not None and match[1] != _NO_TRACE and match[2] != _NO_SPAN
    onward = Onward(
        trace_id=match[1] if match is not None and given else secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        sampled=match is not None and given and bool(int(match[3], 16) & 1),
        deadline_s=deadline_s,
    )
    _current.set(onward)
    return onward


def current() -> Onward | None:
    """Of the call that the running task serves, if it serves one."""
    return _current.get()


@contextmanager
def within(most_s: float) -> Iterator[None]:
    """What is asked within has to be there in ``most_s``, as if the call being served ended then.

    For questions whose asker set no deadline: a tier that waits as long as the one
    below it would give up first, and lose what that had.
    """
    until_s = time.monotonic() + most_s
    known_s = _until_s.get()
    token = _until_s.set(until_s if known_s is None else min(until_s, known_s))
    try:
        yield
    finally:
        _until_s.reset(token)


def timeout_s(most_s: float | None = None) -> float | None:
    """How long what is asked now may take: ``most_s``, or less where the call being served ends before."""
    onward = _current.get()
    ends = (None if onward is None else onward.deadline_s, _until_s.get())
    end_s = min((end for end in ends if end is not None), default=None)
    if end_s is None:
        return most_s
    left_s = end_s - time.monotonic()
    margin_s = min(MARGIN_MAX_S, max(MARGIN_MIN_S, left_s * MARGIN_SHARE))
    shorter_s = max(_LEAST_S, left_s - margin_s)
    return shorter_s if most_s is None else min(most_s, shorter_s)


def metadata() -> tuple[tuple[str, str], ...]:
    """What to send along with what is asked now."""
    onward = _current.get()
    return () if onward is None else ((TRACE_KEY, onward.traceparent),)
