"""The command line: ``nvr``."""

import gc

__all__ = ["main"]


def main() -> None:
    """Runs the command of this process, and exits with a code of :mod:`nvr.cli.exit_codes`."""
    # Loading makes some hundred thousand objects that stay: to look through them for garbage at every
    # 700th would take a fifth of the time. A node sets it back when it serves.
    gc.set_threshold(50_000, 20, 100)
    from nvr.cli.app import build

    build()(prog_name="nvr")
