"""Completion of camera names and codes of areas, asked from the node."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nvr.cli.settings import Settings, connection_options
from nvr.errors import NvrError

_AT_ONCE = {"timeout": "1s", "connect_timeout": "1s", "purpose": "completion"}
_AT_ONCE_S = 1.0


def camera_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names and titles that begin so; none when the node does not answer at once."""
    from nvr.client import connect

    try:
        with connect(**connection_options(_given(ctx)) | _AT_ONCE) as network:
            return [
                (camera.name, camera.title)
                for camera in network.cameras()
                if camera.name.startswith(incomplete)
            ]
    except NvrError:
        # A shell that completes has no place for an error.
        return []


def area_codes(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Codes and names of areas whose code begins so; none when the node does not answer at once."""
    import asyncio

    from nvr.cli.asking import asked
    from nvr.cli.output import Output
    from nvr.network_catalog.remote import RemoteCatalog
    from nvr.network_catalog.types import Area

    async def ask(catalog: RemoteCatalog, context: Any) -> list[tuple[str, str]]:
        async with asyncio.timeout(_AT_ONCE_S):
            return [
                (step.code, step.name)
                async for step in catalog.list_areas(context)
                if isinstance(step, Area) and step.code.startswith(incomplete)
            ]

    connection = connection_options(_given(ctx)) | _AT_ONCE | {"partial": "allow"}
    try:
        return asked(Settings(Output(), debug=False, connection=connection), RemoteCatalog, ask)
    except (NvrError, TimeoutError):
        return []


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The shared options that stand on the line so far."""
    given: dict[str, Any] = {}
    context: Any = ctx
    while context is not None:
        given = {**{name: value for name, value in context.params.items() if value is not None}, **given}
        context = context.parent
    return given


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
