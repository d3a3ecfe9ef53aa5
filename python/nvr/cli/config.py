"""``nvr config``: settings files."""

from __future__ import annotations

import typer

from nvr.cli.guard import guarded
from nvr.recorder.command import config_check

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Check a recorder's settings file.",
)
app.command("check")(guarded(config_check))


@app.callback()
def config() -> None:
    """Check a recorder's settings file."""
