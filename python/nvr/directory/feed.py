"""The directory told upwards: a snapshot or what has changed, then changes as they happen."""

from collections.abc import AsyncIterator, Iterator

import grpc

from nvr.directory.convert import (
    batch_from_pb,
    batch_to_pb,
    camera_entry_from_pb,
    node_entry_from_pb,
)
from nvr.directory.directory import Directory
from nvr.directory.types import CameraGone, DirectoryBatch, NodeEntry
from nvr.footage import convert
from nvr.footage.calls import CallRunner, Steps
from nvr.footage.remote import ItemConverter, Remote
from nvr.footage.server import answer_steps, service_handlers
from nvr.footage.types import End, Notice, ReadContext
from nvr.v1 import directory_pb2, directory_pb2_grpc

__all__ = ["DIRECTORY_SERVICE", "DirectoryFeed", "RemoteDirectory", "directory_handlers"]

DIRECTORY_SERVICE = directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"]
BATCH_ENTRIES = 500
"""At most so many entries in a batch: some hundred KiB."""


class DirectoryFeed:
    """A :class:`nvr.directory.types.DirectorySource` over a directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def watch_directory(
        self, context: ReadContext, epoch: str = "", version: int = 0
    ) -> AsyncIterator[DirectoryBatch | Notice | End]:
        """See the proto. Ends with the reader, or with the node."""
        directory = self._directory
        known = epoch == directory.epoch and directory.horizon <= version <= directory.version
        at = version if known else 0
        snapshot = not known
        while True:
            for batch in _batches(directory, at, snapshot=snapshot):
                snapshot = False
                at = batch.version
                yield batch
            await directory.changed(at)


def _batches(directory: Directory, since: int, *, snapshot: bool) -> Iterator[DirectoryBatch]:
    """What has changed since a version, up to now: nodes first, since cameras refer to them.

    A batch's version is what a reader has that kept all up to it: nodes are told
    again to one that was cut among them.
    """
    upto = directory.version
    nodes, nodes_gone = _nodes(directory, since, upto, snapshot=snapshot)
    for first in range(0, max(len(nodes), 1), BATCH_ENTRIES):
        yield DirectoryBatch(
            directory.epoch,
            since,
            snapshot=snapshot and first == 0,
            nodes=nodes[first : first + BATCH_ENTRIES],
            nodes_gone=nodes_gone if first == 0 else (),
        )
    while True:
        rows = directory.database.execute(
            # With a node that is gone, its cameras are.
            "SELECT c.version, c.gone, c.entry, c.id, n.id FROM camera c JOIN node n ON n.key = c.node "
            "WHERE c.version > ? AND c.version <= ? AND NOT n.gone ORDER BY c.version LIMIT ?",
            (since, upto, BATCH_ENTRIES),
        ).fetchall()
        last = len(rows) < BATCH_ENTRIES
        since = upto if last else int(rows[-1][0])
        yield DirectoryBatch(
            directory.epoch,
            since,
            current=last,
            cameras=tuple(
                camera_entry_from_pb(directory_pb2.CameraEntry.FromString(entry))
                for _, gone, entry, _, _ in rows
                if not gone
            ),
            # To who gets all anew nothing is gone.
            cameras_gone=()
            if snapshot
            else tuple(CameraGone(node_id, camera_id) for _, gone, _, camera_id, node_id in rows if gone),
        )
        if last:
            return


def _nodes(
    directory: Directory, since: int, upto: int, *, snapshot: bool
) -> tuple[tuple[NodeEntry, ...], tuple[str, ...]]:
    rows = directory.database.execute(
        "SELECT id, gone, entry FROM node WHERE version > ? AND version <= ? OR id = ? "
        # This node before those below it.
        "ORDER BY child <> '', key",
        (since, upto, directory.own.id if snapshot else ""),
    ).fetchall()
    told = tuple(
        node_entry_from_pb(directory_pb2.NodeEntry.FromString(entry)) for _, gone, entry in rows if not gone
    )
    return told, () if snapshot else tuple(node_id for node_id, gone, _ in rows if gone)


def directory_handlers(directory: Directory, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.DirectoryService`` over a directory."""
    feed = DirectoryFeed(directory)
    response = directory_pb2.WatchDirectoryResponse

    def item(value: DirectoryBatch) -> Iterator[bytes]:
        yield response(item=batch_to_pb(value)).SerializeToString()

    def watch(request: directory_pb2.WatchDirectoryRequest, context: ReadContext) -> Steps[DirectoryBatch]:
        answer = feed.watch_directory(context, request.epoch, request.version)
        return answer_steps(response, answer, item)

    return service_handlers(DIRECTORY_SERVICE, runner, {"WatchDirectory": watch})


class RemoteDirectory(Remote):
    """The :class:`DirectorySource` of another node, over a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str = "node") -> None:
        super().__init__(channel, target=target)
        self._stub = directory_pb2_grpc.DirectoryServiceStub(channel)

    def watch_directory(
        self, context: ReadContext, epoch: str = "", version: int = 0
    ) -> AsyncIterator[DirectoryBatch | Notice | End]:
        """See :meth:`DirectorySource.watch_directory`."""
        request = directory_pb2.WatchDirectoryRequest(
            context=convert.context_to_pb(context), epoch=epoch, version=version
        )
        return self._stream(self._stub.WatchDirectory, request, ItemConverter(batch_from_pb))
