"""Entries of a directory and their batches; they mirror ``protos/nvr/v1/directory.proto``."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvr.footage.types import Camera, End, NodeInfo, NodeKind, Notice, ReadContext

__all__ = [
    "AreaResolver",
    "CameraEntry",
    "CameraGone",
    "DirectoryBatch",
    "DirectorySource",
    "NodeEntry",
    "node_entry",
]


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node of the tree. ``reason``: why the node above has no connection to it, a warning code."""

    id: str
    name: str
    parent_id: str = ""
    kind: NodeKind = NodeKind.UNKNOWN
    version: str = ""
    capabilities: Sequence[str] = ()
    connected: bool = True
    seen_us: int = 0
    reason: str = ""
    clock_offset_us: int | None = None


def node_entry(info: NodeInfo) -> NodeEntry:
    """A node as its own directory has it."""
    return NodeEntry(
        info.id, info.name, kind=info.kind, version=info.version, capabilities=tuple(info.capabilities)
    )


@dataclass(frozen=True, slots=True)
class CameraEntry:
    """A camera as one node has it. ``assigned``: that node is the one that is to record it."""

    node_id: str
    camera: Camera
    assigned: bool = True
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class CameraGone:
    """A camera that a node has no more."""

    node_id: str
    camera_id: str


@dataclass(frozen=True, slots=True)
class DirectoryBatch:
    """Changes that belong together; see the proto."""

    epoch: str
    version: int
    snapshot: bool = False
    current: bool = False
    nodes: Sequence[NodeEntry] = ()
    nodes_gone: Sequence[str] = ()
    cameras: Sequence[CameraEntry] = ()
    cameras_gone: Sequence[CameraGone] = ()


class DirectorySource(Protocol):
    """A node that tells what it has."""

    def watch_directory(
        self, context: ReadContext, epoch: str = "", version: int = 0
    ) -> "AsyncIterator[DirectoryBatch | Notice | End]":
        """The directory from a version on, then its changes as they happen."""


class AreaResolver(Protocol):
    """Knows which areas there are."""

    def codes(self, area: str) -> frozenset[str]:
        """Codes of an area, given by code or name, and of all areas within it, their former codes included.

        Raises :exc:`nvr.errors.AreaNotFound` and :exc:`nvr.errors.AreaAmbiguous`.
        """
