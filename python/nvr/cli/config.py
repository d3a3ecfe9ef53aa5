"""``nvr config``: settings files, of any kind of node."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from nvr.cli.guard import guarded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Check a node's settings file.",
)


@app.callback()
def config() -> None:
    """Check a node's settings file."""


def is_gateway(path: Path) -> bool:
    """Whether a file is a gateway's: a recorder has stores. What cannot be read is not decided here."""
    try:
        node = tomllib.loads(path.read_text(encoding="utf-8")).get("node")
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(node, dict) and "stores" not in node and "data" in node


@app.command("check")
@guarded
def check(
    config: Annotated[Path, typer.Argument(help="Settings of a node, TOML.", dir_okay=False)],
) -> None:
    """Check a settings file; tells all its faults at once."""
    if is_gateway(config):
        from nvr.gateway.config import load_settings as load_gateway

        gateway = load_gateway(config)
        typer.echo(
            f"{config}: good; gateway {gateway.node.name}, {_count(len(gateway.child), 'child', 'children')}"
        )
        return
    from nvr.recorder.config import load_settings as load_recorder

    recorder = load_recorder(config)
    typer.echo(
        f"{config}: good; node {recorder.node.name}, {_count(len(recorder.camera), 'camera', 'cameras')}"
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
