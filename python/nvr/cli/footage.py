"""``nvr coverage``, ``clip``, ``snapshot`` and ``sheet``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nvr.cli.complete import CameraArgument
from nvr.cli.exit_codes import exit_unless
from nvr.cli.output import Output
from nvr.cli.settings import Settings, with_node
from nvr.cli.times import resolve_instant, resolve_range
from nvr.client import ClipPlan, Network
from nvr.errors import InvalidArgument, NodeUnavailable
from nvr.footage.time import format_duration, from_datetime, to_datetime
from nvr.footage.types import Span, TimeRange


class StreamChoice(StrEnum):
    """Which of a camera's streams."""

    MAIN = "main"
    SUB = "sub"


_INSTANT = "ISO 8601 with Z or an offset, now, or an age such as -10m"
StartArgument = Annotated[str, typer.Argument(metavar="START", help=f"{_INSTANT}.", show_default=False)]
EndArgument = Annotated[
    str, typer.Argument(metavar="END", help="The same, or +60s: so long after START.", show_default=False)
]
StreamOption = Annotated[StreamChoice, typer.Option("--stream", help="Which stream.")]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="NODE",
        help="Only this node's footage, where several have some.",
        show_default=False,
    ),
]


YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before what takes longer than a minute.")
]

_LONG_S = 60


def confirm_long(output: Output, size_bytes: int, seconds: float | None, estimate: str) -> None:
    """Says how long something takes over a slow line; asks when that is long, and ends when told so."""
    from nvr.client._show import size_text

    if seconds is None:
        return
    output.note(f"{size_text(size_bytes)}: {estimate}")
    if seconds >= _LONG_S and sys.stdin.isatty():
        typer.confirm("Fetch it?", default=True, abort=True, err=True)


@with_node
def coverage(
    settings: Settings,
    camera: CameraArgument,
    start: StartArgument,
    end: EndArgument,
    stream: StreamOption = StreamChoice.MAIN,
    source: SourceOption = "",
) -> None:
    """What is recorded of a range, and what is not and why."""
    output = settings.output
    with settings.connect() as network:
        range_ = _range(network, start, end)
        found = network.camera(camera, source=source).coverage(*_ends(range_), stream=stream.value)
    if output.as_json:
        from nvr.cli import records

        for record in records.coverage(found):
            output.record(record)
    else:
        rows = [
            (
                output.instant(item.range.start_us),
                output.instant(item.range.end_us),
                format_duration(item.range.duration_us),
                "recorded" if isinstance(item, Span) else item.reason,
                item.node if isinstance(item, Span) else item.detail,
            )
            for item in found
        ]
        whole = format_duration(range_.duration_us)
        title = f"{camera} ({stream.value}): {format_duration(found.recorded_us)} of {whole}"
        output.table(title, ("from", "to", "duration", "what", "where / why"), rows)
    output.warn(found.warnings, complete=found.complete)
    exit_unless(complete=found.complete)


@with_node
def clip(
    settings: Settings,
    camera: CameraArgument,
    start: StartArgument,
    end: EndArgument,
    file: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The MP4, or a folder for a name made of camera and time."
        ),
    ] = Path(),
    stream: StreamOption = StreamChoice.MAIN,
    source: SourceOption = "",
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="With sound, if there is any.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="How often in a row a cut connection is taken up again.")
    ] = 8,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would be, and how long it takes; save nothing."),
    ] = False,
    yes: YesOption = False,
) -> None:
    """Save a range as MP4.

    A save that was cut or killed goes on where it stopped when it is repeated with the same START, END
    and file. Where the footage comes over a slow line, says beforehand how long it takes; and asks, when
    that is more than a minute and there is somebody to ask.
    """
    output = settings.output
    with settings.connect() as network:
        range_ = _range(network, start, end)
        wanted = network.camera(camera, source=source).clip(*_ends(range_), stream=stream.value, audio=audio)
        if dry_run:
            _show_plan(settings, camera, range_, wanted.plan())
            return
        if not yes and not output.as_json:
            # What is cut here is cut again below, and taken up there.
            with suppress(NodeUnavailable):
                plan = wanted.plan()
                confirm_long(output, plan.size_bytes, plan.seconds, plan.estimate)
        report = wanted.save(file, progress=output.progress, overwrite=overwrite, retries=retries)
    if output.as_json:
        from nvr.cli import records

        output.record(records.clip(report))
    else:
        for part in report.parts:
            output.line(str(part.path))
        for gap in report.gaps:
            why = f"{gap.reason}: {gap.detail}" if gap.detail else gap.reason
            output.note(f"not recorded: {output.range(gap.range)}: {why}")
        if len(report.parts) > 1:
            output.note(
                f"{len(report.parts)} files: the codec parameters or the recorder changed in the range"
            )
        if report.resumed_bytes:
            output.note(f"went on from an earlier save: {report.resumed_bytes} bytes were there already")
    output.warn(report.warnings, complete=report.complete)
    exit_unless(complete=report.complete)


@with_node
def snapshot(
    settings: Settings,
    camera: CameraArgument,
    at: Annotated[
        str | None,
        typer.Argument(
            metavar="[AT]", help=f"{_INSTANT}; without it the newest picture.", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The JPEG. Default: CAMERA_TIME.jpg."),
    ] = None,
    stream: StreamOption = StreamChoice.MAIN,
    source: SourceOption = "",
    max_width: Annotated[
        int, typer.Option("--max-width", min=0, max=16384, help="Scale down to so many pixels.")
    ] = 0,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="JPEG quality.")] = 85,
) -> None:
    """Save the picture shown at an instant, or the newest, as JPEG."""
    output = settings.output
    with settings.connect() as network:
        instant = None if at is None else to_datetime(resolve_instant(at, node_clock(network), field="AT"))
        picture = network.camera(camera, source=source).snapshot(
            instant, stream=stream.value, max_width=max_width, quality=quality
        )
    at_us = from_datetime(picture.time)
    path = picture.save(file or Path(_file_name(camera, at_us, "jpg")))
    if output.as_json:
        from nvr.cli import records

        size = {"width": picture.width, "height": picture.height, "size_bytes": len(picture.jpeg)}
        warnings = [records.notice(warning) for warning in picture.warnings]
        shown = {"path": str(path), **records.instant("time", at_us), **size, "warnings": warnings}
        output.record({"type": "snapshot", **shown})
    else:
        output.line(str(path))
        output.note(f"shown from {output.instant(at_us)} on, {picture.width}x{picture.height}")
    output.warn(picture.warnings)


@with_node
def sheet(
    settings: Settings,
    camera: CameraArgument,
    start: StartArgument,
    end: EndArgument,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The .png or .jpg. Default: CAMERA_TIME.png."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=400, help="How many pictures.")] = 16,
    columns: Annotated[int, typer.Option("--columns", min=1, max=40, help="How many in a row.")] = 4,
    width: Annotated[
        int, typer.Option("--width", min=80, max=1920, help="Pixels across each picture.")
    ] = 320,
    stream: StreamOption = StreamChoice.MAIN,
    source: SourceOption = "",
) -> None:
    """Save a contact sheet of a range as PNG or JPEG.

    Under each picture are its time in UTC and in the zone of --tz (this machine's without it).
    """
    output = settings.output
    with settings.connect() as network:
        range_ = _range(network, start, end)
        tz = None if settings.zone is None else str(settings.zone)
        made = network.camera(camera, source=source).sheet(
            *_ends(range_), count=count, columns=columns, width=width, stream=stream.value, tz=tz
        )
    path = made.save(file or Path(_file_name(camera, range_.start_us, "png")))
    found = sum(time is not None for time in made.times)
    if output.as_json:
        from nvr.cli import records

        record = {
            "type": "sheet",
            "path": str(path),
            **records.range_(range_),
            "pictures": found,
            "asked": count,
        }
        output.record(record | records.end(made.warnings, complete=made.complete) | {"type": "sheet"})
    else:
        output.line(str(path))
        output.note(
            f"{found} of {count} pictures" + ("" if found == count else ": the others are not recorded")
        )
    output.warn(made.warnings, complete=made.complete)
    exit_unless(complete=made.complete)


def _show_plan(settings: Settings, camera: str, range_: TimeRange, plan: ClipPlan) -> None:
    from nvr.cli import records
    from nvr.client._show import size_text

    output = settings.output
    if output.as_json:
        parts = [
            {
                "size_bytes": part.size_bytes,
                "etag": part.etag,
                "video_codec": part.video_codec,
                **records.range_(part.range),
                "line": records.line(part.line),
            }
            for part in plan.parts
        ]
        gaps = [records.gap(gap) for gap in plan.gaps]
        head = {"type": "plan", "camera": camera, **records.range_(range_), "parts": parts, "gaps": gaps}
        head |= {"size_bytes": plan.size_bytes, "estimate_seconds": plan.seconds}
        output.record(head | records.end(plan.warnings, complete=plan.complete) | {"type": "plan"})
    else:
        rows = [
            (
                str(part.index + 1),
                output.instant(part.range.start_us),
                output.instant(part.range.end_us),
                size_text(part.size_bytes),
                part.video_codec,
            )
            for part in plan.parts
        ]
        output.table(
            f"clip of {camera}: {size_text(plan.size_bytes)}", ("part", "from", "to", "size", "codec"), rows
        )
        if plan.estimate:
            output.line(f"it would take {plan.estimate}")
        for gap in plan.gaps:
            output.line(f"not recorded: {output.range(gap.range)}: {gap.reason}")
    output.warn(plan.warnings, complete=plan.complete)
    exit_unless(complete=plan.complete)


def node_clock(network: Network) -> Callable[[], int]:
    """Now, by the clock that stamps the footage."""

    def now_us() -> int:
        at_us = network.refresh().now_us
        if not at_us:
            raise InvalidArgument("the node does not tell its time: give absolute times")
        return at_us

    return now_us


def _range(network: Network, start: str, end: str) -> TimeRange:
    return resolve_range(start, end, node_clock(network))


def _ends(range_: TimeRange) -> tuple[datetime, datetime]:
    return range_.start, range_.end


def _file_name(camera: str, at_us: int, suffix: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", camera)
    return f"{name}_{to_datetime(at_us):%Y%m%dT%H%M%SZ}.{suffix}"
