"""Live streams: one watch of the source, however many clients look."""

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from nvr.errors import Closed, NodeUnavailable, NvrError
from nvr.footage.source import FootageSource
from nvr.footage.types import LiveUnit, Notice, ReadContext, StreamName
from nvr.rtsp.formats import format_of

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Feed", "LiveFeeds"]

logger = logging.getLogger("nvr.rtsp")


class Feed:
    """A stream that is being watched, for as long as somebody uses it."""

    def __init__(self, core: "_core.RtspFeed", name: str) -> None:
        self.core = core
        self.name = name
        self.format: _core.RtspFormat | None = None
        self.users = 0
        self.error: NvrError | None = None
        self.task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def begun(self, within_s: float) -> "_core.RtspFormat":
        """Its format, once the first picture came. Raises what ended it before, :exc:`NodeUnavailable`."""
        try:
            async with asyncio.timeout(within_s):
                await self._begun.wait()
        except TimeoutError:
            raise NodeUnavailable(f"{self.name} sends no pictures now") from None
        if self.format is None:
            raise self.error or Closed(f"{self.name} is not recorded any more")
        return self.format

    def push(self, unit: LiveUnit) -> bool:
        """Hands a unit to all who watch; False: they cannot go on."""
        if unit.config is not None:
            self.format = format_of(unit.config)
            if not self.core.set_format(self.format):
                return False
        self.core.push(
            unit.data,
            audio=unit.audio,
            pts=unit.pts,
            arrival_us=unit.arrival_us,
            random_access=unit.random_access,
            run_id=unit.run_id,
        )
        self._begun.set()
        return True

    def end(self) -> None:
        """Says goodbye to all who watch."""
        self.core.close()
        self._begun.set()


class LiveFeeds:
    """The streams that are watched now. For the event loop's thread only."""

    def __init__(self, source: FootageSource, server: "_core.RtspServer", linger_s: float) -> None:
        self._source = source
        self._server = server
        self._linger_s = linger_s
        self._feeds: dict[tuple[str, StreamName], Feed] = {}

    def use(self, camera_id: str, stream: StreamName) -> Feed:
        """The stream's feed, begun if need be; to be given back by :meth:`leave`."""
        key = (camera_id, stream)
        feed = self._feeds.get(key)
        if feed is None:
            feed = Feed(self._server.feed(), f"{camera_id} ({stream})")
            feed.task = asyncio.create_task(
                self._watch(feed, camera_id, stream), name=f"nvr-rtsp-{feed.name}"
            )
            self._feeds[key] = feed
        feed.users += 1
        return feed

    def leave(self, feed: Feed) -> None:
        """It is used no more; it goes on for a moment, as DESCRIBE is followed by PLAY."""
        feed.users -= 1
        if not feed.users:
            asyncio.get_running_loop().call_later(self._linger_s, self._stop_unused, feed)

    def _stop_unused(self, feed: Feed) -> None:
        if not feed.users and feed.task is not None:
            feed.task.cancel()

    async def close(self) -> None:
        """Ends all of them."""
        tasks = [feed.task for feed in self._feeds.values() if feed.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self, feed: Feed, camera_id: str, stream: StreamName) -> None:
        context = ReadContext(purpose="rtsp")
        try:
            async with aclosing(self._source.watch_live(context, camera_id, stream)) as steps:  # type: ignore[type-var]
                async for step in steps:
                    if isinstance(step, LiveUnit):
                        if not feed.push(step):
                            logger.info("%s is coded otherwise now: its viewers must begin anew", feed.name)
                            break
                    elif isinstance(step, Notice):
                        logger.info("%s: %s", feed.name, step.message)
        except NvrError as error:
            logger.info("%s is watched no more: %s", feed.name, error)
            feed.error = error
        finally:
            if self._feeds.get((camera_id, stream)) is feed:
                del self._feeds[(camera_id, stream)]
            feed.end()
