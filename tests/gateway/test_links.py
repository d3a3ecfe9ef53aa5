"""Links to children: that they end when the node does, whatever they are at."""

import asyncio
from typing import cast

from nvr.directory.directory import Directory
from nvr.directory.feed import RemoteDirectory
from nvr.errors import NodeUnavailable
from nvr.footage.channel import dial
from nvr.footage.source import Answer
from nvr.footage.types import NodeInfo
from nvr.gateway.links import Link, RemoteChild
from tests.directory.entries import node
from tests.footage.memory import MemoryFootage, memory_world


class LastWords(MemoryFootage):
    """Once it is known, a call to it takes a moment to be cancelled, as one over a connection does."""

    def __init__(self) -> None:
        super().__init__(memory_world())
        self.asked = 0
        self.measured = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def node(self) -> NodeInfo:
        self.asked += 1
        if self.asked > 1:
            self.measured.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
                await asyncio.sleep(0.05)
        return await super().node()


class BreakingDirectory:
    """Breaks off when the clock of the child is being measured."""

    def __init__(self, footage: LastWords) -> None:
        self._footage = footage

    async def watch_directory(self, *_: object) -> Answer[object]:
        await self._footage.measured.wait()
        raise NodeUnavailable("the child stops")
        yield


async def test_a_link_that_is_lost_just_as_the_node_stops_ends() -> None:
    directory = Directory(None, node("top"))
    footage = LastWords()
    # Nobody is at its address: all that the link asks is answered here.
    channel = dial("127.0.0.1:1")
    child = RemoteChild(channel, "child")
    child.footage, child.directory = footage, cast(RemoteDirectory, BreakingDirectory(footage))
    link = Link(child, directory, target="child")
    running = asyncio.create_task(link.run())
    await footage.cancelled.wait()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=20)
    assert done, "the link goes on though it was ended"
    assert running.cancelled()
    directory.close()
    await channel.close()
