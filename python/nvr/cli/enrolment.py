"""What the network catalog has not yet of what a node's directory tells."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from nvr.directory import types as directory
from nvr.directory.feed import RemoteDirectory
from nvr.errors import NvrError
from nvr.footage.types import ReadContext
from nvr.network_catalog.changes import Change, PutCamera, PutNode
from nvr.network_catalog.types import CameraEntry, Catalog, NodeEntry

__all__ = ["Enrolment", "Told", "enrolment", "told_below"]


@dataclass(frozen=True, slots=True)
class Told:
    """Nodes and cameras that a node tells of: itself, and all below it."""

    nodes: tuple[directory.NodeEntry, ...]
    cameras: tuple[directory.CameraEntry, ...]


@dataclass(slots=True)
class Enrolment:
    """Nodes before cameras, in the order of their names; and what is said of those left out."""

    nodes: list[NodeEntry] = field(default_factory=list)
    cameras: list[CameraEntry] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[Change]:
        """That put them into the catalog."""
        return [*map(PutNode, self.nodes), *map(PutCamera, self.cameras)]


async def told_below(node: RemoteDirectory, context: ReadContext) -> Told:
    """The directory of a node as it is now."""
    nodes: dict[str, directory.NodeEntry] = {}
    cameras: dict[tuple[str, str], directory.CameraEntry] = {}
    async with aclosing(node.watch_directory(context)) as steps:  # type: ignore[type-var]
        async for step in steps:
            if isinstance(step, directory.DirectoryBatch):
                nodes.update((each.id, each) for each in step.nodes)
                cameras.update(((each.node_id, each.camera.id), each) for each in step.cameras)
                if step.current:
                    break
    return Told(tuple(nodes.values()), tuple(cameras.values()))


def enrolment(catalog: Catalog, told: Told) -> Enrolment:
    """What the catalog lacks. A camera's home is the node that is to record it.

    An area that the catalog has not is left out of a camera's entry: its recorder
    keeps it. What cannot be an entry is left out, and said.
    """
    found = Enrolment()
    names = {each.node_id: each.name for each in catalog.nodes}
    for node in sorted(told.nodes, key=lambda each: each.name):
        if node.id not in names:
            names[node.id] = node.name
            found.nodes.append(NodeEntry(node.id, node.name))
    codes = {*(area.code for area in catalog.areas), *(area.code for area in catalog.retired)}
    known = {camera.camera_id for camera in catalog.cameras}
    taken = {(camera.node_id, camera.name): camera.camera_id for camera in catalog.cameras}
    unknown_areas: dict[str, int] = {}
    for entry in _assigned(told.cameras):
        camera, where = entry.camera, f"{names.get(entry.node_id, entry.node_id[:16])}/{entry.camera.name}"
        if camera.id in known:
            continue
        if (entry.node_id, camera.name) in taken:
            other = taken[entry.node_id, camera.name]
            found.warnings.append(f"{where}: left out: the catalog has another camera of this name, {other}")
            continue
        area = camera.area if camera.area in codes else ""
        if camera.area and not area:
            unknown_areas[camera.area] = unknown_areas.get(camera.area, 0) + 1
        try:
            made = CameraEntry(
                camera.id,
                camera.name,
                title=camera.title,
                node_id=entry.node_id,
                area=area,
                place=camera.place,
                height_m=camera.height_m,
                view=camera.view,
                owner=camera.owner,
            )
        except NvrError as error:
            found.warnings.append(f"{where}: left out: {error.message}")
            continue
        taken[entry.node_id, camera.name] = camera.id
        found.cameras.append(made)
    found.warnings += [
        f"the catalog has no area {code!r}: {count} cameras that are in it are enrolled without an area"
        for code, count in sorted(unknown_areas.items())
    ]
    return found


def _assigned(cameras: Sequence[directory.CameraEntry]) -> list[directory.CameraEntry]:
    """Each camera once, at the node that is to record it: of two the one with the higher epoch."""
    best: dict[str, directory.CameraEntry] = {}
    for entry in cameras:
        if entry.assigned:
            other = best.get(entry.camera.id)
            if other is None or (entry.epoch, entry.node_id) > (other.epoch, other.node_id):
                best[entry.camera.id] = entry
    return sorted(best.values(), key=lambda each: (each.node_id, each.camera.name))
