"""Trees of nodes in one process, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nvr.directory.directory import Directory
from nvr.directory.feed import directory_handlers
from nvr.directory.types import CameraEntry, node_entry
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.source import FootageSource
from nvr.footage.types import CAPABILITIES, Camera, NodeInfo, NodeKind, ReadContext
from nvr.gateway.fanout import Fanout
from nvr.gateway.federated import FederatedFootage
from nvr.gateway.links import Link, Links, RemoteChild
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.held import HeldAreas
from nvr.uplink.hub import Uplink
from tests.directory.entries import node_id
from tests.footage.serving import MemoryAudit


async def directory_of(source: FootageSource) -> Directory:
    """What a leaf tells the node above: its cameras, as it lists them."""
    directory = Directory(None, node_entry(await source.node()))
    cameras = [each async for each in source.list_cameras(ReadContext()) if isinstance(each, Camera)]
    directory.put_cameras(CameraEntry("", camera) for camera in cameras)
    return directory


@dataclass
class Served:
    """A node that can be stopped and started again at the same address."""

    source: FootageSource
    directory: Directory
    name: str
    address: str = ""
    server: NodeServer | None = None
    with_directory: bool = True

    async def start(self, unix: Path | None = None) -> None:
        services = [lambda runner: directory_handlers(self.directory, runner)] if self.with_directory else []
        self.server = NodeServer(self.source, node=self.name, audit=MemoryAudit(), services=services)
        if unix is not None:
            self.address = f"unix:{unix}"
        port = self.server.listen(self.address or "127.0.0.1:0")
        self.address = self.address or f"127.0.0.1:{port}"
        await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(0)


@dataclass
class Gateway:
    """A gateway's parts, put together as its node does."""

    info: NodeInfo
    directory: Directory
    links: Links
    fanout: Fanout
    footage: FederatedFootage
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def settled(self) -> None:
        """Returns when all children are there."""
        for link in self.links:
            await link.until(up=True)


@asynccontextmanager
async def serving(source: FootageSource, *, unix: Path | None = None) -> AsyncIterator[Served]:
    """A leaf behind a server."""
    directory = await directory_of(source)
    served = Served(source, directory, directory.own.name)
    await served.start(unix)
    try:
        yield served
    finally:
        await served.stop()
        directory.close()


@asynccontextmanager
async def gateway(
    name: str,
    addresses: Sequence[str],
    *,
    path: Path | None = None,
    timeout_s: float = 20.0,
    at_once: int = 256,
    asked: Callable[[int, object], None] = lambda _contacted, _omissions: None,
    wait: bool = True,
    uplinks: Sequence[Uplink] = (),
    kind: type[FederatedFootage] = FederatedFootage,
    capabilities: Sequence[str] = CAPABILITIES,
    tree: AreaTree | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway over nodes at addresses, and those that dial it. ``tree``: the areas that it knows."""
    async with AsyncExitStack() as stack:
        info = NodeInfo(node_id(name), name, "0.2.0", capabilities, kind=NodeKind.GATEWAY)
        directory = Directory(path, node_entry(info))
        stack.callback(directory.close)
        links, fanout = Links(directory), Fanout(at_once=at_once, timeout_s=timeout_s)
        stack.callback(fanout.close)
        footage = kind(
            node=info,
            directory=directory,
            links=links,
            fanout=fanout,
            areas=HeldAreas(directory, None if tree is None else lambda: tree),
            asked=asked,
        )
        made = Gateway(info, directory, links, fanout, footage)
        children = [RemoteChild(uplink.channel, f"uplink {uplink.name}", uplink=uplink) for uplink in uplinks]
        targets = [f"uplink {uplink.name}" for uplink in uplinks]
        for address in addresses:
            channel = dial(address)
            stack.push_async_callback(channel.close)
            children.append(RemoteChild(channel, address))
            targets.append(address)
        for child, target in zip(children, targets, strict=True):
            link = Link(child, directory, target=target)
            links.add(link)
            made.tasks.append(asyncio.create_task(link.run()))
        try:
            if wait:
                await made.settled()
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            await asyncio.gather(*made.tasks, return_exceptions=True)


@asynccontextmanager
async def served_gateway(made: Gateway) -> AsyncIterator[Served]:
    """A gateway behind a server, so that another can stand above it."""
    served = Served(made.footage, made.directory, made.info.name)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()
