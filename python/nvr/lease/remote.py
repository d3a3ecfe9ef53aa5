"""The leases of another node, and the authority of a gateway, over a channel."""

from collections.abc import AsyncIterator, Sequence

import grpc

from nvr.footage.convert import context_to_pb
from nvr.footage.remote import ItemConverter, Remote
from nvr.footage.types import End, Notice, ReadContext
from nvr.lease import convert
from nvr.lease.types import GroupLease, LeaseState, NodeLeases, SealedCamera
from nvr.security.confirm import Confirmation
from nvr.security.sealing import SealingKey
from nvr.v1 import lease_pb2, lease_pb2_grpc

__all__ = ["RemoteAuthority", "RemoteLeases"]


class RemoteLeases(Remote):
    """A :class:`nvr.lease.types.LeaseHolder` over a channel, which its owner closes."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = 30.0) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._stub = lease_pb2_grpc.LeaseServiceStub(channel)

    async def list_leases(self, context: ReadContext) -> NodeLeases:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.ListLeasesRequest(context=context_to_pb(context))
        return convert.leases_from_pb((await self._unary(self._stub.ListLeases, request)).leases)

    def heartbeat(
        self, context: ReadContext, interval_ms: int = 0
    ) -> AsyncIterator[NodeLeases | Notice | End]:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.HeartbeatRequest(context=context_to_pb(context), interval_ms=interval_ms)
        return self._stream(self._stub.Heartbeat, request, ItemConverter(convert.leases_from_pb))

    async def sealing_key(self, context: ReadContext) -> SealingKey:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.GetSealingKeyRequest(context=context_to_pb(context))
        return convert.sealing_key_from_pb((await self._unary(self._stub.GetSealingKey, request)).key)

    async def seal_camera(self, context: ReadContext, camera: str, recipient: SealingKey) -> SealedCamera:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.SealCameraRequest(
            context=context_to_pb(context), camera=camera, recipient=convert.sealing_key_to_pb(recipient)
        )
        return convert.sealed_from_pb((await self._unary(self._stub.SealCamera, request)).sealed)

    async def prepare(self, context: ReadContext, sealed: SealedCamera) -> LeaseState:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.PrepareRequest(
            context=context_to_pb(context), sealed=convert.sealed_to_pb(sealed)
        )
        return convert.state_from_pb((await self._unary(self._stub.Prepare, request)).state)

    async def probe(self, context: ReadContext, camera: str) -> LeaseState:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.ProbeRequest(context=context_to_pb(context), camera=camera)
        return convert.state_from_pb((await self._unary(self._stub.Probe, request)).state)

    async def take(self, context: ReadContext, camera: str, epoch: int) -> LeaseState:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.TakeRequest(context=context_to_pb(context), camera=camera, epoch=epoch)
        return convert.state_from_pb((await self._unary(self._stub.Take, request)).state)

    async def confirm(self, context: ReadContext, camera: str, epoch: int) -> Confirmation | None:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.ConfirmRequest(context=context_to_pb(context), camera=camera, epoch=epoch)
        response = await self._unary(self._stub.Confirm, request)
        if not response.HasField("confirmation"):
            return None
        return convert.confirmation_from_pb(response.confirmation)

    async def give_up(
        self, context: ReadContext, camera: str, epoch: int, taker_id: str, confirmation: Confirmation
    ) -> LeaseState:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.YieldRequest(
            context=context_to_pb(context),
            camera=camera,
            epoch=epoch,
            taker_id=taker_id,
            confirmation=convert.confirmation_to_pb(confirmation),
        )
        return convert.state_from_pb((await self._unary(self._stub.Yield, request)).state)

    async def forget(self, context: ReadContext, camera: str, *, retired: bool = False) -> None:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.ForgetRequest(context=context_to_pb(context), camera=camera, retired=retired)
        await self._unary(self._stub.Forget, request)

    async def adopt(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> LeaseState:
        """See :class:`LeaseHolder`."""
        request = lease_pb2.AdoptRequest(context=context_to_pb(context), camera=camera, dry_run=dry_run)
        return convert.state_from_pb((await self._unary(self._stub.Adopt, request)).state)


class RemoteAuthority(Remote):
    """A :class:`nvr.lease.types.LeaseAuthority` over a channel, which its owner closes."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = 30.0) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._stub = lease_pb2_grpc.LeaseAuthorityServiceStub(channel)

    def list_group_leases(self, context: ReadContext) -> AsyncIterator[GroupLease | Notice | End]:
        """See :class:`LeaseAuthority`."""
        request = lease_pb2.ListGroupLeasesRequest(context=context_to_pb(context))
        return self._stream(self._stub.ListGroupLeases, request, ItemConverter(convert.group_lease_from_pb))

    async def move_lease(
        self, context: ReadContext, camera: str, to: str, *, dry_run: bool = False
    ) -> GroupLease:
        """See :class:`LeaseAuthority`."""
        request = lease_pb2.MoveLeaseRequest(
            context=context_to_pb(context), camera=camera, to=to, dry_run=dry_run
        )
        return convert.group_lease_from_pb((await self._unary(self._stub.MoveLease, request)).lease)

    async def give_back_leases(
        self, context: ReadContext, node: str = "", *, dry_run: bool = False
    ) -> tuple[Sequence[GroupLease], Sequence[GroupLease]]:
        """See :class:`LeaseAuthority`."""
        request = lease_pb2.GiveBackLeasesRequest(context=context_to_pb(context), node=node, dry_run=dry_run)
        response = await self._unary(self._stub.GiveBackLeases, request)
        return (
            tuple(map(convert.group_lease_from_pb, response.moving)),
            tuple(map(convert.group_lease_from_pb, response.staying)),
        )
