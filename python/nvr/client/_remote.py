"""A node as the client needs it: its footage, and the administration of its cameras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nvr.errors import DeadlineExceeded, NodeUnavailable
from nvr.footage.admin import CameraAdmin
from nvr.footage.source import FootageSource
from nvr.footage.types import NodeInfo

if TYPE_CHECKING:
    import grpc


class Node:
    """A connection by gRPC (which is loaded only here)."""

    def __init__(
        self,
        address: str,
        *,
        tls: bool,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        timeout_us: int,
    ) -> None:
        from nvr.footage.channel import dial
        from nvr.footage.remote import RemoteCameraAdmin, RemoteFootage
        from nvr.security.tls import TlsFiles

        files = TlsFiles(certificate=certificate, key=key, authorities=ca) if tls else None
        timeout_s = timeout_us / 1_000_000
        self._address = address
        self._tls = tls
        self._channel: grpc.aio.Channel = dial(address, files)
        self.footage: FootageSource = RemoteFootage(self._channel, target=address, timeout_s=timeout_s)
        self.admin: CameraAdmin = RemoteCameraAdmin(self._channel, target=address, timeout_s=timeout_s)

    async def hello(self, timeout_us: int) -> NodeInfo:
        """Who answers there; raises :exc:`nvr.errors.NodeUnavailable` when nobody does in time."""
        from nvr.footage.remote import RemoteFootage

        first = RemoteFootage(self._channel, target=self._address, timeout_s=timeout_us / 1_000_000)
        try:
            return await first.node()
        except DeadlineExceeded:
            raise
        except NodeUnavailable as error:
            raise NodeUnavailable(
                f"no node answers at {self._address}: is it running there, and does it use "
                f"{'TLS' if self._tls else 'no TLS'} as you do? ({error.message})"
            ) from error

    async def close(self) -> None:
        """Ends it."""
        await self._channel.close()
