"""The catalog as files of others: areas, nodes and cameras as CSV, cameras as GeoJSON (RFC 7946).

What is written is the same for the same catalog, byte for byte, and reads back as it
was. Readers find all faults of a file at once, each with its place: a row's line, or a
feature's number, and the column or property. A row changes what the catalog has under
its code or id, and adds it where there is none; what a file does not name stays.

A camera that is in the catalog may be named by its node and name alone; its id
(``id``) may be left out then.
"""

import json
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, TypeVar

from nvr.csv_table import Cells, Faults, Row, Table, write
from nvr.errors import ConfigError, InvalidArgument
from nvr.footage.camera_columns import PLACE_COLUMNS, Standing, read_standing, written
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry

__all__ = [
    "MOST_BYTES",
    "areas_to_csv",
    "cameras_to_csv",
    "cameras_to_geojson",
    "nodes_to_csv",
    "read_areas",
    "read_cameras",
    "read_cameras_geojson",
    "read_nodes",
]

MOST_BYTES = 64 << 20
"""Of a file. A province of 136,000 cameras has 20 MB as CSV, and 50 MB as GeoJSON."""

_T = TypeVar("_T")
_SHOWN = 80

_AREAS = Table(("code", "name", "level", "parent"), ("code", "name", "level", "parent"), "area")
_NODES = Table(("node_id", "name", "title", "area"), ("node_id", "name"), "node")
_CAMERAS = Table(("id", "node", "name", "title", *PLACE_COLUMNS), ("node", "name"), "camera")
_PROPERTIES = tuple(each for each in _CAMERAS.columns if each not in ("id", "lat", "lon"))


# --- areas -------------------------------------------------------------------------


def areas_to_csv(catalog: Catalog) -> str:
    """The areas, each before those that lie in it."""
    tree = AreaTree(catalog.areas, catalog.retired)
    return write(_AREAS.columns, ((each.code, each.name, each.level, each.parent or "") for each in tree))


def read_areas(raw: bytes, source: object, catalog: Catalog) -> list[Row[Area]]:
    """The areas of a CSV file, each after the one that it lies in, wherever the rows stand.

    Raises :exc:`ConfigError`, also where an area lies in one that is neither in the
    file nor in the catalog, or in itself.
    """
    faults = Faults(source)
    found: dict[str, Row[Area]] = {}
    for cells in _AREAS.rows(_bounded(raw, source), source, faults):
        area = _made(
            cells, lambda cells: Area(cells["code"], cells["name"], cells["parent"] or None, cells["level"])
        )
        if area is not None:
            _keep(cells, found, "code", area.code, area)
    known = {area.code for area in catalog.areas}
    ordered: dict[str, Row[Area]] = {}
    for row in found.values():
        # From an area up to one that has its place already.
        way: dict[str, Row[Area]] = {}
        at: Row[Area] | None = row
        while at is not None and at.value.code not in ordered:
            code, parent = at.value.code, at.value.parent
            if code in way:
                circle = [*way, code][list(way).index(code) :]
                faults.add(at.line, "parent", f"areas lie in one another: {' → '.join(circle[:20])}")
                break
            way[code] = at
            if parent is not None and parent not in found and parent not in known:
                faults.add(at.line, "parent", f"{parent!r} is neither in this file nor in the catalog")
            at = None if parent is None else found.get(parent)
        ordered |= dict(reversed(way.items()))
    faults.raise_if_any()
    return list(ordered.values())


# --- nodes -------------------------------------------------------------------------


def nodes_to_csv(catalog: Catalog) -> str:
    """The nodes, by name."""
    nodes = sorted(catalog.nodes, key=lambda node: (node.name, node.node_id))
    return write(_NODES.columns, ((each.node_id, each.name, each.title, each.area) for each in nodes))


def read_nodes(raw: bytes, source: object, catalog: Catalog) -> list[Row[NodeEntry]]:
    """The nodes of a CSV file. Raises :exc:`ConfigError`."""
    faults = Faults(source)
    found: dict[str, Row[NodeEntry]] = {}
    areas = _codes(catalog)
    for cells in _NODES.rows(_bounded(raw, source), source, faults):
        node = _made(
            cells, lambda cells: NodeEntry(cells["node_id"], cells["name"], cells["area"], cells["title"])
        )
        _check_area(cells, areas)
        if node is not None:
            _keep(cells, found, "node_id", node.node_id, node)
    faults.raise_if_any()
    return list(found.values())


# --- cameras -----------------------------------------------------------------------


def cameras_to_csv(catalog: Catalog) -> str:
    """The cameras, by node and name."""
    rows = _camera_rows(catalog)
    return write(_CAMERAS.columns, ([_cell(row[each]) for each in _CAMERAS.columns] for row in rows))


def read_cameras(raw: bytes, source: object, catalog: Catalog) -> list[Row[CameraEntry]]:
    """The cameras of a CSV file. Raises :exc:`ConfigError`."""
    faults = Faults(source)
    return _cameras(_CAMERAS.rows(_bounded(raw, source), source, faults), catalog, faults)


def cameras_to_geojson(catalog: Catalog) -> str:
    """The cameras as features, a line each, by node and name. One whose place is not said has no geometry."""
    lines = []
    for row in _camera_rows(catalog):
        # Longitude first (RFC 7946, section 3.1.1).
        point = {"type": "Point", "coordinates": [row["lon"], row["lat"]]}
        feature = {
            "type": "Feature",
            "id": row["id"],
            "geometry": None if row["lat"] is None else point,
            "properties": {each: row[each] for each in _PROPERTIES if row[each] is not None},
        }
        lines.append(json.dumps(feature, ensure_ascii=False, allow_nan=False))
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(lines) + "\n]}\n"


def read_cameras_geojson(raw: bytes, source: object, catalog: Catalog) -> list[Row[CameraEntry]]:
    """The cameras of a GeoJSON file: a FeatureCollection of points. Raises :exc:`ConfigError`."""
    faults = Faults(source)
    return _cameras(_features(_bounded(raw, source), source, faults), catalog, faults)


def _camera_rows(catalog: Catalog) -> Iterator[dict[str, float | str | None]]:
    names = {node.node_id: node.name for node in catalog.nodes}
    cameras = {(names.get(each.node_id, ""), each.name, each.camera_id): each for each in catalog.cameras}
    for (node, name, camera_id), each in sorted(cameras.items()):
        standing = Standing(each.place, each.height_m, each.view, each.area, each.owner)
        title = each.title or None
        yield {"id": camera_id, "node": node or None, "name": name, "title": title, **written(standing)}


def _cameras(rows: Iterable[Cells], catalog: Catalog, faults: Faults) -> list[Row[CameraEntry]]:
    found: dict[str, Row[CameraEntry]] = {}
    areas = _codes(catalog)
    nodes = {"": ""} | {node.name: node.node_id for node in catalog.nodes}
    nodes |= {node.node_id: node.node_id for node in catalog.nodes}
    ids = {(camera.node_id, camera.name): camera.camera_id for camera in catalog.cameras}
    for cells in rows:
        node_id = nodes.get(cells["node"])
        camera_id = cells["id"]
        if node_id is None:
            shown = cells["node"][:_SHOWN]
            cells.add("node", f"{shown!r} is neither the name nor the id of a node in the catalog")
        elif not camera_id:
            camera_id = ids.get((node_id, cells["name"]), "") if node_id else ""
            if not camera_id:
                cells.add("id", "missing, and the catalog has no camera of that name of the node yet")
        standing = read_standing(cells)
        _check_area(cells, areas)
        if node_id is None or not cells.good:
            continue
        try:
            camera = CameraEntry(
                camera_id,
                cells["name"],
                title=cells["title"],
                node_id=node_id,
                area=standing.area,
                place=standing.place,
                height_m=standing.height_m,
                view=standing.view,
                owner=standing.owner,
            )
        except InvalidArgument as error:
            cells.refuse(error, "id" if error.field == "camera_id" else error.field)
        else:
            _keep(cells, found, "id", camera_id, camera)
    faults.raise_if_any()
    return list(found.values())


def _features(raw: bytes, source: object, faults: Faults) -> Iterator[Cells]:
    """The features of a file, each as the row of a table."""
    whole = _json(raw, source)
    features = whole.get("features") if isinstance(whole, dict) else None
    if not isinstance(features, list) or whole.get("type") != "FeatureCollection":
        raise ConfigError(f"{source}: not a FeatureCollection (RFC 7946)")
    for number, feature in enumerate(features):
        line = f"features[{number}]"
        try:
            cells = _feature_cells(feature)
        except InvalidArgument as error:
            faults.add(line, error.field, error.message)
        else:
            yield Cells(cells, line, faults)


def _feature_cells(feature: Any) -> dict[str, str]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise InvalidArgument("not a Feature (RFC 7946)", field="type")
    cells = {"id": _json_cell(feature.get("id"), "id")}
    geometry = feature.get("geometry")
    if geometry is not None:
        point = geometry.get("coordinates") if isinstance(geometry, dict) else None
        # A third number, the height over the sea, says nothing that is asked for.
        if not isinstance(point, list) or geometry.get("type") != "Point" or len(point) not in (2, 3):
            raise InvalidArgument("not a Point of longitude and latitude", field="geometry")
        for column, value in (("lon", point[0]), ("lat", point[1])):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidArgument(f"{column} is no number", field="geometry.coordinates")
            cells[column] = _json_cell(value, "geometry.coordinates")
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        raise InvalidArgument("missing: name and node of the camera stand there", field="properties")
    for column, value in properties.items():
        if column not in _PROPERTIES:
            shown = ascii(column[:_SHOWN])
            raise InvalidArgument(f"no such property; there are {', '.join(_PROPERTIES)}", field=shown)
        cells[column] = _json_cell(value, column)
    return cells


def _json(raw: bytes, source: object) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}:{line}: not UTF-8") from None
    except (ValueError, RecursionError):
        # A number of thousands of digits, lists in lists without end.
        raise ConfigError(f"{source}: not JSON that is read here") from None


def _json_cell(value: Any, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidArgument("neither text nor a number", field=field)
    return _cell(value).strip()


# --- inside ------------------------------------------------------------------------


def _bounded(raw: bytes, source: object) -> bytes:
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{source}: larger than {MOST_BYTES >> 20} MiB; split it")
    return raw


def _made(cells: Cells, make: Callable[[Cells], _T]) -> _T | None:
    """An entry of a row; None where it is none, which is kept as a fault of its column."""
    try:
        return make(cells)
    except InvalidArgument as error:
        cells.refuse(error, error.field)
        return None


def _keep(cells: Cells, found: dict[str, Row[_T]], column: str, key: str, entry: _T) -> None:
    if key in found:
        cells.add(column, f"{key!r} is also on {_line(found[key].line)}")
    elif cells.good:
        found[key] = Row(cells.line, entry)


def _line(line: int | str) -> str:
    return f"line {line}" if isinstance(line, int) else line


def _codes(catalog: Catalog) -> set[str]:
    return {area.code for area in catalog.areas} | {gone.code for gone in catalog.retired}


def _check_area(cells: Cells, known: Container[str]) -> None:
    if cells["area"] and cells["area"] not in known and cells.good:
        cells.add("area", f"{cells['area'][:_SHOWN]!r} is not in the catalog")


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        # The shortest text that reads back as the same number.
        return repr(value)
    return "" if value is None else str(value)
