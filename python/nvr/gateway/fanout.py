"""Asking several nodes at once: a bounded number, each with a deadline, none at the cost of another."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from nvr.errors import DeadlineExceeded, InternalError, NvrError
from nvr.footage import onward
from nvr.gateway.links import AnyLink

__all__ = ["Fanout"]

T = TypeVar("T")
logger = logging.getLogger("nvr.gateway")


class Fanout:
    """``at_once``: nodes asked at the same time, by all callers together.

    ``timeout_s``: a question is answered within so long, whoever is late; less
    where the call being served ends before. The nodes asked get a little less: what
    a gateway below puts together without its late nodes still arrives.
    """

    def __init__(self, *, at_once: int = 256, timeout_s: float = 20.0) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._timeout_s = timeout_s
        self.contacted = 0
        """How often a node was asked, for tests and metrics."""

    @asynccontextmanager
    async def asking(self, link: AnyLink) -> AsyncIterator[None]:
        """Within, a node is asked. Raises nothing but :exc:`NvrError`.

        :exc:`NodeUnavailable` when it is away; :exc:`DeadlineExceeded` when it is late, or
        others kept it from being asked in time.
        """
        if not link.up:
            raise link.error()
        with onward.within(self._timeout_s):
            limit_s = onward.timeout_s(self._timeout_s)
            try:
                async with asyncio.timeout(limit_s), self._slots:
                    self.contacted += 1
                    yield
            except NvrError:
                raise
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"{link.target}: no answer within {limit_s:.3g} s", node=link.name
                ) from error
            except Exception as error:
                logger.exception("asking node %s failed", link.name)
                raise InternalError(
                    f"{link.target}: what it answered could not be handled; the log here has the cause"
                ) from error

    async def ask(self, link: AnyLink, question: Callable[[], Awaitable[T]]) -> T:
        """A node's answer to a question that has one. Raises what it raises, and as :meth:`asking`."""
        async with self.asking(link):
            return await question()
