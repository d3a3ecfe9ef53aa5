"""The root command.

Commands are listed here and loaded only when they run, so that ``nvr --help`` is quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from nvr.cli.guard import guarded
from nvr.cli.settings import NodeOptions, given_before


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and its line in the list of commands."""

    module: str
    name: str
    help: str
    foreign: bool = False
    """Not made with :func:`nvr.cli.settings.command_options`: its errors are reported here."""

    def load(self, called: str) -> Any:
        """The command itself."""
        thing = getattr(import_module(self.module), self.name)
        if isinstance(thing, typer.Typer):
            group = typer.main.get_command(thing)
            group.name = called
            return group
        return as_command(called, guarded(thing) if self.foreign else thing)


COMMANDS: dict[str, Lazy] = {
    "demo": Lazy(
        "nvr.cli.demo",
        "demo",
        "Show it all: simulated cameras, a small province of nodes, a clip.",
        foreign=True,
    ),
    "recorder": Lazy("nvr.recorder.command", "recorder", "Run a recorder node.", foreign=True),
    "gateway": Lazy("nvr.gateway.command", "gateway", "Run a gateway over recorders.", foreign=True),
    "up": Lazy("nvr.cli.up", "up", "Run several nodes in one process: a small station.", foreign=True),
    "simulate": Lazy("nvr.simulate.command", "simulate", "Play files as RTSP cameras.", foreign=True),
    "find": Lazy("nvr.cli.find", "find", "Find cameras at a place, and what each has of a range."),
    "next": Lazy(
        "nvr.cli.find", "next_cameras", "Where somebody seen by a camera can be seen next, and when."
    ),
    "collect": Lazy(
        "nvr.cli.find",
        "collect",
        "Save a range of every camera at a place as MP4, and say what is missing and why.",
    ),
    "coverage": Lazy("nvr.cli.footage", "coverage", "What is recorded of a range, and what is not and why."),
    "clip": Lazy("nvr.cli.footage", "clip", "Save a range as MP4."),
    "snapshot": Lazy(
        "nvr.cli.footage", "snapshot", "Save the picture shown at an instant, or the newest, as JPEG."
    ),
    "sheet": Lazy("nvr.cli.footage", "sheet", "Save a contact sheet of a range as PNG or JPEG."),
    "live": Lazy("nvr.cli.live", "live", "Write a camera's pictures as they arrive (Annex B)."),
    "events": Lazy("nvr.cli.live", "events", "Print what happens to cameras, as it happens."),
    "cameras": Lazy("nvr.cli.cameras", "app", "List, find, add, edit, remove and import cameras."),
    "leases": Lazy(
        "nvr.cli.leases",
        "app",
        "Show which recorder of a failover group records which camera; move cameras.",
    ),
    "areas": Lazy("nvr.cli.areas", "app", "Show the areas of the network, and cut them anew."),
    "catalog": Lazy(
        "nvr.cli.catalog",
        "app",
        "The network catalog: its versions, nodes and cameras; back up, restore.",
    ),
    "store": Lazy("nvr.cli.store", "app", "Check and rebuild footage folders of a stopped recorder."),
    "config": Lazy("nvr.cli.config", "app", "Check a node's settings file."),
}


class LazyGroup(TyperGroup):
    """A group whose commands are stubs until one of them is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, lazy in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=lazy.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Loads the command that is called (or completed)."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        return name, COMMANDS[name].load(name), rest


def as_command(name: str, function: Callable[..., Any]) -> Any:
    """A function with Typer's annotations as a command."""
    from nvr.cli.times import TimesCommand

    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    holder.command(name, cls=TimesCommand)(function)
    return typer.main.get_command(holder)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="nvr",
        cls=LazyGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Plain help needs no rich, whose import costs as much as all the rest.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A distributed network video recorder: record cameras, and find any instant of them.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 incomplete, "
        "5 node unavailable, 6 denied, "
        "7 damaged, 8 refused by the catalog's state, 130 interrupted.",
    )
    app.callback()(_root_with_options())
    return app


def _root_with_options() -> Callable[..., None]:
    def root(**values: Any) -> None:
        if values.pop("version", None):
            typer.echo(f"nvr {_version()}")
            raise typer.Exit
        given_before.set({name: value for name, value in values.items() if value is not None})

    options = {
        **NodeOptions,
        "version": Annotated[
            bool | None, typer.Option("--version", help="Print the version.", is_eager=True)
        ],
    }
    root.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
    )
    root.__annotations__ = {**options, "return": None}
    return root


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nvr")
    except PackageNotFoundError:
        return "0 (not installed)"
