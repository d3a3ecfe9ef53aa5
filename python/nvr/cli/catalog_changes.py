"""Reading the network catalog and changing it: what ``nvr areas`` and ``nvr catalog`` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from nvr.cli.output import Output
from nvr.errors import AmbiguousCamera, CameraNotFound, InvalidArgument, NotFound, NvrError
from nvr.footage.types import End, Notice, ReadContext
from nvr.network_catalog import convert
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.changes import (
    Change,
    PutArea,
    PutCamera,
    PutNode,
    changed,
    summary_of,
)
from nvr.network_catalog.reader import CatalogStanding
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea
from nvr.network_catalog.versions import Version, difference, entries_of

T = TypeVar("T")

MOST_CHANGES = 5_000
"""Changes in one version; a node takes 10,000 at most."""
_MOST_BYTES = 800 << 10
"""Of a request; a node takes 1 MiB."""
_OTHER_BYTES = 256

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check, at the root; change nothing.")]
Message = Annotated[
    str,
    typer.Option(
        "--message", "-m", metavar="TEXT", help="What the change is, for the history.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Known:
    """The catalog as a node has it, or the parts of it that were asked for."""

    standing: CatalogStanding
    content: Catalog
    tree: AreaTree
    warnings: tuple[Notice, ...] = ()


async def read(
    catalog: RemoteCatalog, context: ReadContext, *, nodes: bool = False, cameras: bool = False
) -> Known:
    """Areas, and nodes and cameras where they are wanted. All is of the version in ``standing``, or newer."""
    # Before the rest: what is changed in between makes the change that rests on it a conflict.
    standing = await catalog.standing(context)
    warnings: list[Notice] = []
    areas: list[Area | RetiredArea] = await items(catalog.list_areas(context, former=True), warnings)
    content = Catalog(
        tuple(each for each in areas if isinstance(each, Area)),
        tuple(each for each in areas if isinstance(each, RetiredArea)),
        tuple(await items(catalog.list_nodes(context), warnings)) if nodes else (),
        tuple(await items(catalog.list_cameras(context), warnings)) if cameras else (),
    )
    return Known(standing, content, AreaTree(content.areas, content.retired), tuple(warnings))


async def items(steps: AsyncIterator[Any], warnings: list[Notice]) -> list[Any]:
    """The items of an answer; what is said beside them goes to ``warnings``."""
    found: list[Any] = []
    async for step in steps:
        if isinstance(step, Notice):
            warnings.append(step)
        elif not isinstance(step, End):
            found.append(step)
    return found


async def make(
    catalog: RemoteCatalog,
    context: ReadContext,
    known: Known,
    changes: Sequence[Change],
    output: Output,
    *,
    message: str = "",
    dry_run: bool = False,
) -> list[Version]:
    """Makes versions of changes: one, or several where they are too many for one.

    ``changes`` stand in an order in which each may rest on those before it. For
    several versions ``known`` has the whole catalog: all of it is checked before the
    first is made. Raises :exc:`nvr.errors.CatalogConflict` when the catalog is not
    what it was when ``known`` was read.
    """
    pieces = list(_pieces(changes))
    if not pieces:
        return []
    at = known.standing.version
    if len(pieces) == 1:
        return [await catalog.change(context, changes, summary=message, expected_version=at, dry_run=dry_run)]
    before = entries_of(known.content)
    after = changed(before, changes)
    output.note(f"{len(changes):,} changes: {len(pieces)} versions")
    # Who is not the root, or may not, is told before anything is done.
    first = await catalog.change(context, pieces[0], summary=message, expected_version=at, dry_run=True)
    if dry_run:
        return [_whole(first, at + len(pieces), message or summary_of(changes), difference(before, after))]
    made: list[Version] = []
    done = 0
    for number, piece in enumerate(pieces, 1):
        what = f"{message or summary_of(changes)} ({number} of {len(pieces)})"
        try:
            version = await catalog.change(context, piece, summary=what[:500], expected_version=at)
        except NvrError as error:
            if made:
                undo = "; ".join(f"nvr catalog undo {each.number}" for each in reversed(made))
                error.message += f"\n{done:,} of {len(changes):,} changes were made before; undo: {undo}"
            raise
        at, done = version.number, done + len(piece)
        made.append(version)
        output.note(f"version {at}: {done:,} of {len(changes):,} changes")
    return made


def camera_named(known: Known, text: str) -> CameraEntry:
    """By id, node/name or name."""
    names = {node.node_id: node.name for node in known.content.nodes}

    def is_meant(camera: CameraEntry) -> bool:
        return text in (camera.camera_id, camera.name, f"{names.get(camera.node_id)}/{camera.name}")

    found = [camera for camera in known.content.cameras if is_meant(camera)]
    if not found:
        raise CameraNotFound(f"the catalog has no camera {text[:80]!r}")
    if len(found) > 1:
        listed = ", ".join(f"{names.get(each.node_id)}/{each.name}" for each in found[:10])
        raise AmbiguousCamera(f"several cameras are called {text[:80]!r}: {listed}")
    return found[0]


def node_named(known: Known, text: str) -> NodeEntry:
    """By id or name."""
    found = [each for each in known.content.nodes if text in (each.node_id, each.name)]
    if not found:
        raise NotFound(f"the catalog has no node {text[:80]!r}")
    if len(found) > 1:
        listed = ", ".join(each.node_id[:16] for each in found[:10])
        raise InvalidArgument(f"several nodes are called {text[:80]!r}; by id: {listed}")
    return found[0]


def _whole(first: Version, number: int, summary: str, differences: Sequence[Any]) -> Version:
    added = sum(each.before is None for each in differences)
    removed = sum(each.after is None for each in differences)
    return Version(
        number,
        "",
        first.made_us,
        first.actor,
        summary,
        added=added,
        changed=len(differences) - added - removed,
        removed=removed,
    )


def _pieces(changes: Sequence[Change]) -> Iterator[list[Change]]:
    piece: list[Change] = []
    size = 0
    for change in changes:
        length = _length(change)
        if piece and (len(piece) == MOST_CHANGES or size + length > _MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(change)
        size += length
    if piece:
        yield piece


def _length(change: Change) -> int:
    """About how many bytes it has in a request."""
    match change:
        case PutArea(area):
            return convert.area_to_pb(area).ByteSize() + 8
        case PutNode(node):
            return convert.node_to_pb(node).ByteSize() + 8
        case PutCamera(camera):
            return convert.camera_to_pb(camera).ByteSize() + 8
        case _:
            return _OTHER_BYTES
