"""``nvr live`` and ``nvr events``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from nvr.cli.complete import CameraArgument, camera_names
from nvr.cli.footage import SourceOption, StreamChoice, StreamOption
from nvr.cli.settings import Settings, with_node
from nvr.client import Live
from nvr.errors import InvalidArgument
from nvr.files import file_errors
from nvr.footage.time import parse_duration
from nvr.footage.types import Notice


@with_node
def live(
    settings: Settings,
    camera: CameraArgument,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there instead of standard output."),
    ] = None,
    stream: StreamOption = StreamChoice.MAIN,
    source: SourceOption = "",
    duration: Annotated[
        str | None,
        typer.Option("--duration", metavar="DURATION", help="Stop after so long: 30s.", show_default=False),
    ] = None,
) -> None:
    """Write a camera's pictures as they arrive (Annex B).

    The output is a raw H.264 or H.265 elementary stream: nvr live gate | ffplay -
    """
    if file is None and sys.stdout.isatty():
        raise InvalidArgument(
            "the pictures would go to the terminal: pipe them (nvr live gate | ffplay -), or use -o FILE"
        )
    limit_us = None if duration is None else parse_duration(duration, field="--duration")
    with (
        settings.connect() as network,
        network.camera(camera, source=source).live(stream=stream.value, audio=False) as units,
    ):
        if file is None:
            _copy(settings, units, sys.stdout.buffer, limit_us)
        else:
            with file_errors("cannot write", file), file.open("wb") as sink:
                _copy(settings, units, sink, limit_us)


def _copy(settings: Settings, units: Live, sink: BinaryIO, limit_us: int | None) -> None:
    from nvr.client._annexb import AnnexB

    converter, first_us, told = AnnexB(), None, 0
    for unit in units:
        first_us = unit.arrival_us if first_us is None else first_us
        if limit_us is not None and unit.arrival_us - first_us >= limit_us:
            return
        sink.write(converter.convert(unit))
        sink.flush()
        settings.output.warn(units.warnings[told:])
        told = len(units.warnings)


@with_node
def events(
    settings: Settings,
    cameras: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CAMERA]...", help="Only of these.", autocompletion=camera_names, show_default=False
        ),
    ] = None,
) -> None:
    """Print what happens to cameras, as it happens.

    A node that goes away meanwhile is a warning.
    """
    from nvr.cli import records

    output = settings.output

    def warned(warning: Notice) -> None:
        # At once: the next event may be far away.
        if output.as_json:
            output.record({"type": "warning", **records.notice(warning)})
        else:
            output.warn((warning,))

    with settings.connect() as network, network.events(*(cameras or ()), warned=warned) as stream:
        names = {camera.id: camera.name for camera in network.cameras()}
        for event in stream:
            if output.as_json:
                output.record(records.event(event))
            else:
                who = names.get(event.camera_id, event.camera_id) or event.node
                what = " ".join(
                    word for word in (event.stream, event.kind, event.reason, event.detail) if word
                )
                output.line(f"{output.instant(event.at_us)}  {who}  {what}")
