"""``nvr leases``: which recorder of a group records which camera, and moving them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nvr.cli.asking import asked
from nvr.cli.settings import Settings, with_node

if TYPE_CHECKING:
    from nvr.footage.types import ReadContext
    from nvr.lease.remote import RemoteAuthority
    from nvr.lease.types import GroupLease

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show which recorder of a failover group records which camera; move cameras.",
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check, on the gateway; change nothing.")]


@app.command("list")
@with_node
def list_leases(settings: Settings) -> None:
    """List the cameras of the gateway's failover groups: home, holder, epoch, standbys."""
    from nvr.footage.types import End, Notice

    async def ask(authority: RemoteAuthority, context: ReadContext) -> list[Any]:
        return [step async for step in authority.list_group_leases(context)]

    steps = _asked(settings, ask)
    leases = [step for step in steps if not isinstance(step, Notice | End)]
    output = settings.output
    if output.as_json:
        for lease in leases:
            output.record({"type": "lease", **asdict(lease)})
    else:
        rows = [
            (
                lease.group,
                lease.name,
                lease.home,
                lease.holder,
                str(lease.epoch),
                lease.state,
                ", ".join(lease.recorded_by),
                ", ".join(lease.standbys),
            )
            for lease in leases
        ]
        columns = ("group", "camera", "home", "holder", "epoch", "state", "recorded by", "standbys")
        output.table(f"{len(leases)} leases", columns, rows)
    output.warn(step for step in steps if isinstance(step, Notice))


@app.command("move")
@with_node
def move(
    settings: Settings,
    camera: Annotated[
        str, typer.Argument(metavar="CAMERA", help="Name, node/name or id.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="NODE", help="The recorder that is to record it.", show_default=False),
    ],
    dry_run: DryRun = False,
) -> None:
    """Move a camera to another recorder of its group, without a gap.

    The new one records before the old one stops. The camera stays there until it is given back.
    """

    async def ask(authority: RemoteAuthority, context: ReadContext) -> GroupLease:
        return await authority.move_lease(context, camera, to, dry_run=dry_run)

    lease = _asked(settings, ask)
    if settings.output.as_json:
        settings.output.record({"type": "moved", **asdict(lease), "dry_run": dry_run})
        return
    settings.output.line(f"{lease.name}: {'could move' if dry_run else 'moves'} to {to}")
    if not dry_run:
        settings.output.note(f"undo: nvr leases give-back {lease.home}")


@app.command("give-back")
@with_node
def give_back(
    settings: Settings,
    home: Annotated[
        str,
        typer.Argument(metavar="[NODE]", help="Only cameras whose home this is.", show_default=False),
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Give cameras back to their homes, without a gap."""

    async def ask(
        authority: RemoteAuthority, context: ReadContext
    ) -> tuple[list[GroupLease], list[GroupLease]]:
        moving, staying = await authority.give_back_leases(context, home, dry_run=dry_run)
        return list(moving), list(staying)

    moving, staying = _asked(settings, ask)
    output = settings.output
    if output.as_json:
        for kind, leases in (("given_back", moving), ("stays", staying)):
            for lease in leases:
                output.record({"type": kind, **asdict(lease), "dry_run": dry_run})
        return
    for lease in moving:
        output.line(f"{lease.name}: {'could go' if dry_run else 'goes'} back to {lease.home}")
    for lease in staying:
        output.line(f"{lease.name}: stays with {lease.holder}: {lease.home} is away or does not reach it")
    if not moving and not staying:
        output.line("all cameras are at home")


def _asked(settings: Settings, ask: Callable[[RemoteAuthority, ReadContext], Awaitable[T]]) -> T:
    """What the gateway answers."""
    from nvr.lease.remote import RemoteAuthority

    return asked(settings, RemoteAuthority, ask)
