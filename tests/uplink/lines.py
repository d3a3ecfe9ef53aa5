"""A parent and children in one process, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvr.directory.directory import Directory
from nvr.directory.feed import directory_handlers
from nvr.footage.node_server import NodeServer
from nvr.footage.source import FootageSource
from nvr.footage.types import CAPABILITIES, NodeInfo, NodeKind
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_certificate
from nvr.uplink.child import UplinkChild
from nvr.uplink.hub import UplinkHub
from nvr.uplink.shaper import CapSchedule
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import MemoryAudit
from tests.gateway.tree import directory_of


@dataclass
class Parent:
    """A hub behind a server, which can be stopped and started again at the same address."""

    hub: UplinkHub
    info: NodeInfo
    key: NodeKey
    tls: TlsFiles | None
    address: str = ""
    server: NodeServer | None = None

    async def start(self) -> None:
        self.hub = UplinkHub(self.key, self.info)
        self.server = NodeServer(
            MemoryFootage(memory_world()),
            node=self.info.name,
            audit=MemoryAudit(),
            services=[lambda _runner: self.hub.handlers()],
            tls=self.tls,
        )
        port = self.server.listen(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self.server.start()

    async def stop(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            await self.hub.close()
            await server.stop(0)


def node_key(folder: Path) -> NodeKey:
    folder.mkdir(parents=True, exist_ok=True)
    return NodeKey.load_or_create(folder)


@asynccontextmanager
async def parent(folder: Path, *, name: str = "ward", tls: TlsFiles | None = None) -> AsyncIterator[Parent]:
    key = node_key(folder)
    info = NodeInfo(key.id, name, "0.2.0", CAPABILITIES, kind=NodeKind.GATEWAY)
    made = Parent(UplinkHub(key, info), info, key, tls)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@dataclass
class Child:
    """A leaf that dials."""

    uplink: UplinkChild
    source: FootageSource
    task: "asyncio.Task[None]"
    audit: MemoryAudit

    async def until(self, *, up: bool) -> None:
        while self.uplink.up != up:
            assert not self.task.done() or self.task.result()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def child(
    address: str,
    *,
    source: FootageSource | None = None,
    tls: TlsFiles | None = None,
    schedule: CapSchedule | None = None,
    keepalive_s: float = 5.0,
    info: NodeInfo | None = None,
    directory: Directory | None = None,
    **options: Any,
) -> AsyncIterator[Child]:
    source = source or MemoryFootage(memory_world())
    own = directory is None
    directory = directory or await directory_of(source)
    audit = MemoryAudit()
    made = UplinkChild(
        info=info or await source.node(),
        parent=address,
        tls=tls,
        make_server=lambda caller: NodeServer(
            source,
            node=directory.own.name,
            audit=audit,
            services=[lambda runner: directory_handlers(directory, runner)],
            caller=caller,
        ),
        schedule=schedule,
        keepalive_s=keepalive_s,
        backoff_s=0.02,
        **options,
    )
    task = asyncio.create_task(made.run())
    try:
        yield Child(made, source, task, audit)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if own:
            directory.close()


@dataclass(frozen=True)
class Certificate:
    """A node with its certificate."""

    key: NodeKey
    pem: Path
    private: Path


def certificate(folder: Path, *, name: str, hosts: Sequence[str] = ()) -> Certificate:
    key = node_key(folder)
    pem, private = issue_certificate(key, name=name, hosts=hosts)
    (folder / "tls.pem").write_bytes(pem)
    (folder / "tls.key").write_bytes(private)
    return Certificate(key, folder / "tls.pem", folder / "tls.key")


def tls_between(folder: Path, own: Certificate, *peers: Certificate) -> TlsFiles:
    """One end's files: it trusts these peers."""
    trusted = folder / f"trusted-{own.key.id[:8]}.pem"
    trusted.write_bytes(b"".join(peer.pem.read_bytes() for peer in peers))
    return TlsFiles(own.pem, own.private, trusted)
