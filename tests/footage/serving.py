"""A source behind a real gRPC server, and a remote source in front of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from nvr.footage.admin import CameraAdmin
from nvr.footage.calls import CallObserver, Limits
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.remote import RemoteCameraAdmin, RemoteFootage
from nvr.footage.source import FootageSource
from nvr.security.audit import AuditEntry
from nvr.security.identity import Policy


async def drain_into(got: list[Any], answer: AsyncIterator[Any]) -> None:
    """Keeps what comes, so that it is there when the answer fails."""
    async for step in answer:
        got.append(step)  # noqa: PERF401 - see above


async def until(condition: Callable[[], bool]) -> None:
    """Returns when what the node does in its own time has happened; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)


class MemoryAudit:
    """Keeps the record in memory; ``fail`` makes a line fail."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, AuditEntry, str]] = []
        self.sent_bytes: list[int] = []
        self.fail: Exception | None = None

    async def opened(self, entry: AuditEntry, *, durable: bool) -> None:
        if self.fail is not None:
            raise self.fail
        self.lines.append(("opened", entry, "durable" if durable else ""))

    async def closed(self, entry: AuditEntry, *, outcome: str, sent_bytes: int) -> None:
        self.lines.append(("closed", entry, outcome))
        self.sent_bytes.append(sent_bytes)

    def outcomes(self) -> list[str]:
        return [what for event, _, what in self.lines if event == "closed"]


@dataclass
class Served:
    server: NodeServer
    channel: grpc.aio.Channel
    source: RemoteFootage
    admin: RemoteCameraAdmin
    audit: MemoryAudit
    address: str


@asynccontextmanager
async def serve(
    source: FootageSource,
    *,
    unix: Path | None = None,
    cameras: CameraAdmin | None = None,
    limits: Limits | None = None,
    policy: Policy | None = None,
    observers: Sequence[CallObserver] = (),
) -> AsyncIterator[Served]:
    audit = MemoryAudit()
    server = NodeServer(
        source,
        node="station-1",
        audit=audit,
        cameras=cameras,
        limits=limits,
        policy=policy,
        observers=observers,
    )
    if unix is not None:
        address = f"unix:{unix}"
        server.listen(address)
    else:
        address = f"127.0.0.1:{server.listen('127.0.0.1:0')}"
    await server.start()
    channel = dial(address)
    try:
        remote = RemoteFootage(channel, target=address)
        yield Served(server, channel, remote, RemoteCameraAdmin(channel, target=address), audit, address)
    finally:
        await channel.close()
        await server.stop(0)
