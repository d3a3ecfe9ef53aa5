"""``nvr cameras``: which cameras a node records."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit, urlunsplit

import typer

from nvr.cli import records
from nvr.cli.asking import asked
from nvr.cli.cameras_csv import COLUMNS, read_cameras
from nvr.cli.complete import CameraArgument, area_codes, camera_names
from nvr.cli.discover import discover
from nvr.cli.exit_codes import exit_unless
from nvr.cli.settings import Settings, with_node
from nvr.client import Network
from nvr.csv_table import Row
from nvr.errors import CameraExists, CameraNotFound, ConfigError, InvalidArgument
from nvr.footage.admin import CameraSettings, view_of
from nvr.footage.types import Notice, OwnerKind, Place, ReadContext, View

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, find, add, edit, remove and import cameras.",
)
app.command("discover")(discover)

_URL = (
    "rtsp://user:password@host:port/path (rtspu://: RTP over UDP); special characters of a password as %XX."
)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check, on the node too; change nothing.")]
AskPassword = Annotated[
    bool,
    typer.Option(
        "--ask-password",
        help="Ask for the password of the addresses, so that it is in no history or process list.",
    ),
]
Latitude = Annotated[float | None, typer.Option("--lat", min=-90, max=90, help="Degrees north, WGS 84.")]
Longitude = Annotated[float | None, typer.Option("--lon", min=-180, max=180, help="Degrees east, WGS 84.")]
Height = Annotated[
    float | None, typer.Option("--height", min=-500, max=9000, help="Of the lens over the ground, in metres.")
]
Looks = Annotated[
    float | None,
    typer.Option("--direction", min=0, max=360, help="Middle of the picture, clockwise from north."),
]
Angle = Annotated[
    float | None, typer.Option("--angle", min=1, max=360, help="How wide the picture is, in degrees.")
]
Reach = Annotated[
    float | None, typer.Option("--reach", min=0, max=20_000, help="How far it is of use, in metres.")
]
_OWNER = "Whose it is."
_MOVE_STEPS = {
    "reached": "{node} has its settings, and reaches it",
    "recording": "{node} records it",
    "adopted": "it is {node}'s own",
    "removed": "{node} has stopped, and keeps what it has recorded",
    "written": "the network catalog says so ({node})",
}


@app.command("list")
@with_node
def list_cameras(
    settings: Settings,
    cameras: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CAMERA]...", help="Only these.", autocompletion=camera_names, show_default=False
        ),
    ] = None,
) -> None:
    """List cameras, and what their streams do now."""
    output = settings.output
    with settings.connect() as network:
        found = network.cameras(*(cameras or ()))
    if output.as_json:
        for record in records.cameras(found):
            output.record(record)
        exit_unless(complete=found.complete)
        return
    # Of a gateway, whose cameras they are.
    of_others = any(camera.node != found.node for camera in found)
    rows: list[tuple[str, ...]] = []
    for camera in found:
        who = (camera.name, camera.title, *([camera.node] if of_others else []))
        for stream in camera.streams:
            size = f"{stream.width}x{stream.height}" if stream.width else ""
            why = stream.reason and f": {stream.reason}"
            last, oldest = output.instant(stream.last_frame_us), output.instant(stream.oldest_us)
            state = stream.state.value + why
            rows.append((*who, stream.kind, state, stream.video_codec, size, last, oldest))
        if not camera.streams:
            rows.append((*who, *[""] * 6))
    columns = ("name", "title", *(["node"] if of_others else []), "stream", "state", "codec", "size")
    title = f"{len(found)} cameras of {found.node}"
    output.table(title, (*columns, "last picture", "oldest footage"), rows)
    output.warn(found.warnings, complete=found.complete)
    exit_unless(complete=found.complete)


@app.command("add")
@with_node
def add(
    settings: Settings,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="1 to 63 of a-z, 0-9 and -.", show_default=False)
    ],
    main: Annotated[
        str, typer.Option("--main", metavar="URL", help=f"Main stream: {_URL}", show_default=False)
    ],
    sub: Annotated[str, typer.Option("--sub", metavar="URL", help="Sub-stream, if there is one.")] = "",
    title: Annotated[str, typer.Option("--title", help="For display, in any script.")] = "",
    lat: Latitude = None,
    lon: Longitude = None,
    height: Height = None,
    direction: Looks = None,
    angle: Angle = None,
    reach: Reach = None,
    area: Annotated[
        str,
        typer.Option("--area", metavar="CODE", help="Area that it stands in.", autocompletion=area_codes),
    ] = "",
    owner: Annotated[OwnerKind, typer.Option("--owner", help=_OWNER)] = OwnerKind.UNKNOWN,
    disabled: Annotated[bool, typer.Option("--disabled", help="Known, but not recorded yet.")] = False,
    ask_password: AskPassword = False,
    dry_run: DryRun = False,
) -> None:
    """Add a camera; recording starts at once."""
    if ask_password:
        main, sub = _with_password(main, sub)
    with settings.connect() as network:
        camera = network.add_camera(
            name,
            main,
            sub_url=sub,
            title=title,
            place=_place(lat, lon),
            enabled=not disabled,
            height_m=height,
            view=view_of(direction, angle, reach),
            area=area,
            owner=owner,
            dry_run=dry_run,
        )
    if settings.output.as_json:
        settings.output.record({**records.camera(camera), "type": "added", "dry_run": dry_run})
    elif dry_run:
        settings.output.line(f"{name}: would be added")
    else:
        settings.output.line(f"{name}: added, id {camera.id}")
        settings.output.note(f"undo: nvr cameras remove {name}")


@app.command("edit")
@with_node
def edit(
    settings: Settings,
    camera: CameraArgument,
    name: Annotated[str | None, typer.Option("--name", help="New name.", show_default=False)] = None,
    main: Annotated[
        str | None,
        typer.Option(
            "--main",
            metavar="URL",
            help="New main stream; *** for the password keeps it.",
            show_default=False,
        ),
    ] = None,
    sub: Annotated[
        str | None,
        typer.Option("--sub", metavar="URL", help="New sub-stream; empty removes it.", show_default=False),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="New title.", show_default=False)] = None,
    lat: Latitude = None,
    lon: Longitude = None,
    no_place: Annotated[bool, typer.Option("--no-place", help="Forget where it stands.")] = False,
    height: Height = None,
    direction: Looks = None,
    angle: Angle = None,
    reach: Reach = None,
    no_view: Annotated[bool, typer.Option("--no-view", help="Forget where it looks.")] = False,
    area: Annotated[
        str | None,
        typer.Option(
            "--area",
            metavar="CODE",
            help="New area; empty: none.",
            autocompletion=area_codes,
            show_default=False,
        ),
    ] = None,
    owner: Annotated[OwnerKind | None, typer.Option("--owner", help=_OWNER, show_default=False)] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Record it or not.", show_default=False)
    ] = None,
    ask_password: AskPassword = False,
    dry_run: DryRun = False,
) -> None:
    """Change a camera's settings; what is not named stays."""
    if ask_password:
        if main is None and not sub:
            raise InvalidArgument("--ask-password needs --main or --sub: the address to put it into")
        new_main, new_sub = _with_password(main or "", sub or "")
        main, sub = main and new_main, sub and new_sub
    with settings.connect() as network:
        handle = network.camera(camera)
        before = handle.settings()
        changed = handle.update(
            name=name,
            main_url=main,
            sub_url=sub,
            title=title,
            place=_place(lat, lon),
            clear_place=no_place,
            enabled=enabled,
            height_m=height,
            view=view_of(direction, angle, reach),
            clear_view=no_view,
            area=area,
            owner=owner,
            dry_run=dry_run,
        )
    if settings.output.as_json:
        settings.output.record({**records.camera(changed), "type": "edited", "dry_run": dry_run})
        return
    settings.output.line(f"{changed.name}: {'would be changed' if dry_run else 'changed'}")
    if not dry_run:
        undo = _undo(
            before,
            name=name,
            main=main,
            sub=sub,
            title=title,
            area=area,
            owner=owner,
            moved=no_place or lat is not None,
            turned=no_view or direction is not None,
            raised=height is not None,
            enabled=enabled,
        )
        settings.output.note(f"undo: nvr cameras edit {changed.name} {undo}")


@app.command("remove")
@with_node
def remove(
    settings: Settings,
    camera: CameraArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Stop recording a camera and forget its settings; its footage stays until retention deletes it."""
    with settings.connect() as network:
        handle = network.camera(camera)
        before = handle.settings()
        if not yes and not dry_run:
            if settings.output.as_json:
                raise InvalidArgument("with --json nobody is asked: say --yes, or --dry-run")
            typer.confirm(f"Stop recording {before.name} and forget its settings?", abort=True, err=True)
        camera_id = handle.remove(dry_run=dry_run)
    if settings.output.as_json:
        settings.output.record({"type": "removed", "id": camera_id, "name": before.name, "dry_run": dry_run})
        return
    settings.output.line(f"{before.name}: {'would be removed' if dry_run else 'removed'}")
    if not dry_run:
        settings.output.note(f"its footage is still read by its id: {camera_id}")
        settings.output.note(f"record it again (as a new camera): {_add_command(before)}")


@app.command("move")
@with_node
def move(
    settings: Settings,
    camera: CameraArgument,
    to: Annotated[
        str,
        typer.Option("--to", metavar="NODE", help="The recorder whose it is to be.", show_default=False),
    ],
    dry_run: DryRun = False,
) -> None:
    """Move a camera to another recorder, whose own it is from then on; ask a gateway above both.

    The new one records before the old one stops, which keeps what it has recorded. To lend a
    camera within a failover group: nvr leases move.
    """
    from nvr.network_catalog.mover import MoveStep
    from nvr.network_catalog.remote import RemoteCatalog

    output = settings.output
    warnings: list[Notice] = []

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> str:
        came_from = ""
        async for step in catalog.move_camera(context, camera, to, dry_run=dry_run):
            if isinstance(step, Notice):
                warnings.append(step)
            elif isinstance(step, MoveStep):
                came_from = step.node if step.step == "removed" else came_from
                if output.as_json:
                    output.record({"type": "step", **asdict(step), "dry_run": dry_run})
                else:
                    output.note(_MOVE_STEPS.get(step.step, step.step).format(node=step.node))
        return came_from

    came_from = asked(settings, RemoteCatalog, ask)
    if output.as_json:
        output.record(records.end(warnings, complete=True))
        return
    output.line(f"{camera}: {'could move' if dry_run else 'is'} {'to ' if dry_run else 'with '}{to}")
    output.warn(warnings)
    if came_from:
        output.note(f"undo: nvr cameras move {shlex.quote(camera.rpartition('/')[2])} --to {came_from}")


@app.command("import")
@with_node
def import_cameras(
    settings: Settings,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help=f"Columns: {', '.join(COLUMNS)}.", show_default=False)
    ],
    update: Annotated[
        bool, typer.Option("--update", help="Change cameras whose name is there already.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Add the cameras of a CSV file. All rows are checked before the first change."""
    rows = read_cameras(file)
    with settings.connect() as network:
        known = {camera.name for camera in network.cameras()}
        _check_rows(network, file, rows, known, update=update)
        done = {"added": 0, "changed": 0}
        for row in rows:
            what = "changed" if row.value.name in known else "added"
            if not dry_run:
                _apply(network, row.value, known, dry_run=False)
            done[what] += 1
            if settings.output.as_json:
                settings.output.record(
                    {"type": what, "name": row.value.name, "line": row.line, "dry_run": dry_run}
                )
            else:
                settings.output.line(f"{row.value.name}: {'would be ' if dry_run else ''}{what}")
    if settings.output.as_json:
        settings.output.record({"type": "summary", **done, "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        settings.output.line(f"{done['added']} {would}added, {done['changed']} {would}changed")


def _check_rows(
    network: Network, file: Path, rows: list[Row[CameraSettings]], known: set[str], *, update: bool
) -> None:
    """Asks the node about each row, changing nothing; all faults at once."""
    faults: list[str] = []
    for row in rows:
        if row.value.name in known and not update:
            faults.append(
                f"{file}:{row.line}: name: {row.value.name!r} is on the node already; --update changes it"
            )
            continue
        try:
            _apply(network, row.value, known, dry_run=True)
        except (InvalidArgument, CameraExists, CameraNotFound) as error:
            faults.append(f"{file}:{row.line}: {error.message}")
    if faults:
        raise ConfigError("\n".join(faults), facts={"faults": str(len(faults))})


def _apply(network: Network, wanted: CameraSettings, known: set[str], *, dry_run: bool) -> None:
    if wanted.name in known:
        network.camera(wanted.name).update(
            main_url=wanted.main_url,
            sub_url=wanted.sub_url,
            title=wanted.title,
            place=wanted.place,
            clear_place=wanted.place is None,
            enabled=wanted.enabled,
            height_m=wanted.height_m,
            view=wanted.view,
            clear_view=wanted.view is None,
            area=wanted.area,
            owner=wanted.owner,
            dry_run=dry_run,
        )
    else:
        network.add_camera(
            wanted.name,
            wanted.main_url,
            sub_url=wanted.sub_url,
            title=wanted.title,
            place=wanted.place,
            enabled=wanted.enabled,
            height_m=wanted.height_m,
            view=wanted.view,
            area=wanted.area,
            owner=wanted.owner,
            dry_run=dry_run,
        )


def _place(lat: float | None, lon: float | None) -> Place | None:
    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        raise InvalidArgument("a place needs both --lat and --lon")
    return Place(lat, lon)


def _with_password(*urls: str) -> tuple[str, ...]:
    password = typer.prompt("Password of the camera", hide_input=True, err=True)
    return tuple(_put_password(url, password) for url in urls)


def _put_password(url: str, password: str) -> str:
    if not url:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if not user:
        raise InvalidArgument("--ask-password needs a user in the address: rtsp://user@host/path")
    netloc = f"{user.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _undo(
    before: CameraSettings, *, moved: bool, turned: bool, raised: bool, enabled: bool | None, **given: Any
) -> str:
    """The options that bring back what was; the node masks passwords, and keeps them for ``***``."""
    was = {"name": before.name, "main": before.main_url, "sub": before.sub_url, "title": before.title}
    was |= {"area": before.area, "owner": before.owner.value}
    options = [f"--{name} {shlex.quote(was[name])}" for name, value in given.items() if value is not None]
    if moved:
        options.append(
            f"--lat {before.place.latitude} --lon {before.place.longitude}" if before.place else "--no-place"
        )
    if turned:
        options.append(_view_options(before.view) if before.view else "--no-view")
    if raised and before.height_m is not None:
        options.append(f"--height {before.height_m}")
    if enabled is not None:
        options.append("--enable" if before.enabled else "--disable")
    return " ".join(options)


def _view_options(view: View) -> str:
    return f"--direction {view.direction_deg} --angle {view.angle_deg} --reach {view.reach_m}"


def _add_command(before: CameraSettings) -> str:
    options = [f"--main {shlex.quote(before.main_url)}"]
    if before.sub_url:
        options.append(f"--sub {shlex.quote(before.sub_url)}")
    if before.title:
        options.append(f"--title {shlex.quote(before.title)}")
    if before.place:
        options.append(f"--lat {before.place.latitude} --lon {before.place.longitude}")
    if before.height_m is not None:
        options.append(f"--height {before.height_m}")
    if before.view:
        options.append(_view_options(before.view))
    if before.area:
        options.append(f"--area {before.area}")
    if before.owner is not OwnerKind.UNKNOWN:
        options.append(f"--owner {before.owner.value}")
    if not before.enabled:
        options.append("--disabled")
    return f"nvr cameras add {before.name} {' '.join(options)}"
