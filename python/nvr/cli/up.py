"""``nvr up``: several nodes in one process."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nvr.cli.config import is_gateway

if TYPE_CHECKING:
    from nvr.node.lifecycle import Node


def up(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG...",
            help="Settings of recorders and gateways, TOML.",
            dir_okay=False,
            show_default=False,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each node's name, id and addresses as a line of JSON.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run several nodes in one process: a small station.

    Until SIGTERM or Ctrl-C. They are opened in the order given, and closed in the reverse one.
    """
    from nvr.node.process import allow_open_files, facts, keep_what_started, log_to_stderr

    log_to_stderr(log_level)
    allow_open_files()
    nodes = [_node(config) for config in configs]

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for node in nodes:
                await stack.enter_async_context(node)
                stack.enter_context(node.stopped_by_signals())
                if as_json:
                    typer.echo(json.dumps(facts(node)))
                else:
                    typer.echo(f"node {node.info.name}: gRPC {node.addresses.grpc}")
            sys.stdout.flush()
            keep_what_started()
            waits = [asyncio.create_task(node.wait()) for node in nodes]
            # A signal goes to the last that asked for it; the others stop with it.
            done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for node in nodes:
                node.stop()
            await asyncio.gather(*done, *rest)

    asyncio.run(run())


def _node(config: Path) -> Node:
    if is_gateway(config):
        from nvr.gateway.config import load_settings as load_gateway
        from nvr.gateway.node import GatewayNode

        return GatewayNode(load_gateway(config))
    from nvr.recorder.config import load_settings as load_recorder
    from nvr.recorder.node import RecorderNode

    return RecorderNode(load_recorder(config))
