"""Reads all footage again in the background, slowly, and says what is damaged.

The core checks a segment at a time and writes what it finds into the stream's event log; here is when,
and who is told.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvr.errors import NvrError
from nvr.footage.types import Event, StreamName
from nvr.node.events import EventBus
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["ScrubCounts", "Scrubber"]

logger = logging.getLogger("nvr.recorder")

_PASS_PAUSE_S = 3600.0
"""Between the end of a pass and the next, however little there is to read."""
_BUSY_PAUSE_S = 10.0
_RETRY_S = 60.0
_SLOW_WRITE_S = 0.1
"""A disk that takes so long for a fragment has no time to spare."""


@dataclass(slots=True)
class ScrubCounts:
    """Since the node started."""

    bytes: int = 0
    damaged_fragments: int = 0
    passes: int = 0
    pauses: int = 0
    """Because recording was busy."""


class Scrubber:
    """One segment after another, for ever."""

    def __init__(
        self,
        store: "_core.Store",
        pool: ReadPool,
        *,
        bytes_per_s: int,
        events: EventBus,
        node: str,
        now_us: Callable[[], int],
        pass_pause_s: float = _PASS_PAUSE_S,
    ) -> None:
        """``bytes_per_s``: how fast footage is read at most. ``pool``: threads that no caller waits for."""
        self._store = store
        self._pool = pool
        self._bytes_per_s = bytes_per_s
        self._events = events
        self._node = node
        self._now_us = now_us
        self._pass_pause_s = pass_pause_s
        self._slow_writes = 0
        self.counts = ScrubCounts()

    async def run(self) -> None:
        """Returns when it is cancelled."""
        while True:
            try:
                await self._step()
            except NvrError:
                logger.exception("scrub failed; it is tried again in a minute")
                await asyncio.sleep(_RETRY_S)

    async def _step(self) -> None:
        if self._is_busy():
            self.counts.pauses += 1
            await asyncio.sleep(_BUSY_PAUSE_S)
            return
        found = await self._pool.run(self._store.scrub_next, bytes_per_s=self._bytes_per_s)
        if found is None:
            self.counts.passes += 1
            await asyncio.sleep(self._pass_pause_s)
            return
        self.counts.bytes += found.bytes
        for stretch in found.damaged:
            self.counts.damaged_fragments += stretch.fragments
            logger.error("damaged: %s", stretch.detail)
            self._tell("footage_damaged", stretch)
        for stretch in found.intact:
            logger.info("sound again: %s", stretch.detail)
            self._tell("footage_intact", stretch)
        for line in found.problems:
            logger.error("scrub: %s", line)
        for line in found.repaired:
            logger.warning("scrub repaired: %s", line)

    def _is_busy(self) -> bool:
        """Whether a write was slow since the last look."""
        bounds, counts, _ = self._store.io_histograms()["write"]
        slow = sum(
            count
            for bound, count in zip((*bounds, float("inf")), counts, strict=True)
            if bound > _SLOW_WRITE_S
        )
        before, self._slow_writes = self._slow_writes, slow
        return slow > before

    def _tell(self, kind: str, stretch: "_core.DamagedStretch") -> None:
        stream: StreamName = "sub" if stretch.stream == "sub" else "main"
        self._events.publish(
            Event(
                self._now_us(),
                kind,
                camera_id=stretch.camera_id,
                stream=stream,
                reason="damaged",
                detail=stretch.detail,
                node=self._node,
            )
        )
