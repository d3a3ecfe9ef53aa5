"""From the core's watchers to asyncio: one eventfd wakes the loop, and nothing is called per frame."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nvr.footage.types import StreamName
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr._core import Ingest, LiveUnit, StreamEvent

__all__ = ["LiveHub"]


class LiveHub:
    """Wakes the watchers of an ``Ingest``. For the event loop's thread only."""

    def __init__(self, ingest: "Ingest", pool: ReadPool) -> None:
        self._ingest = ingest
        self._pool = pool
        self._ready: dict[int, asyncio.Event] = {}
        self._fd = ingest.notify_fd()
        self._stopping = False

    def start(self) -> None:
        """Begins to listen, on the running loop."""
        asyncio.get_running_loop().add_reader(self._fd, self._on_ready)

    def stop(self) -> None:
        """Ends all watches."""
        asyncio.get_running_loop().remove_reader(self._fd)
        self._stopping = True
        for ready in self._ready.values():
            ready.set()

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        return len(self._ready)

    async def live(
        self, camera_id: str, stream: StreamName, *, audio: bool
    ) -> AsyncIterator[Sequence["LiveUnit"]]:
        """Units as they come, as many at once as there are; ends when the stream or the node does."""
        # Reads the group of pictures to join with from disk.
        watch = await self._pool.run(self._ingest.watch_live, camera_id, stream, audio=audio)
        try:
            with self._registered(watch.id) as ready:
                while not self._stopping:
                    # Cleared before the look, so that what comes after it wakes the wait.
                    ready.clear()
                    if units := watch.take():
                        yield units
                    elif watch.closed():
                        return
                    else:
                        await ready.wait()
        finally:
            watch.close()

    async def events(self) -> AsyncIterator[Sequence["StreamEvent"]]:
        """What happens to streams, until the hub is stopped."""
        watch = self._ingest.watch_events()
        try:
            with self._registered(watch.id) as ready:
                while True:
                    ready.clear()
                    if events := watch.take():
                        yield events
                    elif self._stopping:
                        return
                    else:
                        await ready.wait()
        finally:
            watch.close()

    @contextmanager
    def _registered(self, watch_id: int) -> Iterator[asyncio.Event]:
        self._ready[watch_id] = ready = asyncio.Event()
        try:
            yield ready
        finally:
            del self._ready[watch_id]

    def _on_ready(self) -> None:
        for watch_id in self._ingest.take_ready():
            if ready := self._ready.get(watch_id):
                ready.set()
