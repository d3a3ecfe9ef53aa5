"""Answers that are not read to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from nvr.footage.source import Answer

T = TypeVar("T")


@asynccontextmanager
async def closing(answer: Answer[T]) -> AsyncIterator[Answer[T]]:
    """Ends an answer when it is left, so that the node stops sending."""
    try:
        yield answer
    finally:
        # An asynchronous generator has it; the contract asks only for an iterator.
        close = getattr(answer, "aclose", None)
        if close is not None:
            await close()
