"""``nvr recorder`` and ``nvr config check``, to be registered by the command line.

Both raise ``nvr.errors``; the command line turns those into messages and exit codes.
"""

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from nvr.footage.calls import RequestIdFilter
from nvr.recorder.config import Settings, load_settings
from nvr.recorder.node import RecorderNode

__all__ = ["config_check", "recorder"]

_LEVELS = ("debug", "info", "warning", "error")


def recorder(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Settings of the node, TOML.", dir_okay=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the node's name, id and addresses as one line of JSON.")
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the same line to this file once the node serves.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Record cameras and serve their footage until SIGTERM or Ctrl-C."""
    if log_level not in _LEVELS:
        raise typer.BadParameter(f"one of {', '.join(_LEVELS)}", param_hint="--log-level")
    settings = load_settings(config)
    _log_to_stderr(log_level)
    asyncio.run(_run(settings, as_json, ready_file))


def config_check(
    config: Annotated[Path, typer.Argument(help="Settings of a node, TOML.", dir_okay=False)],
) -> None:
    """Check a settings file; tells all its faults at once."""
    settings = load_settings(config)
    cameras = len(settings.camera)
    typer.echo(f"{config}: good; node {settings.node.name}, {cameras} camera{'' if cameras == 1 else 's'}")


async def _run(settings: Settings, as_json: bool, ready_file: Path | None) -> None:
    async with RecorderNode(settings) as node:
        facts = {
            "name": node.info.name,
            "id": node.info.id,
            "version": node.info.version,
            "grpc": node.addresses.grpc,
            "metrics": node.addresses.metrics,
            "pid": os.getpid(),
        }
        line = json.dumps(facts)
        if as_json:
            typer.echo(line)
        else:
            typer.echo(f"node {node.info.name} ({node.info.id[:16]}…) records")
            typer.echo(f"  gRPC     {node.addresses.grpc}")
            if node.addresses.metrics:
                typer.echo(f"  metrics  http://{node.addresses.metrics}/metrics")
        sys.stdout.flush()
        if ready_file is not None:
            await asyncio.to_thread(_write_whole, ready_file, line + "\n")
        await node.wait()


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file never reads half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _log_to_stderr(level: str) -> None:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(request_id)s] %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
