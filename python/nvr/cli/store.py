"""``nvr store``: footage folders, without a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nvr.cli.exit_codes import ExitCode
from nvr.cli.records import range_ as range_record
from nvr.cli.settings import Settings, with_output
from nvr.client._show import size_text
from nvr.errors import Closed
from nvr.footage.types import TimeRange

if TYPE_CHECKING:
    from nvr._core import Scrubbed, Store, StoreReport
    from nvr.cli.output import Output

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


@app.command("init")
@with_output
def init(
    settings: Settings,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The store folder, on the new disk.", file_okay=False)
    ],
) -> None:
    """Say that a new disk lies where the store had another one.

    A recorder that finds nothing where it had a disk takes it for one that is not mounted, and writes
    nothing there. New folders in the settings need none of this.
    """
    from nvr._core import Store

    Store.init(folder)
    if settings.output.as_json:
        settings.output.record({"type": "store_init", "folder": str(folder)})
    else:
        settings.output.line(f"{folder} is a store's disk now")


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


@app.command("scrub")
@with_output
def scrub(
    settings: Settings,
    folders: _Folders,
    rate: Annotated[
        str,
        typer.Option("--rate", metavar="SIZE", help="Read so much a second at most, such as 20MB."),
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Begin at the first segment, not where the last one stopped.")
    ] = False,
) -> None:
    """Read all footage, and remember what is damaged: its range is a gap from then on.

    Deletes nothing. Stopped, it goes on where it was. The recorder must be stopped; while it runs
    it does the same by itself.
    """
    from nvr._core import Store
    from nvr.node.folder_lock import FolderLocks
    from nvr.settings.fields import parse_size

    bytes_per_s = parse_size(rate) if rate else 0
    with FolderLocks(folders, "nvr store scrub"):
        store = Store([str(folder) for folder in folders])
        try:
            if again:
                store.scrub_again()
            _scrub(settings, store, bytes_per_s)
        finally:
            with suppress(Closed):
                store.close()


def _scrub(settings: Settings, store: Store, bytes_per_s: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    output = settings.output
    segments = fragments = read = faults = 0
    total = sum(usage.footage_bytes for usage in store.disk_usage())
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not output.progress) as progress:
        task = progress.add_task("scrub", total=total)
        for found in _scrubbed(store, bytes_per_s):
            segments, fragments, read = segments + 1, fragments + found.fragments, read + found.bytes
            faults += len(found.damaged) + len(found.problems)
            progress.update(task, completed=read)
            _show_found(output, found)
    if output.as_json:
        output.record({"type": "scrub", "segments": segments, "fragments": fragments, "bytes": read})
    else:
        output.line(f"{segments} segments, {fragments} fragments, {size_text(read)}")
        if not faults:
            output.line("no new damage")
    if faults:
        raise typer.Exit(ExitCode.DAMAGED)


def _scrubbed(store: Store, bytes_per_s: int) -> Iterator[Scrubbed]:
    """What is found in one segment after another.

    Ctrl-C does not wait for a segment that is read slowly: it is the first one the next time. What was
    found until then is given all the same, since nobody tells it twice.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        while True:
            step = thread.submit(store.scrub_next, bytes_per_s=bytes_per_s)
            try:
                found = step.result()
            except KeyboardInterrupt:
                store.close()
                with suppress(Closed):
                    if found := step.result():
                        yield found
                raise
            if found is None:
                return
            yield found


def _show_found(output: Output, found: Scrubbed) -> None:
    for word, stretches in (("damaged", found.damaged), ("intact", found.intact)):
        for stretch in stretches:
            range_ = TimeRange(stretch.start_us, stretch.end_us)
            if output.as_json:
                output.record(
                    {
                        "type": word,
                        "camera_id": stretch.camera_id,
                        "stream": stretch.stream,
                        "run_id": stretch.run_id,
                        "sequence": stretch.sequence,
                        "fragments": stretch.fragments,
                        **range_record(range_),
                        "segment": found.segment,
                        "detail": stretch.detail,
                    }
                )
            else:
                count = f"{stretch.fragments} fragment{'s' if stretch.fragments > 1 else ''}"
                # In which of the folders, too: what is remembered names the file within the store.
                within = Path(*Path(found.segment).parts[-4:])
                detail = f"{found.segment}{stretch.detail.removeprefix(str(within))}"
                output.line(f"{word}: {output.range(range_)}, {count}: {detail}")
    for word, lines in (("problem", found.problems), ("repaired", found.repaired)):
        for line in lines:
            if output.as_json:
                output.record({"type": word, "detail": line})
            else:
                output.line(f"{word}: {line}")


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
