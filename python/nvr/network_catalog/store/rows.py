"""Entries as rows of their tables, and back."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, Table

from nvr.footage.types import OwnerKind, Place, View
from nvr.network_catalog.store import tables
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry, RetiredArea
from nvr.network_catalog.versions import Entry

__all__ = ["KINDS", "Kind", "row_of"]

_Row = RowMapping


class Kind(NamedTuple):
    """A kind of entry: its table, the column of its id, and how a row becomes one."""

    table: Table
    id_column: str
    entry: Callable[[_Row], Entry]


def row_of(entry: Entry) -> dict[str, Any]:
    """The columns of an entry, but for its versions."""
    match entry:
        case Area():
            return {
                "code": entry.code,
                "name": entry.name,
                "parent": entry.parent,
                "level": entry.level,
            }
        case RetiredArea():
            return {
                "code": entry.code,
                "name": entry.name,
                "parent": entry.parent,
                "level": entry.level,
                "into": json.dumps(entry.into),
            }
        case NodeEntry():
            return {
                "node_id": entry.node_id,
                "name": entry.name,
                "title": entry.title,
                "area": entry.area,
            }
        case CameraEntry():
            view = entry.view
            return {
                "camera_id": entry.camera_id,
                "node_id": entry.node_id,
                "name": entry.name,
                "title": entry.title,
                "area": entry.area,
                "latitude": entry.latitude,
                "longitude": entry.longitude,
                "height_m": entry.height_m,
                "direction_deg": None if view is None else view.direction_deg,
                "angle_deg": None if view is None else view.angle_deg,
                "reach_m": None if view is None else view.reach_m,
                "owner": entry.owner.value,
            }


def _area(row: _Row) -> Area:
    return Area(row["code"], row["name"], row["parent"], row["level"])


def _former_area(row: _Row) -> RetiredArea:
    return RetiredArea(row["code"], row["name"], row["parent"], row["level"], tuple(json.loads(row["into"])))


def _node(row: _Row) -> NodeEntry:
    return NodeEntry(row["node_id"], row["name"], area=row["area"], title=row["title"])


def _camera(row: _Row) -> CameraEntry:
    direction_deg = row["direction_deg"]
    return CameraEntry(
        row["camera_id"],
        row["name"],
        title=row["title"],
        node_id=row["node_id"],
        area=row["area"],
        place=None if row["latitude"] is None else Place(row["latitude"], row["longitude"]),
        height_m=row["height_m"],
        view=None if direction_deg is None else View(direction_deg, row["angle_deg"], row["reach_m"]),
        owner=OwnerKind(row["owner"]),
    )


KINDS = {
    "area": Kind(tables.area, "code", _area),
    "former_area": Kind(tables.former_area, "code", _former_area),
    "node": Kind(tables.node, "node_id", _node),
    "camera": Kind(tables.camera, "camera_id", _camera),
}
