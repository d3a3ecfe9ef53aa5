"""Answers that come piece by piece: lazily, with back-pressure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Self, TypeVar

from nvr.client._portal import Portal
from nvr.client._show import Shown, View, notice_text
from nvr.errors import NodeUnavailable
from nvr.footage.types import End, Notice

T = TypeVar("T")


class StreamState(Shown):
    """What is known of an answer beside its items, while it comes and after."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._warnings: list[Notice] = []
        self._end: End | None = None

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What the node said about the answer, so far."""
        return tuple(self._warnings)

    @property
    def complete(self) -> bool | None:
        """Whether nothing is missing from the answer; None until it has ended."""
        return None if self._end is None else self._end.complete

    @property
    def cursor(self) -> str:
        """Where to go on in a next request; empty until the end, and when there is no more."""
        return "" if self._end is None else self._end.cursor

    @property
    def remaining(self) -> int:
        """How many items a limit left for next requests, where the node knows; 0 until the end."""
        return 0 if self._end is None else self._end.remaining

    def view(self) -> View:
        """What there is to see."""
        state = {None: "not at its end", True: "complete", False: "incomplete"}[self.complete]
        return View(f"{self._what}: {state}", notes=[notice_text(warning) for warning in self._warnings])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what}, complete={self.complete}>"


class AsyncStream(StreamState, Generic[T]):
    """The items of an answer, fetched as they are asked for.

    Leave it early with ``async with`` or :meth:`aclose`, so that the node stops
    sending. ``warned``: is told of each warning as it comes. Raises
    :exc:`nvr.errors.NodeUnavailable` when the answer was cut.
    """

    def __init__(
        self,
        what: str,
        answer: AsyncIterator[Any],
        convert: Callable[[Any], T],
        warned: Callable[[Notice], None] | None = None,
    ) -> None:
        super().__init__(what)
        self._warned = warned
        self._answer = answer
        self._closed = False
        self._convert = convert

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._end is None and not self._closed:
            try:
                step = await anext(self._answer)
            except StopAsyncIteration:
                raise NodeUnavailable(f"{self._what}: the answer was cut before its end; ask again") from None
            if isinstance(step, Notice):
                self._warnings.append(step)
                if self._warned is not None:
                    self._warned(step)
            elif isinstance(step, End):
                self._end = step
                await self.aclose()
            else:
                return self._convert(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the answer; the node stops sending."""
        self._closed = True
        close = getattr(self._answer, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def all(self) -> list[T]:
        """What is left of it, at once."""
        return [item async for item in self]


class Stream(Shown, Generic[T]):
    """The items of an answer, fetched as they are asked for: the sync twin of :class:`AsyncStream`.

    Leave it early with ``with`` or :meth:`close`, so that the node stops sending.
    """

    def __init__(self, portal: Portal, inner: AsyncStream[T]) -> None:
        self._portal = portal
        self._inner = inner

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What the node said about the answer, so far."""
        return self._inner.warnings

    @property
    def complete(self) -> bool | None:
        """Whether nothing is missing from the answer; None until it has ended."""
        return self._inner.complete

    @property
    def cursor(self) -> str:
        """Where to go on in a next request; empty until the end, and when there is no more."""
        return self._inner.cursor

    @property
    def remaining(self) -> int:
        """How many items a limit left for next requests, where the node knows; 0 until the end."""
        return self._inner.remaining

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._portal.run(anext_of(self._inner))
        except _EndedError:
            raise StopIteration from None

    def close(self) -> None:
        """Ends the answer; the node stops sending."""
        self._portal.run(self._inner.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def all(self) -> list[T]:
        """What is left of it, at once."""
        return self._portal.run(self._inner.all())

    def view(self) -> View:
        """What there is to see."""
        return self._inner.view()

    def __repr__(self) -> str:
        return repr(self._inner).replace("<Async", "<", 1)


class _EndedError(Exception):
    """Stands for StopAsyncIteration, which a task cannot end with."""


async def anext_of(stream: AsyncStream[T]) -> T:
    """The next item; raises a plain exception at the end."""
    try:
        return await anext(stream)
    except StopAsyncIteration:
        raise _EndedError from None
