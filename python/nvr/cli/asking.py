"""Asking a node by one of its services that the client library has no face for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nvr.cli.settings import Settings

if TYPE_CHECKING:
    from nvr.footage.types import ReadContext

T = TypeVar("T")


def asked(
    settings: Settings, remote: Callable[..., Any], ask: Callable[[Any, ReadContext], Awaitable[T]]
) -> T:
    """What ``ask`` gets from the node of the shared options.

    ``remote(channel, target=…, timeout_s=…)`` makes what it asks.
    """
    from nvr.client._network import checked_options
    from nvr.footage.channel import dial
    from nvr.security.tls import TlsFiles

    options = checked_options(**{"connect_timeout": "5s", **settings.connection})
    files = TlsFiles(options.certificate, options.key, options.ca) if options.tls else None

    async def run() -> T:
        channel = dial(options.address, files)
        try:
            made = remote(channel, target=options.address, timeout_s=options.timeout_us / 1_000_000)
            return await ask(made, options.context)
        finally:
            await channel.close()

    return asyncio.run(run())
