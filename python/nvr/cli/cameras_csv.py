"""Cameras from a CSV file, as :mod:`nvr.csv_table` reads it.

``name`` and ``main`` must be there; ``sub``, ``title``, ``lat``, ``lon``, ``enabled``
(yes or no), ``height_m``, ``direction_deg``, ``angle_deg``, ``reach_m``, ``area`` and
``owner`` may.
"""

from __future__ import annotations

from pathlib import Path

from nvr.csv_table import Cells, Faults, Row, Table, read_file
from nvr.errors import InvalidArgument
from nvr.footage.admin import CameraSettings
from nvr.footage.camera_columns import PLACE_COLUMNS, read_standing
from nvr.footage.checks import checked_name, checked_title, checked_url

COLUMNS = (
    *("name", "title", "main", "sub", "lat", "lon", "enabled"),
    *(column for column in PLACE_COLUMNS if column not in ("lat", "lon")),
)
_TABLE = Table(COLUMNS, ("name", "main"), "camera")
_MAX_BYTES = 16 << 20
_ENABLED = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def read_cameras(path: Path) -> list[Row[CameraSettings]]:
    """The cameras of a CSV file.

    Raises :exc:`nvr.errors.ConfigError`, whose message has a line for each fault
    (``cameras.csv:3: lat: …``), and :exc:`nvr.errors.StoreError` when the file
    cannot be read. A fault never quotes an address: it may hold a password.
    """
    faults = Faults(path)
    rows: dict[str, Row[CameraSettings]] = {}
    for cells in _TABLE.rows(read_file(path, _MAX_BYTES), path, faults):
        settings = _settings(cells)
        if not cells.good:
            continue
        if settings.name in rows:
            cells.add("name", f"{settings.name!r} is also on line {rows[settings.name].line}")
            continue
        rows[settings.name] = Row(cells.line, settings)
    faults.raise_if_any()
    return list(rows.values())


def _settings(cells: Cells) -> CameraSettings:
    name = cells.check("name", checked_name, "")
    title = cells.check("title", checked_title, "")
    main = cells.check("main", lambda cell: checked_url(cell, "main"), "")
    sub = cells.check("sub", lambda cell: cell and checked_url(cell, "sub"), "")
    enabled = cells.check("enabled", _flag, True)
    standing = read_standing(cells)
    return CameraSettings(
        name=name,
        main_url=main,
        sub_url=sub,
        title=title,
        place=standing.place,
        enabled=enabled,
        height_m=standing.height_m,
        view=standing.view,
        area=standing.area,
        owner=standing.owner,
    )


def _flag(cell: str) -> bool:
    try:
        return _ENABLED[cell.lower()]
    except KeyError:
        raise InvalidArgument(f"enabled: {cell[:40]!r} is not yes or no") from None
