"""``nvr store``: footage folders, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nvr.cli.exit_codes import ExitCode
from nvr.cli.settings import Settings, with_output
from nvr.client._show import size_text

if TYPE_CHECKING:
    from nvr._core import StoreReport

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Check and rebuild footage folders of a stopped recorder.",
)
_Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER...",
        help="The node's store folders.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]


@app.command("check")
@with_output
def check(
    settings: Settings,
    folders: _Folders,
    digests: Annotated[
        bool, typer.Option("--digests", help="Check the digests of all footage too; slow.")
    ] = False,
) -> None:
    """Read all footage and its indexes, and report what is wrong; changes nothing."""
    from nvr._core import Store

    _show(settings, Store.check([str(folder) for folder in folders], digests=digests))


@app.command("rebuild")
@with_output
def rebuild(
    settings: Settings,
    folders: _Folders,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; changes nothing.")] = False,
) -> None:
    """Make all indexes anew from the segment files. The recorder must be stopped."""
    from nvr._core import Store
    from nvr.node.folder_lock import FolderLocks

    roots = [str(folder) for folder in folders]
    if dry_run:
        _show(settings, Store.check(roots))
        return
    with FolderLocks(folders, "nvr store rebuild"):
        _show(settings, Store.rebuild(roots))


def _show(settings: Settings, report: StoreReport) -> None:
    output = settings.output
    if output.as_json:
        output.record(
            {
                "type": "store",
                "segments": report.segments,
                "fragments": report.fragments,
                "bytes": report.bytes,
                "repaired": report.repaired,
                "problems": report.problems,
            }
        )
    else:
        output.line(f"{report.segments} segments, {report.fragments} fragments, {size_text(report.bytes)}")
        for line in report.repaired:
            output.line(f"repaired: {line}")
        for line in report.problems:
            output.line(f"problem: {line}")
        if not report.problems:
            output.line("no problems")
    if report.problems:
        raise typer.Exit(ExitCode.DAMAGED)
