"""Asking several nodes at once: a bounded number, each with a deadline, none at the cost of another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from nvr.errors import DeadlineExceeded
from nvr.footage import onward
from nvr.gateway.links import AnyLink

__all__ = ["Fanout"]

T = TypeVar("T")


class Fanout:
    """``at_once``: nodes asked at the same time, by all callers together.

    ``timeout_s``: a node that has not answered a question by then is late; less
    where the call being served ends before.
    """

    def __init__(self, *, at_once: int = 256, timeout_s: float = 20.0) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._timeout_s = timeout_s
        self.contacted = 0
        """How often a node was asked, for tests and metrics."""

    @asynccontextmanager
    async def asking(self, link: AnyLink) -> AsyncIterator[None]:
        """Within, a node is asked. Raises :exc:`NodeUnavailable` when it is away, or late."""
        async with self._slots:
            if not link.up:
                raise link.error()
            self.contacted += 1
            limit_s = onward.timeout_s(self._timeout_s)
            try:
                async with asyncio.timeout(limit_s):
                    yield
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"{link.target}: no answer within {limit_s:.3g} s", node=link.name
                ) from error

    async def ask(self, link: AnyLink, question: Callable[[], Awaitable[T]]) -> T:
        """A node's answer to a question that has one. Raises what it raises, and as :meth:`asking`."""
        async with self.asking(link):
            return await question()
