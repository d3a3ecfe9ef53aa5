"""The command line: ``nvr``."""

__all__ = ["main"]


def main() -> None:
    """Runs the command of this process, and exits with a code of :mod:`nvr.cli.exit_codes`."""
    from nvr.cli.app import build

    build()(prog_name="nvr")
