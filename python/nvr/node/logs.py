"""Where a node's log goes. Imports nothing that only a running node needs."""

import logging
import time

import typer

__all__ = ["log_plainly"]

_LEVELS = ("debug", "info", "warning", "error")


def log_plainly(level: str) -> None:
    """Log lines on standard error, with UTC time; as yet they belong to no request. Once is enough."""
    if level not in _LEVELS:
        raise typer.BadParameter(f"one of {', '.join(_LEVELS)}", param_hint="--log-level")
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(request_id)s %(trace_id)s] %(message)s",
        "%Y-%m-%dT%H:%M:%S",
        defaults={"request_id": "-", "trace_id": "-"},
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler])
