"""Completion of camera names, asked from the node."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nvr.cli.settings import connection_options
from nvr.errors import NvrError


def camera_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names and titles that begin so; none when the node does not answer at once."""
    given: dict[str, Any] = {}
    context: Any = ctx
    while context is not None:
        given = {**{name: value for name, value in context.params.items() if value is not None}, **given}
        context = context.parent
    from nvr.client import connect

    options = connection_options(given) | {"timeout": "1s", "connect_timeout": "1s", "purpose": "completion"}
    try:
        with connect(**options) as network:
            return [
                (camera.name, camera.title)
                for camera in network.cameras()
                if camera.name.startswith(incomplete)
            ]
    except NvrError:
        # A shell that completes has no place for an error.
        return []


CameraArgument = Annotated[
    str,
    typer.Argument(
        metavar="CAMERA",
        help="A camera's name, node/name or id.",
        autocompletion=camera_names,
        show_default=False,
    ),
]
"""An argument that names a camera."""
