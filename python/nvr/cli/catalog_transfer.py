"""Importing areas, nodes and cameras from files into the network catalog, and exporting them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nvr.cli import catalog_records
from nvr.cli.asking import asked
from nvr.cli.catalog_changes import DryRun, Known, Message, make, read
from nvr.cli.settings import Settings, with_node
from nvr.csv_table import Row, read_file
from nvr.errors import ConfigError, InvalidArgument, NvrError
from nvr.files import write_whole
from nvr.footage.types import ReadContext
from nvr.network_catalog import transfer
from nvr.network_catalog.changes import Change, PutArea, PutCamera, PutNode, changed
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry
from nvr.network_catalog.versions import Version, entries_of

_Entry = Area | NodeEntry | CameraEntry
_Reader = Callable[
    [bytes, object, Catalog], Sequence[Row[Area]] | Sequence[Row[NodeEntry]] | Sequence[Row[CameraEntry]]
]

_CHANGE = re.compile(r"changes\[(\d+)\]")
_GEOJSON = (".geojson", ".json")


class Kind(StrEnum):
    """What a file holds, beside areas."""

    NODES = "nodes"
    CAMERAS = "cameras"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file of this name.")]
AreasFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.csv", help="Columns: code, name, level, parent.", dir_okay=False, show_default=False
    ),
]
KindArgument = Annotated[Kind, typer.Argument(metavar="nodes|cameras", show_default=False)]
EntriesFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="CSV; of cameras also GeoJSON (.geojson).", dir_okay=False, show_default=False
    ),
]


@with_node
def import_areas(settings: Settings, file: AreasFile, message: Message = "", dry_run: DryRun = False) -> None:
    """Add the areas of a CSV file, and change those whose code is there. All rows are checked first.

    Areas that the file does not name stay as they are. An area lies in one of the file or of the catalog.
    """
    _import(settings, file, "areas", transfer.read_areas, message, dry_run=dry_run)


@with_node
def export_areas(settings: Settings, file: AreasFile, overwrite: Overwrite = False) -> None:
    """Save the areas as CSV, each before those that lie in it."""
    _export(settings, file, "areas", transfer.areas_to_csv, overwrite=overwrite)


@with_node
def import_entries(
    settings: Settings,
    kind: KindArgument,
    file: EntriesFile,
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Add the nodes or cameras of a file, and change those whose id is there. All rows are checked first.

    What the file does not name stays as it is. What it says of a camera, its recorder takes over.
    """
    _import(settings, file, kind, _reader(kind, file), message, dry_run=dry_run)


@with_node
def export_entries(
    settings: Settings, kind: KindArgument, file: EntriesFile, overwrite: Overwrite = False
) -> None:
    """Save the nodes or cameras of the catalog as CSV, or cameras as GeoJSON (.geojson)."""
    if kind is Kind.NODES:
        _check_is_csv(file)
        writer = transfer.nodes_to_csv
    else:
        writer = transfer.cameras_to_geojson if _is_geojson(file) else transfer.cameras_to_csv
    _export(settings, file, kind, writer, overwrite=overwrite)


def _reader(kind: Kind, file: Path) -> _Reader:
    if kind is Kind.NODES:
        _check_is_csv(file)
        return transfer.read_nodes
    if _is_geojson(file):
        return transfer.read_cameras_geojson
    return transfer.read_cameras


def _import(
    settings: Settings,
    file: Path,
    what: str,
    reader: _Reader,
    message: str,
    *,
    dry_run: bool,
) -> None:
    output = settings.output
    raw = read_file(file, transfer.MOST_BYTES)

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Version]:
        known = await read(catalog, context, nodes=True, cameras=True)
        rows = reader(raw, file, known.content)
        there = set(_entries(known))
        new = [row for row in rows if row.value not in there]
        changes = [_change(row.value) for row in new]
        _check(file, known, [row.line for row in new], changes)
        if len(new) < len(rows):
            output.note(f"{len(rows) - len(new):,} of {len(rows):,} are in the catalog as they are")
        summary = message or f"{len(new):,} {what} of {file.name}"[:500]
        made = await make(catalog, context, known, changes, output, message=summary, dry_run=dry_run)
        return made or [_nothing(known)]

    catalog_records.show_made(output, asked(settings, RemoteCatalog, ask), dry_run=dry_run)


def _check(file: Path, known: Known, lines: Sequence[int | str], changes: Sequence[Change]) -> None:
    """What the root would say, with the line of the row that it would say it of."""
    try:
        changed(entries_of(known.content), changes)
    except NvrError as error:
        at = _CHANGE.match(error.field)
        place = f"{file}:{lines[int(at[1])]}" if at else str(file)
        raise ConfigError(f"{place}: {error.message}", field=error.field, facts=error.facts) from error


def _export(
    settings: Settings, file: Path, what: str, writer: Callable[[Catalog], str], *, overwrite: bool
) -> None:
    if file.exists() and not overwrite:
        raise InvalidArgument(f"{file} exists already; --overwrite replaces it", field="file")

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> Known:
        return await read(catalog, context, nodes=what != "areas", cameras=what == "cameras")

    known = asked(settings, RemoteCatalog, ask)
    data = writer(known.content).encode()
    write_whole(file, data)
    count = len(getattr(known.content, what))
    if settings.output.as_json:
        version = known.standing.version
        settings.output.record(
            {"type": "exported", "path": str(file), "kind": what, "entries": count, "version": version}
        )
    else:
        settings.output.line(f"{file}: {count:,} {what}")
    settings.output.warn(known.warnings)


def _entries(known: Known) -> Sequence[_Entry]:
    content = known.content
    return [*content.areas, *content.nodes, *content.cameras]


def _change(entry: _Entry) -> Change:
    match entry:
        case Area():
            return PutArea(entry)
        case NodeEntry():
            return PutNode(entry)
        case CameraEntry():
            return PutCamera(entry)


def _nothing(known: Known) -> Version:
    return Version(known.standing.version, "", known.standing.made_us, "", "")


def _is_geojson(file: Path) -> bool:
    return file.suffix.lower() in _GEOJSON


def _check_is_csv(file: Path) -> None:
    if _is_geojson(file):
        raise InvalidArgument(f"{file}: nodes are CSV; only cameras are GeoJSON", field="file")
