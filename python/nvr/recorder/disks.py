"""Watches the stores' disks: takes into use those that come, and says what is wrong with which."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nvr.errors import NvrError
from nvr.footage.types import Event
from nvr.node.events import EventBus
from nvr.node.folder_lock import FolderLocks
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["DiskWatch"]

logger = logging.getLogger("nvr.recorder")

_PERIOD_S = 2.0
_RETRY_S = 60.0
"""A disk that came and could not be taken into use is tried again after so long."""


class DiskWatch:
    """Looks every two seconds, for ever."""

    def __init__(
        self,
        store: "_core.Store",
        locks: FolderLocks,
        *,
        pool: ReadPool,
        events: EventBus,
        node: str,
        now_us: Callable[[], int],
        came: Callable[[], Awaitable[None]],
    ) -> None:
        """``came``: awaited when a disk's footage is there again."""
        self._store = store
        self._locks = locks
        self._pool = pool
        self._events = events
        self._node = node
        self._now_us = now_us
        self._came = came
        self._troubled: dict[str, str] = {}
        self._retry_s: dict[Path, float] = {}

    async def run(self) -> None:
        """Returns when it is cancelled."""
        while True:
            for root in await self._pool.run(self._store.look_at_disks):
                await self._take_up(root)
            self._tell()
            await asyncio.sleep(_PERIOD_S)

    async def _take_up(self, root: Path) -> None:
        """A disk that was not there has come."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._retry_s.get(root, 0):
            return
        try:
            # It may be another mount of the disk than the one that was locked.
            self._locks.take(root)
            for line in await self._pool.run(self._store.take_up, root):
                logger.warning("repaired: %s", line)
        except NvrError as error:
            self._retry_s[root] = now_s + _RETRY_S
            logger.error(  # noqa: TRY400
                "store %s: its disk is there, and cannot be used: %s; tried again in a minute", root, error
            )
        else:
            self._retry_s.pop(root, None)
            await self._came()

    def _tell(self) -> None:
        """Says once, in words, that a disk fails, and that it is well again."""
        now = {root: (reason, detail) for root, reason, detail in self._store.troubles()}
        for root, (reason, detail) in now.items():
            if self._troubled.get(root) != reason:
                self._troubled[root] = reason
                text = f"store {root}: {detail}; its cameras are recorded on another store if there is one"
                logger.error("%s: %s", reason, text)
                self._publish(reason, reason, text)
        for root in self._troubled.keys() - now.keys():
            reason = self._troubled.pop(root)
            text = f"store {root}: records again"
            logger.warning("%s", text)
            self._publish("disk_recovered", reason, text)

    def _publish(self, kind: str, reason: str, detail: str) -> None:
        self._events.publish(Event(self._now_us(), kind, reason=reason, detail=detail, node=self._node))
