"""``nvr recorder`` and ``nvr config check``, to be registered by the command line.

Both raise ``nvr.errors``; the command line turns those into messages and exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer

from nvr.node.process import ConfigOption, JsonOption, LogLevelOption, ReadyFileOption, run_node
from nvr.recorder.config import load_settings
from nvr.recorder.node import RecorderNode

__all__ = ["config_check", "recorder"]


def recorder(
    config: ConfigOption,
    as_json: JsonOption = False,
    ready_file: ReadyFileOption = None,
    log_level: LogLevelOption = "info",
) -> None:
    """Record cameras and serve their footage until SIGTERM or Ctrl-C."""
    node = RecorderNode(load_settings(config))
    run_node(node, "records", as_json=as_json, ready_file=ready_file, log_level=log_level)


def config_check(
    config: Annotated[Path, typer.Argument(help="Settings of a node, TOML.", dir_okay=False)],
) -> None:
    """Check a settings file; tells all its faults at once."""
    settings = load_settings(config)
    cameras = len(settings.camera)
    typer.echo(f"{config}: good; node {settings.node.name}, {cameras} camera{'' if cameras == 1 else 's'}")
