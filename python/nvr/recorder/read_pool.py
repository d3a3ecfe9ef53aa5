"""Threads for calls that block: the event loop never waits for a disk or a decoder."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["ReadPool"]

P = ParamSpec("P")
T = TypeVar("T")


class ReadPool:
    """A bounded number of threads. A call that waits for one is dropped when its caller goes away."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the call returns or raises."""
        return await self.submit(call, *args, **kwargs)

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """Starts the call; to be awaited later."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, functools.partial(call, *args, **kwargs))

    async def ahead(
        self, step: Callable[[], T | None], at_once: Callable[[], T | None] | None = None
    ) -> AsyncIterator[T]:
        """What ``step`` returns until None; the next step runs while the last result is being used.

        ``at_once``: the same, for the loop's own thread: it does not block, and returns None where it would
        have to. It is asked until then. (To hand a step to a thread, and its result back, costs as much as
        to copy a megabyte.)
        """
        while at_once is not None and (result := at_once()) is not None:
            yield result
        waiting = self.submit(step)
        try:
            while (result := await waiting) is not None:
                waiting = self.submit(step)
                yield result
        finally:
            if not waiting.cancel() and waiting.done() and not waiting.cancelled():
                # The step was not asked for any more; its error concerns nobody.
                waiting.exception()

    def close(self) -> None:
        """Drops what waits, and returns when what runs has ended."""
        self._executor.shutdown(wait=True, cancel_futures=True)
