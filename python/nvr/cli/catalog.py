"""``nvr catalog``: the network catalog, its versions and what it has."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nvr.cli import catalog_records, records
from nvr.cli.asking import asked
from nvr.cli.catalog_changes import (
    DryRun,
    Known,
    Message,
    camera_named,
    items,
    make,
    node_named,
    read,
)
from nvr.cli.catalog_files import backup, restore
from nvr.cli.catalog_transfer import Kind, KindArgument, export_entries, import_entries
from nvr.cli.complete import area_codes
from nvr.cli.enrolment import enrolment, told_below
from nvr.cli.output import Output
from nvr.cli.settings import Settings, with_node
from nvr.directory.feed import RemoteDirectory
from nvr.errors import InvalidArgument
from nvr.footage.types import Notice, ReadContext
from nvr.network_catalog.changes import Change, RemoveCamera, RemoveNode
from nvr.network_catalog.reader import CatalogStanding, StandingState
from nvr.network_catalog.remote import RemoteCatalog, RemoteHolder
from nvr.network_catalog.versions import Version

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The network catalog: its versions, nodes and cameras; back up, restore.",
)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_STATES = {
    StandingState.NONE: "none: areas are the codes that cameras have",
    StandingState.ROOT: "written here",
    StandingState.HELD: "held: it came from above",
    StandingState.AWAY: "written here, but its database is away: nothing can be changed until it is back",
    StandingState.BEHIND: "written here, but its database was restored from a backup: nothing can be changed",
    StandingState.UNKNOWN: "of a newer version of nvr",
}


@app.command("status")
@with_node
def status(settings: Settings) -> None:
    """Show which version a node has, how that stands, and how much there is."""

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> CatalogStanding:
        return await catalog.standing(context)

    standing = asked(settings, RemoteCatalog, ask)
    output = settings.output
    if output.as_json:
        output.record(catalog_records.standing(standing))
        return
    output.line(f"catalog: {_STATES[standing.state]}")
    if standing.catalog_id:
        output.line(f"id: {standing.catalog_id}")
    if standing.version:
        output.line(f"version: {standing.version}, made {output.instant(standing.made_us)}")
        output.line(f"areas: {standing.areas:,}, nodes: {standing.nodes:,}, cameras: {standing.cameras:,}")
    if standing.state is StandingState.AWAY:
        output.note("warning: the catalog's database is out of reach; the node's log says why")
    elif standing.state is StandingState.BEHIND:
        output.note(
            f"warning: a node below holds version {standing.highest_held}, which the database does not know; "
            "compare the two, then: nvr catalog adopt"
        )


@app.command("history")
@with_node
def history(
    settings: Settings,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List the versions, newest first: when, who, what, and how much it changed."""
    warnings: list[Notice] = []

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Version]:
        return await items(catalog.versions(context, limit), warnings)

    versions = asked(settings, RemoteCatalog, ask)
    output = settings.output
    if output.as_json:
        for each in versions:
            output.record(catalog_records.version(each))
        output.record(records.end(warnings, complete=True))
        return
    rows = [
        (
            str(each.number),
            output.instant(each.made_us),
            each.actor,
            f"+{each.added:,} ~{each.changed:,} -{each.removed:,}",
            each.summary,
        )
        for each in versions
    ]
    output.table(f"{len(versions)} versions", ("version", "made", "by", "entries", "what"), rows)
    output.warn(warnings)


@app.command("undo")
@with_node
def undo(
    settings: Settings,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Its number.", show_default=False)],
    dry_run: DryRun = False,
) -> None:
    """Take a version back, by a new one. Later versions must not have changed the same entries."""

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> Version:
        return await catalog.undo(context, version, dry_run=dry_run)

    made = asked(settings, RemoteCatalog, ask)
    catalog_records.show_made(settings.output, [made], dry_run=dry_run)


app.command("backup")(backup)
app.command("restore")(restore)


@app.command("adopt")
@with_node
def adopt(settings: Settings, yes: Yes = False, dry_run: DryRun = False) -> None:
    """After a restore: make what the database has the newest version, for all nodes.

    What versions had that the backup does not know is lost then: compare first what nodes still hold.
    """

    async def standing(catalog: RemoteCatalog, context: ReadContext) -> CatalogStanding:
        return await catalog.standing(context)

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> Version:
        return await catalog.adopt(context, dry_run=dry_run)

    output = settings.output
    if not yes and not dry_run:
        held = asked(settings, RemoteCatalog, standing).highest_held
        what = (
            f"Nodes hold version {held}, which the database does not know." if held else "No node is ahead."
        )
        _confirm(output, f"{what} Make what the database has the newest version of all nodes?")
    made = asked(settings, RemoteCatalog, ask)
    if output.as_json:
        output.record({**catalog_records.version(made), "dry_run": dry_run})
    else:
        output.line(f"{'would be ' if dry_run else ''}version {made.number}: {made.summary}")


@app.command("release")
@with_node
def release(
    settings: Settings,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is held.")] = False,
) -> None:
    """Let a node forget the catalog that it holds, so that it takes that of another root."""

    async def held(holder: RemoteHolder, context: ReadContext) -> tuple[str, int]:
        found = await holder.held(context)
        return found.catalog_id, found.number

    async def ask(holder: RemoteHolder, context: ReadContext) -> str:
        return await holder.release(context)

    output = settings.output
    catalog_id, number = asked(settings, RemoteHolder, held)
    if catalog_id and not dry_run:
        if not yes:
            _confirm(output, f"Let {settings.address} forget version {number} of catalog {catalog_id[:8]}…?")
        catalog_id = asked(settings, RemoteHolder, ask)
    if output.as_json:
        output.record({"type": "released", "catalog_id": catalog_id, "version": number, "dry_run": dry_run})
    elif not catalog_id:
        output.line("no catalog is held")
    else:
        would = "would be " if dry_run else ""
        output.line(f"version {number} of catalog {catalog_id} {would}forgotten")
        if not dry_run:
            output.note("the node above brings its catalog within seconds, if it has one")


@app.command("nodes")
@with_node
def list_nodes(settings: Settings) -> None:
    """List the nodes of the catalog."""
    warnings: list[Notice] = []

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Any]:
        return await items(catalog.list_nodes(context), warnings)

    nodes = asked(settings, RemoteCatalog, ask)
    rows = [(each.name, each.title, each.area, each.node_id) for each in nodes]
    _show_list(
        settings.output,
        f"{len(nodes)} nodes",
        ("name", "title", "area", "id"),
        rows,
        map(catalog_records.node, nodes),
        warnings,
    )


@app.command("cameras")
@with_node
def list_cameras(
    settings: Settings,
    area: Annotated[
        str,
        typer.Option(
            "--area",
            metavar="AREA",
            help="Only those of this area, by code or name, and of all within it.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = "",
) -> None:
    """List the cameras of the catalog: at the root all, elsewhere those of the node and of nodes below it."""

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> Known:
        return await read(catalog, context, nodes=True, cameras=True)

    known = asked(settings, RemoteCatalog, ask)
    codes = known.tree.codes(area) if area else None
    names = {node.node_id: node.name for node in known.content.nodes}
    cameras = [each for each in known.content.cameras if codes is None or each.area in codes]
    rows = [
        (
            each.name,
            each.title,
            names.get(each.node_id, each.node_id[:16]),
            each.area,
            f"{each.place.latitude}, {each.place.longitude}" if each.place else "",
            each.camera_id,
        )
        for each in cameras
    ]
    _show_list(
        settings.output,
        f"{len(cameras)} cameras",
        ("name", "title", "node", "area", "place", "id"),
        rows,
        ({**catalog_records.camera(each), "node": names.get(each.node_id, "")} for each in cameras),
        list(known.warnings),
    )


app.command("import")(import_entries)
app.command("export")(export_entries)


@app.command("remove")
@with_node
def remove(
    settings: Settings,
    kind: KindArgument,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Name or id; of a camera also node/name.", show_default=False),
    ],
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Take nodes or cameras out of the catalog. Nothing is deleted at any node.

    A node goes after its cameras.
    """

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Version]:
        known = await read(catalog, context, nodes=True, cameras=True)
        changes: list[Change]
        if kind is Kind.NODES:
            changes = [RemoveNode(node_named(known, each).node_id) for each in names]
        else:
            changes = [RemoveCamera(camera_named(known, each).camera_id) for each in names]
        what = message or f"{kind} taken out: {', '.join(names)}"[:500]
        return await make(catalog, context, known, changes, settings.output, message=what, dry_run=dry_run)

    catalog_records.show_made(settings.output, asked(settings, RemoteCatalog, ask), dry_run=dry_run)


@app.command("enroll")
@with_node
def enroll(settings: Settings, message: Message = "", dry_run: DryRun = False) -> None:
    """Put into the catalog the nodes and cameras below its root that it has not yet.

    What the catalog says of a camera is changed there from then on. --dry-run lists what is missing.
    """

    def remotes(channel: Any, *, target: str, timeout_s: float) -> tuple[RemoteCatalog, RemoteDirectory]:
        return (
            RemoteCatalog(channel, target=target, timeout_s=timeout_s),
            RemoteDirectory(channel, target=target),
        )

    output = settings.output

    async def ask(remote: tuple[RemoteCatalog, RemoteDirectory], context: ReadContext) -> list[Version]:
        catalog, directory = remote
        known = await read(catalog, context, nodes=True, cameras=True)
        found = enrolment(known.content, await told_below(directory, context))
        names = {each.node_id: each.name for each in (*known.content.nodes, *found.nodes)}
        for node in found.nodes:
            if output.as_json:
                output.record({**catalog_records.node(node), "dry_run": dry_run})
            elif dry_run:
                output.line(f"node {node.name}")
        for camera in found.cameras:
            if output.as_json:
                node_name = names.get(camera.node_id, "")
                output.record({**catalog_records.camera(camera), "node": node_name, "dry_run": dry_run})
            elif dry_run:
                output.line(f"camera {names.get(camera.node_id, '')}/{camera.name}")
        for warning in found.warnings:
            output.note(f"warning: {warning}")
        what = message or f"{len(found.nodes):,} nodes and {len(found.cameras):,} cameras enrolled"
        return await make(catalog, context, known, found.changes, output, message=what, dry_run=dry_run)

    catalog_records.show_made(output, asked(settings, remotes, ask), dry_run=dry_run)


def _confirm(output: Output, question: str) -> None:
    if output.as_json:
        raise InvalidArgument("with --json nobody is asked: say --yes, or --dry-run")
    typer.confirm(question, abort=True, err=True)


def _show_list(
    output: Output, title: str, columns: Any, rows: Any, found: Any, warnings: list[Notice]
) -> None:
    if output.as_json:
        for each in found:
            output.record(each)
        output.record(records.end(warnings, complete=True))
        return
    output.table(title, columns, rows)
    output.warn(warnings)
