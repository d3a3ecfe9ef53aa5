"""``nvr areas``: the areas of the network, and cutting them anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

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
from nvr.cli.catalog_transfer import export_areas, import_areas
from nvr.cli.complete import area_codes
from nvr.cli.settings import Settings, with_node
from nvr.errors import AreaNotFound, InvalidArgument
from nvr.footage.types import Notice, ReadContext
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.changes import (
    Change,
    DropLevel,
    MergeAreas,
    PutArea,
    RestoreArea,
    RetireArea,
    SplitArea,
)
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.types import Area, RetiredArea
from nvr.network_catalog.versions import Version

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show the areas of the network, and cut them anew.",
)

AreaArgument = Annotated[
    str,
    typer.Argument(
        metavar="AREA",
        help="Its code or name (with or without accents).",
        autocompletion=area_codes,
        show_default=False,
    ),
]
Parent = Annotated[
    str,
    typer.Option(
        "--parent",
        metavar="AREA",
        help="The area that it lies in.",
        autocompletion=area_codes,
        show_default=False,
    ),
]
Level = Annotated[
    str,
    typer.Option(
        "--level",
        metavar="WORD",
        help="What kind it is: province, district, commune, ward, hamlet, or another word.",
        show_default=False,
    ),
]


@app.command("list")
@with_node
def list_areas(
    settings: Settings,
    within: Annotated[
        str,
        typer.Option(
            "--within",
            metavar="AREA",
            help="This area, by code or name, and all within it.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = "",
    former: Annotated[bool, typer.Option("--former", help="Also codes that are no areas any more.")] = False,
) -> None:
    """List areas, each under the one that it lies in."""
    warnings: list[Notice] = []

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Area | RetiredArea]:
        return await items(catalog.list_areas(context, within, former=former), warnings)

    found = asked(settings, RemoteCatalog, ask)
    output = settings.output
    if output.as_json:
        for each in found:
            output.record(catalog_records.area(each))
        output.record(records.end(warnings, complete=True))
        return
    depths: dict[str | None, int] = {}
    rows = []
    for area in found:
        if isinstance(area, Area):
            depth = depths[area.code] = depths.get(area.parent, -1) + 1
            rows.append((f"{'  ' * depth}{area.code}", area.name, area.level))
    output.table(f"{len(rows)} areas", ("code", "name", "level"), rows)
    if former:
        gone = [
            (each.code, each.name, each.level, ", ".join(each.into) or each.parent or "")
            for each in found
            if isinstance(each, RetiredArea)
        ]
        output.table(f"{len(gone)} former areas", ("code", "name", "level", "counts to"), gone)
    output.warn(warnings)


@app.command("show")
@with_node
def show(settings: Settings, area: AreaArgument) -> None:
    """Show an area: where it lies, what lies in it, and which former codes count to it."""

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> Known:
        return await read(catalog, context)

    known = asked(settings, RemoteCatalog, ask)
    tree = known.tree
    found = tree.find(area)
    path = tree.path(found.code)
    codes = tree.codes(found.code)
    is_area = isinstance(found, Area)
    children = tree.children(found.code) if is_area else ()
    within = sorted(codes & tree.areas.keys() - {found.code})
    former = sorted(codes & tree.retired.keys() - {found.code})
    output = settings.output
    if output.as_json:
        output.record(
            {
                **catalog_records.area(found),
                "path": [catalog_records.area(each) for each in path],
                "children": [each.code for each in children],
                "within": within,
                "former_codes": former,
                "counts_to": sorted(tree.now(found.code)),
            }
        )
        return
    output.line(f"{found.code}  {found.name}  ({found.level})")
    output.line(f"lies in: {' › '.join(f'{each.name} ({each.code})' for each in path[:-1]) or 'none'}")
    if not is_area:
        now = ", ".join(tree.label(each) for each in sorted(tree.now(found.code)))
        output.line(f"no area any more; counts to: {now or 'the area around'}")
    output.line(f"areas within: {len(within)}")
    if former:
        output.line(f"former codes that count to it: {', '.join(former)}")
    if children:
        rows = [(each.code, each.name, each.level) for each in children]
        output.table(f"{len(children)} right within", ("code", "name", "level"), rows)


@app.command("add")
@with_node
def add(
    settings: Settings,
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE", help="1 to 63 of A-Z a-z 0-9 . _ -; never used before.", show_default=False
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="In any script.", show_default=False)],
    parent: Parent = "",
    level: Level = "",
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Add an area. The first of all lies in none; each other in one that is there."""

    def change(known: Known) -> Change:
        tree = known.tree
        if code in tree:
            raise InvalidArgument(
                f"there is an area {tree.label(code)} already: nvr areas rename, or move", field="code"
            )
        if not parent and tree.root is not None:
            raise InvalidArgument(
                f"--parent: in which area does {code} lie? Only {tree.label(tree.root.code)} lies in none",
                field="parent",
            )
        if not level:
            raise InvalidArgument("--level: a word such as province, district or commune", field="level")
        return PutArea(Area(code, name, _code(tree, parent) if parent else None, level))

    _make(settings, change, message, dry_run=dry_run)


@app.command("rename")
@with_node
def rename(
    settings: Settings,
    area: AreaArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.", show_default=False)],
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="WORD",
            help="Another kind, too: a commune that becomes a ward.",
            show_default=False,
        ),
    ] = "",
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Give an area another name. Its code stays."""

    def change(known: Known) -> Change:
        found = _area(known.tree, area)
        return PutArea(replace(found, name=name, level=level or found.level))

    _make(settings, change, message, dry_run=dry_run)


@app.command("move")
@with_node
def move(
    settings: Settings,
    area: AreaArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="AREA",
            help="The area that it comes to lie in.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ],
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Move an area, with all that lies in it, into another."""

    def change(known: Known) -> Change:
        return PutArea(replace(_area(known.tree, area), parent=_code(known.tree, to)))

    _make(settings, change, message, dry_run=dry_run)


@app.command("merge")
@with_node
def merge(
    settings: Settings,
    areas: Annotated[
        list[str],
        typer.Argument(
            metavar="AREA...",
            help="Those that end, by code or name.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ],
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="CODE",
            help="What they become: one of them, another area, or the code of a new one.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of a new one.", show_default=False)
    ] = "",
    level: Annotated[
        str,
        typer.Option("--level", metavar="WORD", help="Of a new one. Default: theirs.", show_default=False),
    ] = "",
    parent: Annotated[
        str,
        typer.Option(
            "--parent",
            metavar="AREA",
            help="Of a new one. Default: theirs.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = "",
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Make one area of several. What was in them is found in it, by the old codes too."""

    def change(known: Known) -> Change:
        tree = known.tree
        merged = [_area(tree, each) for each in areas]
        codes = tuple(each.code for each in merged)
        if name:
            if into in tree:
                raise InvalidArgument(
                    f"--into: {tree.label(into)} is there: --name is for a new area", field="into"
                )
            around = _code(tree, parent) if parent else _shared(merged, "parent")
            return MergeAreas(codes, Area(into, name, around, level or _shared(merged, "level") or ""))
        if level or parent:
            raise InvalidArgument("--level and --parent are of a new area: say its --name", field="name")
        try:
            return MergeAreas(codes, _area(tree, into))
        except AreaNotFound as error:
            error.message += "; for a new area, say its --name"
            raise

    _make(settings, change, message, dry_run=dry_run)


@app.command("split")
@with_node
def split(
    settings: Settings,
    area: AreaArgument,
    parts: Annotated[
        list[str],
        typer.Option(
            "--part", metavar="CODE=NAME", help="A new area that it becomes; repeat it.", show_default=False
        ),
    ],
    children: Annotated[
        list[str] | None,
        typer.Option(
            "--child",
            metavar="CODE=PART",
            help="An area right within it, and the part that it comes to lie in; all must be named.",
            show_default=False,
        ),
    ] = None,
    cameras: Annotated[
        list[str] | None,
        typer.Option(
            "--camera",
            metavar="CAMERA=PART",
            help="A camera in it (name, node/name or id), and the part that it stands in.",
            show_default=False,
        ),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            "--node-part",
            metavar="NODE=PART",
            help="A node that serves it (name or id), and the part that it serves.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option("--level", metavar="WORD", help="Of the parts. Default: its own.", show_default=False),
    ] = "",
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Make several areas of one, where it lay.

    A camera that is not named is found in every part, until nvr catalog import cameras says where it stands.
    """

    def change(known: Known) -> Change:
        found = _area(known.tree, area)
        made = [
            Area(code, name, found.parent, level or found.level) for code, name in _pairs(parts, "--part")
        ]
        cameras_in = _pairs(cameras or (), "--camera")
        nodes_in = _pairs(nodes or (), "--node-part")
        return SplitArea(
            found.code,
            tuple(made),
            {_code(known.tree, child): part for child, part in _pairs(children or (), "--child")},
            {camera_named(known, each).camera_id: part for each, part in cameras_in},
            {node_named(known, each).node_id: part for each, part in nodes_in},
        )

    _make(settings, change, message, dry_run=dry_run, whole=bool(cameras or nodes))


@app.command("retire")
@with_node
def retire(settings: Settings, area: AreaArgument, message: Message = "", dry_run: DryRun = False) -> None:
    """End an area in which no other lies; nothing takes over. What was in it counts to the area around."""
    _make(settings, lambda known: RetireArea(_code(known.tree, area)), message, dry_run=dry_run)


@app.command("restore")
@with_node
def restore(
    settings: Settings,
    code: Annotated[str, typer.Argument(metavar="CODE", help="A former area's code.", show_default=False)],
    parent: Annotated[
        str,
        typer.Option(
            "--parent",
            metavar="AREA",
            help="The area that it comes to lie in. Default: where it lay.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = "",
    children: Annotated[
        list[str] | None,
        typer.Option(
            "--child",
            metavar="AREA",
            help="An area that comes to lie in it; repeat it.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = None,
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Make a former code an area again. Cameras that were given to what took over stay there."""

    def change(known: Known) -> Change:
        within = tuple(_code(known.tree, each) for each in children or ())
        return RestoreArea(code, _code(known.tree, parent) if parent else None, within)

    _make(settings, change, message, dry_run=dry_run)


@app.command("drop-level")
@with_node
def drop_level(
    settings: Settings,
    level: Annotated[
        str, typer.Argument(metavar="LEVEL", help="The level of its areas: district.", show_default=False)
    ],
    message: Message = "",
    dry_run: DryRun = False,
) -> None:
    """Take a tier out: what lay in its areas lies in the areas around them.

    Cameras keep their codes, and a question for a dropped code finds what it found.
    """
    _make(settings, lambda _: DropLevel(level), message, dry_run=dry_run)


app.command("import")(import_areas)
app.command("export")(export_areas)


def _make(
    settings: Settings,
    change: Callable[[Known], Change],
    message: str,
    *,
    dry_run: bool,
    whole: bool = False,
) -> None:
    """One change, made of what is there. ``whole``: of nodes and cameras too."""

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> list[Version]:
        known = await read(catalog, context, nodes=whole, cameras=whole)
        return await make(
            catalog, context, known, [change(known)], settings.output, message=message, dry_run=dry_run
        )

    catalog_records.show_made(settings.output, asked(settings, RemoteCatalog, ask), dry_run=dry_run)


def _area(tree: AreaTree, text: str) -> Area:
    """By code or name. Raises :exc:`AreaNotFound`, :exc:`AreaAmbiguous`."""
    return tree.area(tree.find(text).code)


def _code(tree: AreaTree, text: str) -> str:
    return _area(tree, text).code


def _shared(areas: Sequence[Area], what: str) -> str | None:
    """The parent or level that all have."""
    values: set[str | None] = {getattr(each, what) for each in areas}
    if len(values) > 1:
        shown = ", ".join(sorted(str(each) for each in values))
        raise InvalidArgument(f"--{what}: theirs are several ({shown}); say which", field=what)
    return values.pop()


def _pairs(values: Sequence[str], option: str) -> list[tuple[str, str]]:
    """``left=right`` of each; the left one is named once."""
    found: dict[str, str] = {}
    for value in values:
        left, _, right = value.partition("=")
        if not left.strip() or not right.strip():
            raise InvalidArgument(f"{option}: {value[:80]!r} has no =, or nothing beside it", field=option)
        if left.strip() in found:
            raise InvalidArgument(f"{option}: {left.strip()[:80]!r} is there twice", field=option)
        found[left.strip()] = right.strip()
    return list(found.items())
