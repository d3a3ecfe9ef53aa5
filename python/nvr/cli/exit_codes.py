"""What the process ends with, and from which error: the one place."""

from __future__ import annotations

from enum import IntEnum

from nvr import errors


class ExitCode(IntEnum):
    """Exit codes of every ``nvr`` command; ``docs/cli.md`` has the same table."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Makes one of its values."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done"
    FAILURE = 1, "failed for a reason that has no code of its own"
    USAGE = 2, "an option, an argument, a file's content or a time is wrong"
    NOT_FOUND = 3, "no such camera, or nothing is recorded there"
    INCOMPLETE = 4, "part of the answer is missing"
    UNAVAILABLE = 5, "the node, or the database that it needs, cannot be reached or did not answer in time"
    DENIED = 6, "the node does not know you, or does not let you"
    DAMAGED = 7, "stored bytes fail their check"
    REFUSED = 8, "the network catalog does not allow it now: changed in between, restored, written elsewhere"
    INTERRUPTED = 130, "ended by Ctrl-C"
    PIPE_CLOSED = 141, "the program that read the output went away"


_OF_ERROR: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.InvalidArgument, ExitCode.USAGE),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Incomplete, ExitCode.INCOMPLETE),
    (errors.NodeUnavailable, ExitCode.UNAVAILABLE),
    (errors.CatalogAway, ExitCode.UNAVAILABLE),
    (errors.CatalogRefused, ExitCode.REFUSED),
    (errors.AccessDenied, ExitCode.DENIED),
    (errors.DamagedError, ExitCode.DAMAGED),
    (BrokenPipeError, ExitCode.PIPE_CLOSED),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)


def code_of(error: BaseException) -> ExitCode:
    """The exit code of an error."""
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), ExitCode.FAILURE)


def exit_unless(*, complete: bool) -> None:
    """Ends the command, all of it printed, with the code of an answer that lacks something."""
    if not complete:
        import typer

        raise typer.Exit(ExitCode.INCOMPLETE)
