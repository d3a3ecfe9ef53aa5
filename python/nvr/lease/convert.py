"""Protobuf to values of leases, and back."""

from typing import cast, get_args

from nvr.footage.admin import CameraSettings
from nvr.footage.convert_admin import settings_from_pb, settings_to_pb
from nvr.lease.types import GroupLease, LeaseState, NodeLeases, SealedCamera, Standing
from nvr.security.confirm import Confirmation
from nvr.security.sealing import SealingKey
from nvr.v1 import camera_pb2, lease_pb2

__all__ = [
    "confirmation_from_pb",
    "confirmation_to_pb",
    "group_lease_from_pb",
    "group_lease_to_pb",
    "leases_from_pb",
    "leases_to_pb",
    "sealed_from_pb",
    "sealed_to_pb",
    "sealing_key_from_pb",
    "sealing_key_to_pb",
    "settings_from_bytes",
    "settings_to_bytes",
    "state_from_pb",
    "state_to_pb",
]

_STANDINGS = frozenset(get_args(Standing))


def state_to_pb(value: LeaseState) -> lease_pb2.LeaseState:
    """A camera's lease."""
    return lease_pb2.LeaseState(
        camera_id=value.camera_id,
        name=value.name,
        epoch=value.epoch,
        held=value.held,
        since_us=value.since_us,
        home=value.home,
        retired=value.retired,
        recording=value.recording,
        recording_for_us=value.recording_for_us,
        reason=value.reason,
        bitrate_bps=value.bitrate_bps,
        changed_us=value.changed_us,
        reachable=value.reachable,
        probed=value.probed,
    )


def state_from_pb(value: lease_pb2.LeaseState) -> LeaseState:
    """A camera's lease."""
    return LeaseState(
        camera_id=value.camera_id,
        name=value.name,
        epoch=value.epoch,
        held=value.held,
        since_us=value.since_us,
        home=value.home,
        retired=value.retired,
        recording=value.recording,
        recording_for_us=value.recording_for_us,
        reason=value.reason,
        bitrate_bps=value.bitrate_bps,
        changed_us=value.changed_us,
        reachable=value.reachable,
        probed=value.probed,
    )


def leases_to_pb(value: NodeLeases) -> lease_pb2.NodeLeases:
    """What a node holds."""
    return lease_pb2.NodeLeases(
        node_id=value.node_id,
        node=value.node,
        now_us=value.now_us,
        load_bps=value.load_bps,
        free_bytes=value.free_bytes,
        cameras=map(state_to_pb, value.cameras),
    )


def leases_from_pb(value: lease_pb2.NodeLeases) -> NodeLeases:
    """What a node holds."""
    return NodeLeases(
        node_id=value.node_id,
        node=value.node,
        now_us=value.now_us,
        load_bps=value.load_bps,
        free_bytes=value.free_bytes,
        cameras=tuple(map(state_from_pb, value.cameras)),
    )


def sealing_key_to_pb(value: SealingKey) -> lease_pb2.SealingKey:
    """A sealing key."""
    return lease_pb2.SealingKey(
        node_key=value.node_key, sealing_key=value.public_key, signature=value.signature
    )


def sealing_key_from_pb(value: lease_pb2.SealingKey) -> SealingKey:
    """A sealing key, as it was sent: unchecked."""
    return SealingKey(value.node_key, value.sealing_key, value.signature)


def sealed_to_pb(value: SealedCamera) -> lease_pb2.SealedCamera:
    """Sealed settings."""
    return lease_pb2.SealedCamera(camera_id=value.camera_id, changed_us=value.changed_us, box=value.box)


def sealed_from_pb(value: lease_pb2.SealedCamera) -> SealedCamera:
    """Sealed settings."""
    return SealedCamera(value.camera_id, value.changed_us, value.box)


def confirmation_to_pb(value: Confirmation) -> lease_pb2.Confirmation:
    """A node's word."""
    return lease_pb2.Confirmation(node_key=value.node_key, signature=value.signature)


def confirmation_from_pb(value: lease_pb2.Confirmation) -> Confirmation:
    """A node's word, as it was sent: unchecked."""
    return Confirmation(value.node_key, value.signature)


def group_lease_to_pb(value: GroupLease) -> lease_pb2.GroupLease:
    """How a lease stands."""
    return lease_pb2.GroupLease(
        camera_id=value.camera_id,
        name=value.name,
        group=value.group,
        home=value.home,
        holder=value.holder,
        epoch=value.epoch,
        recording=value.recording,
        state=value.state,
        recorded_by=value.recorded_by,
        standbys=value.standbys,
        bitrate_bps=value.bitrate_bps,
    )


def group_lease_from_pb(value: lease_pb2.GroupLease) -> GroupLease:
    """How a lease stands; a state that is not known here reads as one of transition."""
    return GroupLease(
        camera_id=value.camera_id,
        name=value.name,
        group=value.group,
        home=value.home,
        holder=value.holder,
        epoch=value.epoch,
        recording=value.recording,
        state=cast("Standing", value.state if value.state in _STANDINGS else "taking"),
        recorded_by=tuple(value.recorded_by),
        standbys=tuple(value.standbys),
        bitrate_bps=value.bitrate_bps,
    )


def settings_to_bytes(settings: CameraSettings) -> bytes:
    """A ``CameraSettings`` message, passwords and all: only ever to be sealed."""
    return settings_to_pb(settings).SerializeToString()


def settings_from_bytes(data: bytes) -> CameraSettings:
    """The settings again. Raises :exc:`google.protobuf.message.DecodeError`."""
    return settings_from_pb(camera_pb2.CameraSettings.FromString(data))
