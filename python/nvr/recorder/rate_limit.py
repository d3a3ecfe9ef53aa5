"""A cap on what is fetched, in bits a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["RateLimiter", "TokenBucket"]


class RateLimiter(Protocol):
    """Whom to ask after each piece that was fetched."""

    async def take(self, bits: int) -> None:
        """Returns when so many more bits keep to the cap."""


class TokenBucket:
    """Fills with ``bits_per_s``, up to what a second gives.

    What was fetched may be more than is in it: then everybody waits until the debt is paid, so that
    the cap holds however large the pieces are, and for all who share the bucket together.
    """

    def __init__(
        self,
        bits_per_s: int,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = bits_per_s
        self._now_s = now_s
        self._sleep = sleep
        self._tokens = float(bits_per_s)
        self._at_s = now_s()

    async def take(self, bits: int) -> None:
        """Takes what was fetched out of the bucket, and returns when that is paid."""
        now_s = self._now_s()
        self._tokens = min(self._tokens + (now_s - self._at_s) * self._rate, self._rate) - bits
        self._at_s = now_s
        if self._tokens < 0:
            await self._sleep(-self._tokens / self._rate)
