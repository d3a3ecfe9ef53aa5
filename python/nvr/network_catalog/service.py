"""The three services of the network catalog, served over a node's reader, root and holder."""

from collections.abc import AsyncIterator, Iterator

import grpc
from google.protobuf.message import Message

from nvr.errors import CatalogNotRoot, InvalidArgument, LimitExceeded
from nvr.footage.calls import CallRunner, Steps, current_call
from nvr.footage.server import answer_steps, service_handlers
from nvr.footage.types import End, Notice, ReadContext
from nvr.network_catalog import convert
from nvr.network_catalog.changes import (
    Change,
)
from nvr.network_catalog.holder import MOST_BYTES, CatalogHolder
from nvr.network_catalog.mover import CameraMover, MoveStep
from nvr.network_catalog.reader import CatalogReader, StandingState
from nvr.network_catalog.root import RootCatalog
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry, RetiredArea
from nvr.network_catalog.versions import Version
from nvr.v1 import catalog_pb2

__all__ = [
    "CATALOG_ADMIN_SERVICE",
    "CATALOG_HOLDER_SERVICE",
    "CATALOG_SERVICE",
    "catalog_admin_handlers",
    "catalog_handlers",
    "catalog_holder_handlers",
]

_SERVICES = catalog_pb2.DESCRIPTOR.services_by_name
CATALOG_SERVICE = _SERVICES["CatalogService"]
CATALOG_ADMIN_SERVICE = _SERVICES["CatalogAdminService"]
CATALOG_HOLDER_SERVICE = _SERVICES["CatalogHolderService"]
_DEFAULT_VERSIONS = 1_000
_BACKUP_PIECE = 1 << 20
_STATES = {
    StandingState.NONE: catalog_pb2.CATALOG_STATE_NONE,
    StandingState.ROOT: catalog_pb2.CATALOG_STATE_ROOT,
    StandingState.HELD: catalog_pb2.CATALOG_STATE_HELD,
    StandingState.AWAY: catalog_pb2.CATALOG_STATE_AWAY,
    StandingState.BEHIND: catalog_pb2.CATALOG_STATE_BEHIND,
}


def catalog_handlers(reader: CatalogReader, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.CatalogService``."""
    service = _CatalogService(reader)
    return service_handlers(
        CATALOG_SERVICE,
        runner,
        {
            "GetCatalog": service.get,
            "ListAreas": service.list_areas,
            "ListCatalogNodes": service.list_nodes,
            "ListCatalogCameras": service.list_cameras,
        },
    )


def catalog_admin_handlers(
    root: RootCatalog | None, mover: CameraMover | None, node: str, runner: CallRunner
) -> grpc.GenericRpcHandler:
    """``nvr.v1.CatalogAdminService``.

    ``root``, ``mover`` None: at a node that refuses what is theirs. ``node``: its name.
    """
    service = _AdminService(root, mover, node)
    return service_handlers(
        CATALOG_ADMIN_SERVICE,
        runner,
        {
            "ChangeCatalog": service.change,
            "UndoCatalogVersion": service.undo,
            "ListCatalogVersions": service.list_versions,
            "BackUpCatalog": service.back_up,
            "AdoptCatalog": service.adopt,
            "MoveCamera": service.move,
        },
    )


def catalog_holder_handlers(
    holder: CatalogHolder, root: RootCatalog | None, runner: CallRunner
) -> grpc.GenericRpcHandler:
    """``nvr.v1.CatalogHolderService``. A root takes nothing from above."""
    service = _HolderService(holder, root)
    return service_handlers(
        CATALOG_HOLDER_SERVICE,
        runner,
        {
            "GetHeldCatalog": service.get,
            "HoldCatalog": service.hold,
            "ReleaseCatalog": service.release,
        },
    )


class _CatalogService:
    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader

    async def get(self, request: catalog_pb2.GetCatalogRequest, context: ReadContext) -> Message:
        standing = self._reader.standing()
        return catalog_pb2.GetCatalogResponse(
            state=_STATES[standing.state],
            catalog_id=standing.catalog_id,
            version=standing.version,
            made_us=standing.made_us,
            areas=standing.areas,
            nodes=standing.nodes,
            cameras=standing.cameras,
            highest_held=standing.highest_held,
        )

    def list_areas(
        self, request: catalog_pb2.ListAreasRequest, context: ReadContext
    ) -> Steps[Area | RetiredArea]:
        response = catalog_pb2.ListAreasResponse

        def item(value: Area | RetiredArea) -> Iterator[bytes]:
            yield response(item=convert.record_to_pb(value)).SerializeToString()

        answer = self._reader.list_areas(context, request.within, former=request.former)
        return answer_steps(response, answer, item)

    def list_nodes(
        self, request: catalog_pb2.ListCatalogNodesRequest, context: ReadContext
    ) -> Steps[NodeEntry]:
        response = catalog_pb2.ListCatalogNodesResponse

        def item(value: NodeEntry) -> Iterator[bytes]:
            yield response(item=convert.node_to_pb(value)).SerializeToString()

        return answer_steps(response, self._reader.list_nodes(context), item)

    def list_cameras(
        self, request: catalog_pb2.ListCatalogCamerasRequest, context: ReadContext
    ) -> Steps[CameraEntry]:
        response = catalog_pb2.ListCatalogCamerasResponse

        def item(value: CameraEntry) -> Iterator[bytes]:
            yield response(item=convert.camera_to_pb(value)).SerializeToString()

        return answer_steps(response, self._reader.list_cameras(context), item)


class _AdminService:
    def __init__(self, root: RootCatalog | None, mover: CameraMover | None, node: str) -> None:
        self._maybe_root = root
        self._mover = mover
        self._node = node

    async def change(self, request: catalog_pb2.ChangeCatalogRequest, context: ReadContext) -> Message:
        root = self._root()
        version = await root.change(
            [_change_from_pb(number, each) for number, each in enumerate(request.changes)],
            actor=_actor(),
            request_id=_request_id(),
            summary=request.summary,
            expected_version=request.expected_version,
            dry_run=request.dry_run,
        )
        return catalog_pb2.ChangeCatalogResponse(version=convert.version_to_pb(version))

    async def undo(self, request: catalog_pb2.UndoCatalogVersionRequest, context: ReadContext) -> Message:
        root = self._root()
        version = await root.undo(
            request.number, actor=_actor(), request_id=_request_id(), dry_run=request.dry_run
        )
        return catalog_pb2.UndoCatalogVersionResponse(version=convert.version_to_pb(version))

    def list_versions(
        self, request: catalog_pb2.ListCatalogVersionsRequest, context: ReadContext
    ) -> Steps[Version]:
        response = catalog_pb2.ListCatalogVersionsResponse
        root = self._root()

        async def versions() -> AsyncIterator[Version | Notice | End]:
            for version in await root.versions(request.limit or _DEFAULT_VERSIONS):
                yield version
            yield End(complete=True)

        def item(value: Version) -> Iterator[bytes]:
            yield response(item=convert.version_to_pb(value)).SerializeToString()

        return answer_steps(response, versions(), item)

    def back_up(self, request: catalog_pb2.BackUpCatalogRequest, context: ReadContext) -> Steps[bytes]:
        response = catalog_pb2.BackUpCatalogResponse
        root = self._root()

        async def pieces() -> AsyncIterator[bytes | Notice | End]:
            data = await root.backup()
            for first in range(0, len(data), _BACKUP_PIECE):
                yield data[first : first + _BACKUP_PIECE]
            yield End(complete=True)

        def item(value: bytes) -> Iterator[bytes]:
            yield response(item=value).SerializeToString()

        return answer_steps(response, pieces(), item)

    async def adopt(self, request: catalog_pb2.AdoptCatalogRequest, context: ReadContext) -> Message:
        version = await self._root().adopt(actor=_actor(), request_id=_request_id(), dry_run=request.dry_run)
        return catalog_pb2.AdoptCatalogResponse(version=convert.version_to_pb(version))

    def move(self, request: catalog_pb2.MoveCameraRequest, context: ReadContext) -> Steps[MoveStep]:
        response = catalog_pb2.MoveCameraResponse
        if self._mover is None:
            raise InvalidArgument(
                f"camera: {self._node} is a recorder; ask a gateway above both nodes", field="camera"
            )

        def item(value: MoveStep) -> Iterator[bytes]:
            step = catalog_pb2.MoveStep(step=value.step, node=value.node)
            yield response(item=step).SerializeToString()

        answer = self._mover.move(
            context, request.camera, request.to, actor=_actor(), dry_run=request.dry_run
        )
        return answer_steps(response, answer, item)

    def _root(self) -> RootCatalog:
        if self._maybe_root is None:
            raise CatalogNotRoot(
                f"the network catalog is not written at {self._node}, but at the node at the top whose "
                "settings have [catalog] database"
            )
        return self._maybe_root


class _HolderService:
    def __init__(self, holder: CatalogHolder, root: RootCatalog | None) -> None:
        self._holder = holder
        self._root = root
        self._of: tuple[str, int, bytes] | None = None
        self._data = bytearray()

    async def get(self, request: catalog_pb2.GetHeldCatalogRequest, context: ReadContext) -> Message:
        held = self._holder.held
        return catalog_pb2.GetHeldCatalogResponse(
            catalog_id=held.catalog_id,
            version=held.version.number,
            version_id=held.version.id,
            digest=held.digest,
        )

    async def hold(self, request: catalog_pb2.HoldCatalogRequest, context: ReadContext) -> Message:
        if self._root is not None:
            raise CatalogNotRoot("this node is where its catalog is written: it takes none from above")
        if request.total > MOST_BYTES:
            raise LimitExceeded(f"total: a node holds {MOST_BYTES:,} bytes at most", field="total")
        of = request.catalog_id, request.version, request.digest
        if of != self._of or request.offset == 0:
            # One at a time: another begins from nothing.
            self._of, self._data = of, bytearray()
        if request.offset != len(self._data):
            return catalog_pb2.HoldCatalogResponse(received=len(self._data))
        if request.offset + len(request.piece) > request.total:
            raise InvalidArgument("piece: reaches beyond total", field="piece")
        self._data += request.piece
        if len(self._data) == request.total:
            data, self._of, self._data = bytes(self._data), None, bytearray()
            await self._holder.take(data, request.digest)
            return catalog_pb2.HoldCatalogResponse(received=len(data))
        return catalog_pb2.HoldCatalogResponse(received=len(self._data))

    async def release(self, request: catalog_pb2.ReleaseCatalogRequest, context: ReadContext) -> Message:
        if self._root is not None:
            raise CatalogNotRoot(
                "this node is where its catalog is written: take [catalog] database out of its settings first"
            )
        return catalog_pb2.ReleaseCatalogResponse(catalog_id=await self._holder.release())


def _change_from_pb(number: int, value: catalog_pb2.CatalogChange) -> Change:
    """Raises :exc:`InvalidArgument` that names the change."""
    try:
        return convert.change_from_pb(value)
    except InvalidArgument as error:
        where = ".".join(filter(None, (f"changes[{number}]", value.WhichOneof("kind"), error.field)))
        raise InvalidArgument(f"{where}: {error.message}", field=where, facts=error.facts) from None


def _actor() -> str:
    call = current_call()
    return "" if call is None or call.caller is None else str(call.caller)


def _request_id() -> str:
    call = current_call()
    return "" if call is None else call.request_id
