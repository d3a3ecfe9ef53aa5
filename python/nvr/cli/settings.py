"""The options that many commands share, before or after the command's name."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from nvr.cli.guard import guard

if TYPE_CHECKING:
    from nvr.cli.output import Output
    from nvr.client import Network

DEFAULT_NODE = "localhost:7600"


class PartialChoice(StrEnum):
    """What to do when part of an answer cannot be had."""

    ALLOW = "allow"
    REFUSE = "refuse"


OutputOptions: dict[str, Any] = {
    "json": Annotated[
        bool | None,
        typer.Option("--json", help="JSON Lines for programs, instead of tables."),
    ],
    "tz": Annotated[
        str | None,
        typer.Option(
            "--tz", metavar="ZONE", help="Show times of this IANA zone (Asia/Ho_Chi_Minh) instead of UTC."
        ),
    ],
    "debug": Annotated[
        bool | None,
        typer.Option("--debug", help="Show the traceback of an error."),
    ],
}

NodeOptions: dict[str, Any] = {
    "node": Annotated[
        str | None,
        typer.Option(
            "--node",
            metavar="ADDRESS",
            help=f"The node's gRPC address. Default: NVR_NODE, else {DEFAULT_NODE}.",
        ),
    ],
    "ca": Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="PEM of whom to trust. Default: NVR_CA."),
    ],
    "certificate": Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="PEM of who we are. Default: NVR_CERTIFICATE."),
    ],
    "key": Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="PEM of our private key. Default: NVR_KEY."),
    ],
    "tls": Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="Use TLS. Default: when a certificate is given."),
    ],
    "timeout": Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="How long to wait for an answer: 30s."),
    ],
    "purpose": Annotated[
        str | None,
        typer.Option("--purpose", metavar="TEXT", help="Why you look: goes into the node's audit record."),
    ],
    "case": Annotated[
        str | None,
        typer.Option(
            "--case", metavar="NUMBER", help="The case you look for: goes into the node's audit record."
        ),
    ],
    "partial": Annotated[
        PartialChoice | None,
        typer.Option(
            "--partial", help="Accept or refuse an answer of which a part is missing. Default: allow."
        ),
    ],
    **OutputOptions,
}

given_before: ContextVar[dict[str, Any]] = ContextVar("nvr_given_before", default={})  # noqa: B039 - never changed
"""Options given before the command's name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The shared options of one run."""

    output: Output
    debug: bool
    connection: dict[str, Any]

    @property
    def address(self) -> str:
        """Address of the node."""
        return str(self.connection["address"])

    @property
    def zone(self) -> tzinfo | None:
        """The zone in which times are shown; None: UTC."""
        return self.output.zone

    @contextmanager
    def connect(self) -> Iterator[Network]:
        """A connection to the node."""
        from nvr.client import connect

        with connect(**self.connection) as network:
            yield network


def command_options(options: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command shared options; it takes them as :class:`Settings`, its first argument."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            given = dict(given_before.get())
            given.update({name: value for name in options if (value := values.pop(name)) is not None})
            debug = bool(given.get("debug") or os.environ.get("NVR_DEBUG"))
            with guard(as_json=bool(given.get("json")), debug=debug):
                function(_settings(given, debug=debug), **values)

        typed = cast("Any", run)
        del typed.__wrapped__
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            for parameter in own
        ]
        typed.__signature__ = inspect.Signature([*parameters, *shared])
        typed.__annotations__ = {
            **{parameter.name: hints[parameter.name] for parameter in own},
            **options,
            "return": None,
        }
        return run

    return decorate


with_node = command_options(NodeOptions)
"""For commands that ask a node."""
with_output = command_options(OutputOptions)
"""For commands that ask none."""


def _settings(given: dict[str, Any], *, debug: bool) -> Settings:
    from nvr.cli.output import Output
    from nvr.client._sheet import time_zone

    zone = None if given.get("tz") is None else time_zone(given["tz"])
    partial = given.get("partial")
    return Settings(
        output=Output(as_json=bool(given.get("json")), zone=zone),
        debug=debug,
        connection=connection_options(given) | {"partial": partial.value if partial else "allow"},
    )


def connection_options(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`nvr.connect` from the options given and the environment."""
    environment = os.environ
    return {
        "address": given.get("node") or environment.get("NVR_NODE") or DEFAULT_NODE,
        "ca": given.get("ca") or environment.get("NVR_CA") or None,
        "certificate": given.get("certificate") or environment.get("NVR_CERTIFICATE") or None,
        "key": given.get("key") or environment.get("NVR_KEY") or None,
        "tls": given.get("tls"),
        "timeout": given.get("timeout") or "30s",
        "purpose": given.get("purpose") or "",
        "case": given.get("case") or "",
    }
