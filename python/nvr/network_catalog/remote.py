"""The network catalog of another node, over a channel."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import grpc

from nvr.errors import InternalError
from nvr.footage.convert import context_to_pb
from nvr.footage.remote import ItemConverter, Remote
from nvr.footage.types import End, Notice, ReadContext
from nvr.network_catalog import convert
from nvr.network_catalog.changes import (
    Change,
)
from nvr.network_catalog.mover import MoveStep
from nvr.network_catalog.reader import CatalogStanding, StandingState
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry, RetiredArea
from nvr.network_catalog.versions import Version
from nvr.v1 import catalog_pb2, catalog_pb2_grpc

__all__ = ["HeldVersion", "RemoteCatalog", "RemoteHolder"]

PIECE_BYTES = 512 << 10
_STATES = {
    catalog_pb2.CATALOG_STATE_NONE: StandingState.NONE,
    catalog_pb2.CATALOG_STATE_ROOT: StandingState.ROOT,
    catalog_pb2.CATALOG_STATE_HELD: StandingState.HELD,
    catalog_pb2.CATALOG_STATE_AWAY: StandingState.AWAY,
    catalog_pb2.CATALOG_STATE_BEHIND: StandingState.BEHIND,
}


class RemoteCatalog(Remote):
    """Reading at any node, and writing at the root. Raises what the proto says."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = 60.0) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._reader = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._admin = catalog_pb2_grpc.CatalogAdminServiceStub(channel)

    async def standing(self, context: ReadContext) -> CatalogStanding:
        """How the node's catalog stands."""
        request = catalog_pb2.GetCatalogRequest(context=context_to_pb(context))
        answer = await self._unary(self._reader.GetCatalog, request)
        return CatalogStanding(
            _STATES.get(answer.state, StandingState.UNKNOWN),
            answer.catalog_id,
            answer.version,
            answer.made_us,
            answer.areas,
            answer.nodes,
            answer.cameras,
            answer.highest_held,
        )

    def list_areas(
        self, context: ReadContext, within: str = "", *, former: bool = False
    ) -> AsyncIterator[Area | RetiredArea | Notice | End]:
        """Parents before children, former ones last."""
        request = catalog_pb2.ListAreasRequest(context=context_to_pb(context), within=within, former=former)
        return self._stream(self._reader.ListAreas, request, ItemConverter(convert.record_from_pb))

    def list_nodes(self, context: ReadContext) -> AsyncIterator[NodeEntry | Notice | End]:
        """By name."""
        request = catalog_pb2.ListCatalogNodesRequest(context=context_to_pb(context))
        return self._stream(self._reader.ListCatalogNodes, request, ItemConverter(convert.node_from_pb))

    def list_cameras(self, context: ReadContext) -> AsyncIterator[CameraEntry | Notice | End]:
        """By node and name."""
        request = catalog_pb2.ListCatalogCamerasRequest(context=context_to_pb(context))
        return self._stream(self._reader.ListCatalogCameras, request, ItemConverter(convert.camera_from_pb))

    async def change(
        self,
        context: ReadContext,
        changes: Sequence[Change],
        *,
        summary: str = "",
        expected_version: int = 0,
        dry_run: bool = False,
    ) -> Version:
        """One version of all changes."""
        request = catalog_pb2.ChangeCatalogRequest(
            context=context_to_pb(context),
            changes=map(convert.change_to_pb, changes),
            summary=summary,
            expected_version=expected_version,
            dry_run=dry_run,
        )
        return convert.version_from_pb((await self._unary(self._admin.ChangeCatalog, request)).version)

    async def undo(self, context: ReadContext, number: int, *, dry_run: bool = False) -> Version:
        """A version that takes another back."""
        request = catalog_pb2.UndoCatalogVersionRequest(
            context=context_to_pb(context), number=number, dry_run=dry_run
        )
        return convert.version_from_pb((await self._unary(self._admin.UndoCatalogVersion, request)).version)

    def versions(self, context: ReadContext, limit: int = 0) -> AsyncIterator[Version | Notice | End]:
        """The newest versions, newest first."""
        request = catalog_pb2.ListCatalogVersionsRequest(context=context_to_pb(context), limit=limit)
        return self._stream(self._admin.ListCatalogVersions, request, ItemConverter(convert.version_from_pb))

    def backup(self, context: ReadContext) -> AsyncIterator[bytes | Notice | End]:
        """The bytes of a backup."""
        request = catalog_pb2.BackUpCatalogRequest(context=context_to_pb(context))
        return self._stream(self._admin.BackUpCatalog, request, ItemConverter(bytes))

    async def adopt(self, context: ReadContext, *, dry_run: bool = False) -> Version:
        """Makes what a restored database has the newest version."""
        request = catalog_pb2.AdoptCatalogRequest(context=context_to_pb(context), dry_run=dry_run)
        return convert.version_from_pb((await self._unary(self._admin.AdoptCatalog, request)).version)

    def move_camera(
        self, context: ReadContext, camera: str, to: str, *, dry_run: bool = False
    ) -> AsyncIterator[MoveStep | Notice | End]:
        """The steps as they are done."""
        request = catalog_pb2.MoveCameraRequest(
            context=context_to_pb(context), camera=camera, to=to, dry_run=dry_run
        )
        return self._stream(
            self._admin.MoveCamera, request, ItemConverter(lambda item: MoveStep(item.step, item.node))
        )


class HeldVersion(NamedTuple):
    """Which version a node holds; empty: none."""

    catalog_id: str
    number: int
    id: str
    digest: bytes


class RemoteHolder(Remote):
    """What a node below holds."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = 30.0) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._stub = catalog_pb2_grpc.CatalogHolderServiceStub(channel)

    async def held(self, context: ReadContext) -> HeldVersion:
        """Which version it holds."""
        request = catalog_pb2.GetHeldCatalogRequest(context=context_to_pb(context))
        answer = await self._unary(self._stub.GetHeldCatalog, request)
        return HeldVersion(answer.catalog_id, answer.version, answer.version_id, answer.digest)

    async def hold(
        self, context: ReadContext, catalog_id: str, number: int, data: bytes, digest: bytes
    ) -> None:
        """Brings a version; returns when the node has it for good."""
        received = 0
        # More than once for each piece is asked by a node that does not keep what it is given.
        for _ in range(2 * (len(data) // PIECE_BYTES + 1)):
            request = catalog_pb2.HoldCatalogRequest(
                context=context_to_pb(context),
                catalog_id=catalog_id,
                version=number,
                digest=digest,
                total=len(data),
                offset=received,
                piece=data[received : received + PIECE_BYTES],
            )
            received = (await self._unary(self._stub.HoldCatalog, request)).received
            if received >= len(data):
                return
        raise InternalError(f"{self._target}: the node does not keep the pieces that it is given")

    async def release(self, context: ReadContext) -> str:
        """Lets the node forget what it holds; the id of that catalog."""
        request = catalog_pb2.ReleaseCatalogRequest(context=context_to_pb(context))
        return (await self._unary(self._stub.ReleaseCatalog, request)).catalog_id
