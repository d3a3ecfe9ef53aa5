"""Options of the commands that run a node. Imports nothing that only a running node needs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigOption", "JsonOption", "LogLevelOption", "ReadyFileOption"]

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Settings of the node, TOML.", dir_okay=False)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the node's name, id and addresses as one line of JSON.")
]
ReadyFileOption = Annotated[
    Path | None, typer.Option(help="Write the same line to this file once the node serves.")
]
LogLevelOption = Annotated[str, typer.Option(help="debug, info, warning or error.")]
