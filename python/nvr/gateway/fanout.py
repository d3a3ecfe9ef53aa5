"""Asking several nodes at once: a bounded number, each with a deadline, none at the cost of another."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from nvr.errors import DeadlineExceeded, InternalError, NodeUnavailable, NvrError
from nvr.footage import onward
from nvr.footage.problems import error_from_status
from nvr.gateway.links import AnyLink
from nvr.gateway.many import Ended, ManyNodes

__all__ = ["Asking", "Fanout"]

T = TypeVar("T")
logger = logging.getLogger("nvr.gateway")

_OK, _DEADLINE = 0, 4


class Fanout:
    """``at_once``: nodes asked at the same time, by all callers together.

    ``timeout_s``: a question is answered within so long, whoever is late; less
    where the call being served ends before. The nodes asked get a little less: what
    a gateway below puts together without its late nodes still arrives.

    There are two ways to ask, each with slots of its own: :meth:`asking` one node by its
    link, and :meth:`ask_all` with a question to many of which the answers are small.
    """

    def __init__(self, *, at_once: int = 256, timeout_s: float = 20.0) -> None:
        self._at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._timeout_s = timeout_s
        self._many: ManyNodes | None = None
        self.contacted = 0
        """How often a node was asked, for tests and metrics."""

    @property
    def many(self) -> ManyNodes:
        """The client of :meth:`ask_all`, which starts when it is first needed."""
        if self._many is None:
            self._many = ManyNodes(at_once=self._at_once)
        return self._many

    def close(self) -> None:
        """Ends what is asked by :meth:`ask_all`."""
        if self._many is not None:
            self._many.close()

    @asynccontextmanager
    async def asking(self, link: AnyLink) -> AsyncIterator[None]:
        """Within, a node is asked. Raises nothing but :exc:`NvrError`.

        :exc:`NodeUnavailable` when it is away; :exc:`DeadlineExceeded` when it is late, or
        others kept it from being asked in time.
        """
        if not link.up:
            raise link.error()
        with onward.within(self._timeout_s):
            limit_s = onward.timeout_s(self._timeout_s) or self._timeout_s
            try:
                async with asyncio.timeout(limit_s), self._slots:
                    self.contacted += 1
                    yield
            except NvrError:
                raise
            except TimeoutError as error:
                raise _late(link, limit_s) from error
            except Exception as error:
                raise _defect(link, error) from error

    async def ask(self, link: AnyLink, question: Callable[[], Awaitable[T]]) -> T:
        """A node's answer to a question that has one. Raises what it raises, and as :meth:`asking`."""
        async with self.asking(link):
            return await question()

    def ask_all(
        self, path: str, asks: Sequence["Asking"], requests: Sequence[bytes], *, most_messages: int
    ) -> None:
        """Asks nodes whose links are :attr:`~nvr.gateway.links.Link.reachable`, each with its request.

        Returns at once; what comes, each of ``asks`` is told. ``path``: of the method;
        ``most_messages``: of each answer.
        """
        with onward.within(self._timeout_s):
            limit_s = onward.timeout_s(self._timeout_s) or self._timeout_s
        many = self.many
        sent: list[Asking] = []
        wire: list[tuple[int, bytes]] = []
        for ask, request in zip(asks, requests, strict=True):
            link = ask.link
            if not link.up or link.reachable is None:
                ask.finish(link.error())
                continue
            try:
                peer = many.peer(link.reachable)
            except NvrError as error:
                ask.finish(error)
                continue
            link.asked += 1
            sent.append(ask)
            wire.append((peer, request))
        if not wire:
            return
        self.contacted += len(wire)

        def on_answer(index: int, messages: Sequence[bytes], ended: Ended | None) -> None:
            if ended is not None and not ended.asked:
                self.contacted -= 1
            sent[index].on_answer(messages, ended, limit_s)

        calls = many.ask(
            path,
            wire,
            on_answer,
            timeout_s=limit_s,
            metadata=onward.metadata(),
            most_messages=most_messages,
        )
        for call, ask in zip(calls, sent, strict=True):
            ask.begin(many, call)


class Asking:
    """One node's part of a question to many. Subclasses say what a message means, and what is at the end."""

    def __init__(self, link: AnyLink) -> None:
        self.link = link
        self.over = False
        self._many: ManyNodes | None = None
        self._call = -1

    def on_message(self, raw: bytes) -> bool:
        """Takes a message; true for the last one. Raises :exc:`NvrError` when nothing more is wanted."""
        raise NotImplementedError

    def on_end(self, error: NvrError | None) -> None:
        """Once, whatever happens."""
        raise NotImplementedError

    def begin(self, many: ManyNodes, call: int) -> None:
        """It is being asked."""
        self._many, self._call = many, call

    def cancel(self) -> None:
        """Nothing more is wanted."""
        if not self.over:
            self.over = True
            self._drop()

    def finish(self, error: NvrError | None) -> None:
        """It is over, with all that was to be said or with what went wrong."""
        if not self.over:
            self.over = True
            self.on_end(error)

    def on_answer(self, messages: Sequence[bytes], ended: Ended | None, limit_s: float) -> None:
        """What came. Does not raise: whatever it is, it is this node's part."""
        if self.over:
            # After the last message the status still comes, which says nothing new.
            return
        try:
            for raw in messages:
                if self.on_message(raw):
                    self.finish(None)
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this node's part
            self._drop()
            self.finish(error if isinstance(error, NvrError) else _defect(self.link, error))
            return
        if ended is not None:
            self.finish(self._failure(ended, limit_s))

    def _failure(self, ended: Ended, limit_s: float) -> NvrError:
        target = self.link.target
        if ended.status == _OK:
            return NodeUnavailable(f"{target}: the answer was cut before its end")
        if ended.status == _DEADLINE and not ended.problem:
            return _late(self.link, limit_s)
        return error_from_status(ended.status, ended.detail, ended.problem, target=target)

    def _drop(self) -> None:
        if self._many is not None:
            self._many.cancel((self._call,))


def _late(link: AnyLink, limit_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"{link.target}: no answer within {limit_s:.3g} s", node=link.name)


def _defect(link: AnyLink, error: Exception) -> InternalError:
    logger.error("asking node %s failed", link.name, exc_info=error)
    return InternalError(f"{link.target}: what it answered could not be handled; the log here has the cause")
