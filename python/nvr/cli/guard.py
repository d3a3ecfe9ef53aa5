"""How a command ends: one readable line and a documented code for every error."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from nvr.cli.exit_codes import ExitCode, code_of
from nvr.errors import NvrError

_MAX_LINES = 200


@contextmanager
def guard(*, as_json: bool = False, debug: bool = False) -> Iterator[None]:
    """Turns what a command raises into a line on standard error and an exit code.

    With ``as_json`` the line is ``{"error": {...}}``; with ``debug`` the
    traceback comes before it.
    """
    try:
        yield
        sys.stdout.flush()
    except typer.Exit:
        raise
    except typer.Abort:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:
        # Else the interpreter fails once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.PIPE_CLOSED) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 - the outermost place: all of them are reported
        if debug:
            traceback.print_exc()
        report(error, as_json=as_json, debug=debug)
        raise typer.Exit(code_of(error)) from None


def report(error: Exception, *, as_json: bool, debug: bool = False) -> None:
    """Writes an error to standard error, for people or for programs."""
    text = _text(error, debug=debug)
    if as_json:
        record: dict[str, Any] = {"code": int(code_of(error)), "message": text}
        if isinstance(error, NvrError):
            record |= {"reason": error.reason, "field": error.field, "node": error.node, "facts": error.facts}
        print(json.dumps({"error": record}), file=sys.stderr)
    else:
        print(f"nvr: {text}", file=sys.stderr)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that takes none of the common options."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with guard(debug=bool(os.environ.get("NVR_DEBUG"))):
            return function(*args, **kwargs)

    return run


def _text(error: Exception, *, debug: bool) -> str:
    if isinstance(error, NvrError):
        where = f"{error.node}: " if error.node and error.node not in error.message else ""
        # A settings file can have many faults, a line for each.
        lines = error.message.splitlines() or [error.reason]
        return where + "\n".join(lines[:_MAX_LINES])
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    more = "" if debug else "; run it again with --debug, and report what it prints"
    return f"a defect of nvr: {type(error).__name__}: {error}{more}"
