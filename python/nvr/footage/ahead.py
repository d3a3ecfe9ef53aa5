"""Answers whose next step is fetched while the last one is being used."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

from nvr.footage.closing import closing

__all__ = ["read_ahead"]

T = TypeVar("T")


async def read_ahead(answer: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same steps; one of them, at most, is there before it is asked for."""

    async def fetch() -> T | None:
        return await anext(answer, None)

    async with closing(answer):
        waiting = asyncio.create_task(fetch())
        try:
            while (step := await waiting) is not None:
                waiting = asyncio.create_task(fetch())
                yield step
        finally:
            # Whoever leaves early does not care how the next step would have ended.
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await waiting
