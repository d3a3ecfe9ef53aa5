"""Cameras from a CSV file, with every fault located by row and column.

The first row names the columns, in any order: ``name`` and ``main`` must be
there; ``sub``, ``title``, ``lat``, ``lon``, ``enabled`` (yes or no), ``height_m``,
``direction_deg``, ``angle_deg``, ``reach_m``, ``area`` and ``owner`` may. Text is UTF-8; a
byte order mark, as spreadsheets write it, is skipped.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nvr.errors import ConfigError, InvalidArgument
from nvr.files import file_errors
from nvr.footage.admin import CameraSettings, view_of
from nvr.footage.checks import (
    checked_area,
    checked_height,
    checked_name,
    checked_owner,
    checked_place,
    checked_title,
    checked_url,
    checked_view,
)
from nvr.footage.types import OwnerKind, Place, View

T = TypeVar("T")

COLUMNS = (
    *("name", "title", "main", "sub", "lat", "lon", "enabled"),
    *("height_m", "direction_deg", "angle_deg", "reach_m", "area", "owner"),
)
_REQUIRED = ("name", "main")
_MAX_BYTES = 16 << 20
_MAX_FAULTS = 50
_ENABLED = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Row:
    """A camera, and the line of the file it came from."""

    line: int
    settings: CameraSettings


def read_cameras(path: Path) -> list[Row]:
    """The cameras of a CSV file.

    Raises :exc:`nvr.errors.ConfigError`, whose message has a line for each fault
    (``cameras.csv:3: lat: …``), and :exc:`nvr.errors.StoreError` when the file
    cannot be read. A fault never quotes an address: it may hold a password.
    """
    with file_errors("cannot read", path):
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; split it")
        raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; save it as 'CSV UTF-8'") from None
    faults = _Faults(path)
    rows = _rows(text, faults)
    faults.raise_if_any()
    return rows


def _rows(text: str, faults: _Faults) -> list[Row]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows: list[Row] = []
    seen: dict[str, int] = {}
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(reader.line_num, "", f"not CSV: {error}")
            break
        line = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip().lower() for cell in cells]
            if not _check_header(header, line, faults):
                return []
            continue
        if len(cells) != len(header):
            faults.add(line, "", f"has {len(cells)} columns where the first row has {len(header)}")
            continue
        settings = _settings(dict(zip(header, (cell.strip() for cell in cells), strict=True)), line, faults)
        if settings is None:
            continue
        if settings.name in seen:
            faults.add(line, "name", f"{settings.name!r} is also on line {seen[settings.name]}")
            continue
        seen[settings.name] = line
        rows.append(Row(line, settings))
    if header is None:
        faults.add(1, "", f"empty; the first row names the columns: {','.join(COLUMNS)}")
    elif not rows and not faults.found:
        faults.add(1, "", "no camera follows the first row")
    return rows


def _check_header(header: Sequence[str], line: int, faults: _Faults) -> bool:
    fine = True
    for column in header:
        if column not in COLUMNS:
            faults.add(line, column[:40] or "(empty)", f"no such column; there are {', '.join(COLUMNS)}")
            fine = False
        elif header.count(column) > 1:
            faults.add(line, column, "is there twice")
            fine = False
    for column in _REQUIRED:
        if column not in header:
            faults.add(line, column, "the column is missing")
            fine = False
    return fine


def _settings(cells: dict[str, str], line: int, faults: _Faults) -> CameraSettings | None:
    before = faults.found

    def check(column: str, make: Callable[[str], T], otherwise: T) -> T:
        try:
            return make(cells.get(column, ""))
        except InvalidArgument as error:
            # Checks put the field first; here the column says it.
            faults.add(line, column, error.message.partition(": ")[2] or error.message)
            return otherwise

    name = check("name", checked_name, "")
    title = check("title", checked_title, "")
    main = check("main", lambda cell: checked_url(cell, "main"), "")
    sub = check("sub", lambda cell: cell and checked_url(cell, "sub"), "")
    enabled = check("enabled", _flag, True)
    place: Place | None = None
    if bool(cells.get("lat")) != bool(cells.get("lon")):
        faults.add(line, "lat" if not cells.get("lat") else "lon", "a place needs both lat and lon")
    elif cells.get("lat"):
        latitude = check("lat", _degrees, 0.0)
        longitude = check("lon", _degrees, 0.0)
        check("lat", lambda _: checked_place((latitude, 0.0)), None)
        check("lon", lambda _: checked_place((0.0, longitude)), None)
        place = Place(latitude, longitude)
    height = check("height_m", lambda cell: checked_height(_number(cell)), None)
    view = _view(cells, line, faults)
    area = check("area", checked_area, "")
    owner = check("owner", lambda cell: checked_owner(cell.lower() or OwnerKind.UNKNOWN), OwnerKind.UNKNOWN)
    if faults.found > before:
        return None
    return CameraSettings(
        name=name,
        main_url=main,
        sub_url=sub,
        title=title,
        place=place,
        enabled=enabled,
        height_m=height,
        view=view,
        area=area,
        owner=owner,
    )


def _view(cells: dict[str, str], line: int, faults: _Faults) -> View | None:
    parts: list[float | None] = []
    for column in ("direction_deg", "angle_deg", "reach_m"):
        try:
            parts.append(_number(cells.get(column, "")))
        except InvalidArgument as error:
            faults.add(line, column, error.message.partition(": ")[2])
            return None
    try:
        return checked_view(view_of(*parts))
    except InvalidArgument as error:
        column, _, message = error.message.partition(": ")
        faults.add(line, column, message)
        return None


def _number(cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidArgument(f"number: {cell[:40]!r} is not a number such as 3.5")
    return value


def _flag(cell: str) -> bool:
    try:
        return _ENABLED[cell.lower()]
    except KeyError:
        raise InvalidArgument(f"enabled: {cell[:40]!r} is not yes or no") from None


def _degrees(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidArgument(f"degrees: {cell[:40]!r} is not a number of degrees such as 19.9275")
    return value


class _Faults:
    """What is wrong with a file; only the first ones are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        self.found = 0

    def add(self, line: int, column: str, message: str) -> None:
        self.found += 1
        if len(self._lines) < _MAX_FAULTS:
            where = f"{column}: " if column else ""
            self._lines.append(f"{self._path}:{line}: {where}{message}")

    def raise_if_any(self) -> None:
        if self.found:
            more = self.found - len(self._lines)
            lines = [*self._lines, f"… and {more} more"] if more else self._lines
            raise ConfigError("\n".join(lines), facts={"faults": str(self.found)})
