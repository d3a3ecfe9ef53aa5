"""Answers that are not read to their end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

__all__ = ["closing"]

T = TypeVar("T", bound=AsyncIterator[Any])


@asynccontextmanager
async def closing(answer: T) -> AsyncIterator[T]:
    """Ends an answer when it is left: the node stops sending, and what it holds is released at once."""
    try:
        yield answer
    finally:
        # An asynchronous generator has it; the contract asks only for an iterator.
        close = getattr(answer, "aclose", None)
        if close is not None:
            await close()
