"""Entries of a directory to protobuf and back; see :mod:`nvr.footage.convert`."""

from dataclasses import replace

from nvr.directory.types import CameraEntry, CameraGone, DirectoryBatch, NodeEntry
from nvr.footage import convert
from nvr.footage.types import Camera, StreamInfo, StreamState
from nvr.v1 import directory_pb2


def node_entry_to_pb(value: NodeEntry) -> directory_pb2.NodeEntry:
    """A node of the tree."""
    return directory_pb2.NodeEntry(
        id=value.id,
        name=value.name,
        parent_id=value.parent_id,
        kind=convert.node_kind_to_pb(value.kind),
        version=value.version,
        capabilities=value.capabilities,
        connected=value.connected,
        seen_us=value.seen_us,
        reason=value.reason,
        clock_offset_us=value.clock_offset_us,
    )


def node_entry_from_pb(value: directory_pb2.NodeEntry) -> NodeEntry:
    """A node of the tree."""
    return NodeEntry(
        id=value.id,
        name=value.name,
        parent_id=value.parent_id,
        kind=convert.node_kind_from_pb(value.kind),
        version=value.version,
        capabilities=tuple(value.capabilities),
        connected=value.connected,
        seen_us=value.seen_us,
        reason=value.reason,
        clock_offset_us=value.clock_offset_us if value.HasField("clock_offset_us") else None,
    )


def told_camera(camera: Camera) -> Camera:
    """What a directory keeps of a camera: nothing that changes with each picture."""
    streams = tuple(map(_told_stream, camera.streams))
    if not camera.node and not camera.sources and streams == tuple(camera.streams):
        return camera
    return replace(camera, node="", sources=(), streams=streams)


def _told_stream(stream: StreamInfo) -> StreamInfo:
    return StreamInfo(
        kind=stream.kind,
        state=stream.state,
        reason=stream.reason,
        video_codec=stream.video_codec,
        width=stream.width,
        height=stream.height,
        oldest_us=stream.oldest_us,
        # Reaches to now while it records.
        newest_us=0 if stream.state is StreamState.RECORDING else stream.newest_us,
    )


def camera_entry_to_pb(value: CameraEntry) -> directory_pb2.CameraEntry:
    """A camera as one node has it."""
    return directory_pb2.CameraEntry(
        node_id=value.node_id,
        camera=convert.camera_to_pb(value.camera),
        assigned=value.assigned,
        epoch=value.epoch,
    )


def camera_entry_from_pb(value: directory_pb2.CameraEntry) -> CameraEntry:
    """A camera as one node has it."""
    return CameraEntry(value.node_id, convert.camera_from_pb(value.camera), value.assigned, value.epoch)


def batch_to_pb(value: DirectoryBatch) -> directory_pb2.DirectoryBatch:
    """Changes that belong together."""
    return directory_pb2.DirectoryBatch(
        epoch=value.epoch,
        version=value.version,
        snapshot=value.snapshot,
        current=value.current,
        nodes=map(node_entry_to_pb, value.nodes),
        nodes_gone=value.nodes_gone,
        cameras=map(camera_entry_to_pb, value.cameras),
        cameras_gone=[
            directory_pb2.CameraGone(node_id=gone.node_id, camera_id=gone.camera_id)
            for gone in value.cameras_gone
        ],
    )


def batch_from_pb(value: directory_pb2.DirectoryBatch) -> DirectoryBatch:
    """Changes that belong together."""
    return DirectoryBatch(
        epoch=value.epoch,
        version=value.version,
        snapshot=value.snapshot,
        current=value.current,
        nodes=tuple(map(node_entry_from_pb, value.nodes)),
        nodes_gone=tuple(value.nodes_gone),
        cameras=tuple(map(camera_entry_from_pb, value.cameras)),
        cameras_gone=tuple(CameraGone(gone.node_id, gone.camera_id) for gone in value.cameras_gone),
    )
