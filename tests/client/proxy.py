"""A TCP proxy that cuts connections, or slows them down."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class CuttingProxy:
    """Passes bytes on; cuts each connection once the node has sent so many, in turn."""

    def __init__(self, target: str, cuts: Sequence[int]) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._cuts = list(cuts)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._is_down = False
        self.cut = 0
        self.trickle = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.address = ""

    def down(self) -> None:
        """Cuts all connections and refuses new ones, until :meth:`up`."""
        self._is_down = True
        for writer in self._open:
            writer.transport.abort()

    def up(self) -> None:
        """Passes on again."""
        self._is_down = False

    def stall(self) -> None:
        """Passes nothing on, and says nothing of it: a cable pulled."""
        self.flowing.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self._is_down:
            writer.transport.abort()
            return
        budget = self._cuts.pop(0) if self._cuts else None
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        forward = asyncio.create_task(self._pass(reader, up_writer, None))
        self._tasks.add(forward)
        self._open |= {writer, up_writer}
        forward.add_done_callback(self._tasks.discard)
        try:
            await self._pass(up_reader, writer, budget)
        finally:
            forward.cancel()
            self._open -= {writer, up_writer}
            for each in (writer, up_writer):
                each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None
    ) -> None:
        try:
            while data := await reader.read(65536):
                if budget is not None:
                    data = data[:budget]
                    budget -= len(data)
                await self.flowing.wait()
                if self.trickle:
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
                if budget == 0:
                    self.cut += 1
                    return
        except ConnectionError:
            return


@asynccontextmanager
async def cutting(target: str, cuts: Sequence[int]) -> AsyncIterator[CuttingProxy]:
    """A proxy before ``target``; ``cuts``: after how many bytes to cut each connection in turn."""
    proxy = CuttingProxy(target, cuts)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.address = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.down()
        proxy.flowing.set()
