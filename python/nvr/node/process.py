"""A node as a process: what it prints when it serves, and where its log goes."""

import asyncio
import gc
import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

import typer

from nvr import _core
from nvr.footage.calls import RequestIdFilter
from nvr.footage.malloc import give_back_freed_memory
from nvr.node.lifecycle import Node
from nvr.node.logs import log_plainly

__all__ = ["allow_open_files", "facts", "keep_what_started", "log_to_stderr", "run_node"]

logger = logging.getLogger("nvr.node")

_COLLECTING = (700, 10, 10)
"""The interpreter's own thresholds, which the command line raises while it loads."""
_GIVE_BACK_EVERY_S = 60.0


def run_node(node: Node, does: str, *, as_json: bool, ready_file: Path | None, log_level: str) -> None:
    """Runs a node until SIGTERM or Ctrl-C. ``does``: what to say of it ("records")."""
    log_to_stderr(log_level)
    allow_open_files()
    asyncio.run(_serve(node, does, as_json, ready_file))


def allow_open_files() -> None:
    """Takes as many open files as the system gives: each index of a day that somebody asked for is one.

    A month of 200 streams has 6,000; the usual limit to begin with is 1,024, for the sake of
    programs that call select(2).
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def keep_what_started() -> None:
    """What starting has made stays: it is not looked through for garbage again and again."""
    gc.freeze()
    gc.set_threshold(*_COLLECTING)


def facts(node: Node) -> dict[str, Any]:
    """Who a node is and where it is reached, for programs."""
    return {
        "name": node.info.name,
        "id": node.info.id,
        "version": node.info.version,
        "grpc": node.addresses.grpc,
        "metrics": node.addresses.metrics,
        "rtsp": node.addresses.rtsp,
        "pid": os.getpid(),
    }


async def _serve(node: Node, does: str, as_json: bool, ready_file: Path | None) -> None:
    async with node:
        keep_what_started()
        with node.stopped_by_signals():
            await _announce(node, does, as_json, ready_file)
            await asyncio.to_thread(_release_code)
            giving_back = asyncio.create_task(_give_back(), name="nvr-give-back")
            await node.wait()
            giving_back.cancel()


async def _give_back() -> None:
    """A node that runs for months has what it uses, and not the most that it ever used."""
    while True:
        await asyncio.sleep(_GIVE_BACK_EVERY_S)
        await asyncio.to_thread(give_back_freed_memory)


def _release_code() -> None:
    """Starting has run ten times the code that serving does; it need not stay in memory."""
    try:
        released = _core.release_code()
    except OSError as error:
        logger.warning("what only starting needed stays in memory: %s", error)
    else:
        logger.debug("%d KiB of code that only starting needed are released", released >> 10)


async def _announce(node: Node, does: str, as_json: bool, ready_file: Path | None) -> None:
    """Says that it serves, and where."""
    line = json.dumps(facts(node))
    if as_json:
        typer.echo(line)
    else:
        typer.echo(f"node {node.info.name} ({node.info.id[:16]}…) {does}")
        typer.echo(f"  gRPC     {node.addresses.grpc}")
        if node.addresses.metrics:
            typer.echo(f"  metrics  http://{node.addresses.metrics}/metrics")
        if node.addresses.rtsp:
            typer.echo(f"  RTSP     rtsp://{node.addresses.rtsp}/CAMERA/main")
    sys.stdout.flush()
    if ready_file is not None:
        await asyncio.to_thread(_write_whole, ready_file, line + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file never reads half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def log_to_stderr(level: str) -> None:
    """Log lines with UTC time, and the request and trace that they belong to."""
    log_plainly(level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIdFilter())
