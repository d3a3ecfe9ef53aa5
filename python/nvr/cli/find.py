"""``nvr find``, ``nvr next`` and ``nvr collect``: questions by place and time, over all recorders below."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nvr.cli.complete import CameraArgument, area_codes, camera_names
from nvr.cli.exit_codes import exit_unless
from nvr.cli.footage import (
    EndArgument,
    StartArgument,
    StreamChoice,
    StreamOption,
    YesOption,
    confirm_long,
    node_clock,
)
from nvr.cli.settings import Settings, with_node
from nvr.cli.times import resolve_instant, resolve_range
from nvr.client import Network
from nvr.errors import InvalidArgument
from nvr.footage.time import format_duration, to_datetime
from nvr.footage.types import TimeRange


class OrderChoice(StrEnum):
    """In which order cameras are found."""

    NEAREST = "nearest"
    NEWEST = "newest"
    OLDEST = "oldest"


CameraOption = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="CAMERA",
        help="These cameras; repeat it.",
        autocompletion=camera_names,
        show_default=False,
    ),
]
AreaOption = Annotated[
    str | None,
    typer.Option(
        "--area",
        metavar="AREA",
        help="An area of any level, by code or name (with or without accents).",
        autocompletion=area_codes,
        show_default=False,
    ),
]
NearOption = Annotated[
    str | None,
    typer.Option("--near", metavar="LAT,LON", help="Around this point; with --radius.", show_default=False),
]
RadiusOption = Annotated[
    str | None, typer.Option("--radius", metavar="LENGTH", help="300m, 1.5km.", show_default=False)
]
PolygonOption = Annotated[
    str | None,
    typer.Option(
        "--polygon",
        metavar="LAT,LON …",
        help="Within these corners; or a GeoJSON file (@FILE).",
        show_default=False,
    ),
]
AlongOption = Annotated[
    str | None,
    typer.Option(
        "--along",
        metavar="LAT,LON …",
        help="Along this line; or a GeoJSON file (@FILE); with --width.",
        show_default=False,
    ),
]
WidthOption = Annotated[
    str | None,
    typer.Option(
        "--width", metavar="LENGTH", help="Width of the whole strip along the line.", show_default=False
    ),
]
LooksAtOption = Annotated[
    str | None,
    typer.Option("--looks-at", metavar="LAT,LON", help="Whose view holds this point.", show_default=False),
]


@with_node
def find(
    settings: Settings,
    start: Annotated[
        str | None,
        typer.Argument(
            metavar="[START]", help="From when on; without it the cameras alone.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Argument(metavar="[END]", help="Until when; +60s: so long.", show_default=False)
    ] = None,
    camera: CameraOption = None,
    area: AreaOption = None,
    near: NearOption = None,
    radius: RadiusOption = None,
    polygon: PolygonOption = None,
    along: AlongOption = None,
    width: WidthOption = None,
    looks_at: LooksAtOption = None,
    stream: StreamOption = StreamChoice.MAIN,
    order: Annotated[OrderChoice, typer.Option("--order", help="Which come first.")] = OrderChoice.NEAREST,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=10_000, help="At most so many; 0: as many as there are.")
    ] = 0,
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="TEXT", help="Go on where an answer with --limit ended.")
    ] = "",
    by_source: Annotated[
        bool, typer.Option("--by-source", help="A line for each node that has footage of a camera.")
    ] = False,
) -> None:
    """Find cameras at a place, and what each has of a range.

    The place is one of --camera, --area, --near, --polygon, --along and --looks-at; without any, all cameras.
    """
    output = settings.output
    where = _where(camera, area, near, radius, polygon, along, width, looks_at)
    with settings.connect() as network:
        range_ = _range(network, start, end)
        answer = network.find(
            **where,
            **_span(range_),
            stream=stream.value,
            order=order.value,
            limit=limit,
            cursor=cursor,
            by_source=by_source,
        )
        rows = []
        with answer:
            for found in answer:
                if output.as_json:
                    from nvr.cli import records

                    output.record(records.found(found))
                    continue
                recorded = "" if range_ is None else "unknown"
                if found.coverage:
                    recorded = format_duration(sum(span.range.duration_us for span in found.spans))
                rows.append(
                    (
                        found.camera.name,
                        found.camera.title,
                        found.source or found.camera.node,
                        "" if found.distance_m is None else f"{found.distance_m:.0f} m",
                        recorded,
                        ", ".join(sorted({gap.reason for gap in found.gaps})),
                    )
                )
    if output.as_json:
        from nvr.cli import records

        output.record(
            records.end(answer.warnings, complete=bool(answer.complete))
            | {"cursor": answer.cursor, "remaining": answer.remaining}
        )
    else:
        whole = "" if range_ is None else f", of {format_duration(range_.duration_us)} each"
        columns = ("camera", "title", "node", "distance", "recorded", "not recorded because")
        output.table(f"{len(rows)} found{whole}", columns, rows)
        if answer.cursor:
            output.note(f"{answer.remaining} more: --cursor {answer.cursor}")
    output.warn(answer.warnings, complete=answer.complete)
    exit_unless(complete=bool(answer.complete))


@with_node
def next_cameras(
    settings: Settings,
    camera: CameraArgument,
    at: Annotated[str, typer.Argument(metavar="AT", help="When it was seen.", show_default=False)],
    min_speed: Annotated[str, typer.Option("--min-speed", metavar="SPEED", help="5km/h, 2m/s.")] = "10km/h",
    max_speed: Annotated[str, typer.Option("--max-speed", metavar="SPEED", help="The fastest.")] = "60km/h",
    within: Annotated[str, typer.Option("--within", metavar="DURATION", help="How far ahead.")] = "10m",
    detour: Annotated[
        float,
        typer.Option("--detour", min=1, max=10, help="How many times the straight line the way may be."),
    ] = 1.5,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
) -> None:
    """Where somebody seen by a camera can be seen next, and when."""
    output = settings.output
    with settings.connect() as network:
        at_us = resolve_instant(at, node_clock(network), field="AT")
        answer = network.next_cameras(
            camera,
            to_datetime(at_us),
            min_speed=min_speed,
            max_speed=max_speed,
            within=within,
            detour=detour,
            limit=limit,
        )
        found = answer.all()
    if output.as_json:
        from nvr.cli import records

        for each in found:
            output.record(records.next_camera(each))
        end = records.end(answer.warnings, complete=bool(answer.complete))
        output.record(end | {"remaining": answer.remaining})
    else:
        rows = [
            (
                each.camera.name,
                each.camera.title,
                each.camera.node,
                f"{each.distance_m:.0f} m",
                f"{each.bearing_deg:.0f}°",
                output.instant(each.window.start_us),
                output.instant(each.window.end_us),
            )
            for each in found
        ]
        columns = ("camera", "title", "node", "distance", "bearing", "from", "to")
        output.table(f"{len(rows)} cameras that can be reached from {camera}", columns, rows)
        if answer.remaining:
            output.note(f"at least {answer.remaining} more can be reached: raise --limit")
    output.warn(answer.warnings, complete=answer.complete)
    exit_unless(complete=bool(answer.complete))


@with_node
def collect(
    settings: Settings,
    start: StartArgument,
    end: EndArgument,
    folder: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="The folder for the files.", show_default=False),
    ],
    camera: CameraOption = None,
    area: AreaOption = None,
    near: NearOption = None,
    radius: RadiusOption = None,
    polygon: PolygonOption = None,
    along: AlongOption = None,
    width: WidthOption = None,
    looks_at: LooksAtOption = None,
    stream: StreamOption = StreamChoice.MAIN,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="With sound, if there is any.")] = True,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="How many at once.")] = 4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names.")] = False,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="How often in a row a cut connection is taken up again.")
    ] = 8,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what there is, how large it is and how long it would take; save nothing."
        ),
    ] = False,
    yes: YesOption = False,
) -> None:
    """Save a range of every camera at a place as MP4, and say what is missing and why.

    The place as for nvr find. Repeated after a cut, it goes on where it stopped. To a person it says
    beforehand how long slow lines take, and asks when that is more than a minute.
    """
    output = settings.output
    where = _where(camera, area, near, radius, polygon, along, width, looks_at)
    with settings.connect() as network:
        range_ = resolve_range(start, end, node_clock(network))
        wanted = {"stream": stream.value, "audio": audio, "parallel": parallel, **where, **_span(range_)}
        if not (yes or dry_run or output.as_json) and sys.stdin.isatty():
            plan = network.collect(folder, **wanted, dry_run=True)
            confirm_long(output, plan.size_bytes, plan.seconds, plan.estimate)
        report = network.collect(
            folder,
            **wanted,
            progress=output.progress,
            overwrite=overwrite,
            retries=retries,
            dry_run=dry_run,
        )
    if output.as_json:
        from nvr.cli import records

        for item in report:
            output.record(records.collected(item))
        ending = records.end(report.warnings, complete=report.complete)
        output.record(ending | ({"estimate_seconds": report.seconds} if dry_run else {}))
    else:
        view = report.view()
        output.table(view.title, view.columns, view.rows)
        if report.estimate:
            output.line(f"it would take {report.estimate}")
    output.warn(report.warnings, complete=report.complete)
    exit_unless(complete=report.complete)


def _range(network: Network, start: str | None, end: str | None) -> TimeRange | None:
    if start is None or end is None:
        if start is not None:
            raise InvalidArgument("a START needs an END: +10m, now, or an instant", field="END")
        return None
    return resolve_range(start, end, node_clock(network))


def _span(range_: TimeRange | None) -> dict[str, Any]:
    return {} if range_ is None else {"start": range_.start, "end": range_.end}


def _where(
    cameras: list[str] | None,
    area: str | None,
    near: str | None,
    radius: str | None,
    polygon: str | None,
    along: str | None,
    width: str | None,
    looks_at: str | None,
) -> dict[str, Any]:
    """Arguments of ``find`` from the options."""
    return {
        "cameras": tuple(cameras or ()),
        "area": area,
        "near": None if near is None else _point(near, "--near"),
        "radius": radius,
        "polygon": None if polygon is None else _points(polygon, "--polygon", "Polygon"),
        "along": None if along is None else _points(along, "--along", "LineString"),
        "width": width,
        "looks_at": None if looks_at is None else _point(looks_at, "--looks-at"),
    }


def _point(text: str, option: str) -> tuple[float, float]:
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidArgument(
            f"{option}: {text[:80]!r} is not LAT,LON in degrees, such as 19.9275,105.8571", field=option
        ) from None
    return latitude, longitude


def _points(text: str, option: str, kind: str) -> Sequence[tuple[float, float]]:
    if not text.startswith("@"):
        return [_point(part, option) for part in text.split()]
    path = Path(text[1:])
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))
        if shape.get("type") == "FeatureCollection":
            (shape,) = shape["features"]
        if shape.get("type") == "Feature":
            shape = shape["geometry"]
        if shape["type"] != kind:
            raise InvalidArgument(f"{path}: a {shape['type']}, and {option} needs a {kind}", field=option)
        coordinates = shape["coordinates"][0] if kind == "Polygon" else shape["coordinates"]
        # RFC 7946: longitude first, and a ring ends where it begins.
        points = [(float(point[1]), float(point[0])) for point in coordinates]
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}", field=option) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(f"{path}: not GeoJSON (RFC 7946) with one {kind}", field=option) from error
    return points[:-1] if kind == "Polygon" and points[0] == points[-1] else points
