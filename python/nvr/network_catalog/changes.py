"""What a version may change, and what becomes of the entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvr.errors import NvrError
from nvr.network_catalog.recut import Recut
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry
from nvr.network_catalog.versions import Entry, EntryKey, catalog_of, entries_of

__all__ = [
    "Change",
    "DropLevel",
    "MergeAreas",
    "PutArea",
    "PutCamera",
    "PutNode",
    "RemoveCamera",
    "RemoveNode",
    "RestoreArea",
    "RetireArea",
    "SplitArea",
    "changed",
    "summary_of",
]


@dataclass(frozen=True, slots=True)
class PutArea:
    """Adds an area, or changes the one with its code."""

    area: Area


@dataclass(frozen=True, slots=True)
class MergeAreas:
    """Makes one area of several: one that is, or a new one."""

    codes: tuple[str, ...]
    into: Area


@dataclass(frozen=True, slots=True)
class SplitArea:
    """Makes several areas of one; see :meth:`nvr.network_catalog.recut.Recut.split`."""

    code: str
    parts: tuple[Area, ...]
    children: Mapping[str, str]
    cameras: Mapping[str, str]
    nodes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DropLevel:
    """Takes a tier out."""

    level: str


@dataclass(frozen=True, slots=True)
class RetireArea:
    """Ends an area; nothing takes over."""

    code: str


@dataclass(frozen=True, slots=True)
class RestoreArea:
    """Makes a former code an area again; see :meth:`nvr.network_catalog.recut.Recut.restore`."""

    code: str
    parent: str | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutNode:
    """Adds a node, or changes the one with its id."""

    node: NodeEntry


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Takes a node out."""

    node_id: str


@dataclass(frozen=True, slots=True)
class PutCamera:
    """Adds a camera, or changes the one with its id."""

    camera: CameraEntry


@dataclass(frozen=True, slots=True)
class RemoveCamera:
    """Takes a camera out."""

    camera_id: str


AreaChange = PutArea | MergeAreas | SplitArea | DropLevel | RetireArea | RestoreArea
Change = AreaChange | PutNode | RemoveNode | PutCamera | RemoveCamera


def changed(entries: Mapping[EntryKey, Entry], changes: Sequence[Change]) -> dict[EntryKey, Entry]:
    """The entries after all changes, one after the other.

    Raises :exc:`InvalidArgument` and :exc:`AreaNotFound`, which name the change at
    fault if it is one alone.
    """
    cut = Recut(catalog_of(entries.values()))
    for number, change in enumerate(changes):
        try:
            _apply(cut, change)
        except NvrError as error:
            error.field = f"changes[{number}]" + (f".{error.field}" if error.field else "")
            raise
    return entries_of(cut.done())


def _apply(cut: Recut, change: Change) -> None:
    match change:
        case PutArea(area):
            cut.put(area)
        case MergeAreas(codes, into):
            cut.merge(codes, into.code if into.code in cut else into)
        case SplitArea(code, parts, children, cameras, nodes):
            cut.split(code, parts, children=children, cameras=cameras, nodes=nodes)
        case DropLevel(level):
            cut.drop_tier(level)
        case RetireArea(code):
            cut.retire(code)
        case RestoreArea(code, parent, children):
            cut.restore(code, parent=parent, children=children)
        case PutNode(node):
            cut.put_node(node)
        case RemoveNode(node_id):
            cut.remove_node(node_id)
        case PutCamera(camera):
            cut.put_camera(camera)
        case RemoveCamera(camera_id):
            cut.remove_camera(camera_id)


def summary_of(changes: Sequence[Change]) -> str:
    """What changes are, in a line."""
    if len(changes) == 1:
        match changes[0]:
            case PutArea(area):
                return f"area {area.code} ({area.name})"
            case MergeAreas(codes, into):
                return f"areas {', '.join(codes)[:200]} merged into {into.code} ({into.name})"
            case SplitArea(code, parts):
                return f"area {code} split into {', '.join(part.code for part in parts)[:200]}"
            case DropLevel(level):
                return f"tier {level} dropped"
            case RetireArea(code):
                return f"area {code} retired"
            case RestoreArea(code):
                return f"area {code} restored"
            case PutNode(node):
                return f"node {node.name}"
            case RemoveNode(node_id):
                return f"node {node_id[:16]} taken out"
            case PutCamera(camera):
                return f"camera {camera.name}"
            case RemoveCamera(camera_id):
                return f"camera {camera_id} taken out"
    kinds = {
        "areas": AreaChange,
        "nodes": PutNode | RemoveNode,
        "cameras": PutCamera | RemoveCamera,
    }
    counts = {name: sum(isinstance(each, of) for each in changes) for name, of in kinds.items()}
    return ", ".join(f"{count:,} changes of {name}" for name, count in counts.items() if count)
