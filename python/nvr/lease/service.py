"""``nvr.v1.LeaseService`` and ``nvr.v1.LeaseAuthorityService``, served over what holds and gives leases."""

from collections.abc import Iterator

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from nvr.footage.calls import CallRunner, Steps
from nvr.footage.server import answer_steps, service_handlers
from nvr.footage.types import ReadContext
from nvr.lease import convert
from nvr.lease.types import GroupLease, LeaseAuthority, LeaseHolder, NodeLeases
from nvr.v1 import lease_pb2

__all__ = ["LEASE_AUTHORITY_SERVICE", "LEASE_SERVICE", "authority_handlers", "lease_handlers"]

LEASE_SERVICE: ServiceDescriptor = lease_pb2.DESCRIPTOR.services_by_name["LeaseService"]
LEASE_AUTHORITY_SERVICE: ServiceDescriptor = lease_pb2.DESCRIPTOR.services_by_name["LeaseAuthorityService"]


def lease_handlers(holder: LeaseHolder, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.LeaseService`` over a recorder's leases."""
    service = _LeaseService(holder)
    return service_handlers(
        LEASE_SERVICE,
        runner,
        {
            "ListLeases": service.list_leases,
            "Heartbeat": service.heartbeat,
            "GetSealingKey": service.sealing_key,
            "SealCamera": service.seal_camera,
            "Prepare": service.prepare,
            "Probe": service.probe,
            "Take": service.take,
            "Confirm": service.confirm,
            "Yield": service.give_up,
            "Forget": service.forget,
            "Adopt": service.adopt,
        },
    )


def authority_handlers(authority: LeaseAuthority, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.LeaseAuthorityService`` over an authority."""
    service = _AuthorityService(authority)
    return service_handlers(
        LEASE_AUTHORITY_SERVICE,
        runner,
        {
            "ListGroupLeases": service.list_group_leases,
            "MoveLease": service.move_lease,
            "GiveBackLeases": service.give_back_leases,
        },
    )


class _LeaseService:
    def __init__(self, holder: LeaseHolder) -> None:
        self._holder = holder

    async def list_leases(self, request: lease_pb2.ListLeasesRequest, context: ReadContext) -> Message:
        leases = await self._holder.list_leases(context)
        return lease_pb2.ListLeasesResponse(leases=convert.leases_to_pb(leases))

    def heartbeat(self, request: lease_pb2.HeartbeatRequest, context: ReadContext) -> Steps[NodeLeases]:
        response = lease_pb2.HeartbeatResponse

        def item(value: NodeLeases) -> Iterator[bytes]:
            yield response(item=convert.leases_to_pb(value)).SerializeToString()

        return answer_steps(response, self._holder.heartbeat(context, request.interval_ms), item)

    async def sealing_key(self, request: lease_pb2.GetSealingKeyRequest, context: ReadContext) -> Message:
        key = await self._holder.sealing_key(context)
        return lease_pb2.GetSealingKeyResponse(key=convert.sealing_key_to_pb(key))

    async def seal_camera(self, request: lease_pb2.SealCameraRequest, context: ReadContext) -> Message:
        recipient = convert.sealing_key_from_pb(request.recipient)
        sealed = await self._holder.seal_camera(context, request.camera, recipient)
        return lease_pb2.SealCameraResponse(sealed=convert.sealed_to_pb(sealed))

    async def prepare(self, request: lease_pb2.PrepareRequest, context: ReadContext) -> Message:
        state = await self._holder.prepare(context, convert.sealed_from_pb(request.sealed))
        return lease_pb2.PrepareResponse(state=convert.state_to_pb(state))

    async def probe(self, request: lease_pb2.ProbeRequest, context: ReadContext) -> Message:
        state = await self._holder.probe(context, request.camera)
        return lease_pb2.ProbeResponse(state=convert.state_to_pb(state))

    async def take(self, request: lease_pb2.TakeRequest, context: ReadContext) -> Message:
        state = await self._holder.take(context, request.camera, request.epoch)
        return lease_pb2.TakeResponse(state=convert.state_to_pb(state))

    async def confirm(self, request: lease_pb2.ConfirmRequest, context: ReadContext) -> Message:
        word = await self._holder.confirm(context, request.camera, request.epoch)
        return lease_pb2.ConfirmResponse(
            confirmation=None if word is None else convert.confirmation_to_pb(word)
        )

    async def give_up(self, request: lease_pb2.YieldRequest, context: ReadContext) -> Message:
        word = convert.confirmation_from_pb(request.confirmation)
        state = await self._holder.give_up(context, request.camera, request.epoch, request.taker_id, word)
        return lease_pb2.YieldResponse(state=convert.state_to_pb(state))

    async def forget(self, request: lease_pb2.ForgetRequest, context: ReadContext) -> Message:
        await self._holder.forget(context, request.camera, retired=request.retired)
        return lease_pb2.ForgetResponse()

    async def adopt(self, request: lease_pb2.AdoptRequest, context: ReadContext) -> Message:
        state = await self._holder.adopt(context, request.camera, dry_run=request.dry_run)
        return lease_pb2.AdoptResponse(state=convert.state_to_pb(state))


class _AuthorityService:
    def __init__(self, authority: LeaseAuthority) -> None:
        self._authority = authority

    def list_group_leases(
        self, request: lease_pb2.ListGroupLeasesRequest, context: ReadContext
    ) -> Steps[GroupLease]:
        response = lease_pb2.ListGroupLeasesResponse

        def item(value: GroupLease) -> Iterator[bytes]:
            yield response(item=convert.group_lease_to_pb(value)).SerializeToString()

        return answer_steps(response, self._authority.list_group_leases(context), item)

    async def move_lease(self, request: lease_pb2.MoveLeaseRequest, context: ReadContext) -> Message:
        lease = await self._authority.move_lease(context, request.camera, request.to, dry_run=request.dry_run)
        return lease_pb2.MoveLeaseResponse(lease=convert.group_lease_to_pb(lease))

    async def give_back_leases(
        self, request: lease_pb2.GiveBackLeasesRequest, context: ReadContext
    ) -> Message:
        moving, staying = await self._authority.give_back_leases(
            context, request.node, dry_run=request.dry_run
        )
        return lease_pb2.GiveBackLeasesResponse(
            moving=map(convert.group_lease_to_pb, moving), staying=map(convert.group_lease_to_pb, staying)
        )
