"""The parent's end of one connection that a child made: calls go out, answers come in."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from nvr.errors import NodeUnavailable, NvrError
from nvr.footage.problems import PROBLEM_KEY, problem_of, status_of
from nvr.uplink.mux import AskMux, ProtocolError, cost
from nvr.uplink.priority import Priority
from nvr.v1.uplink_pb2 import (
    ConnectRequest,
    ConnectResponse,
    UplinkClose,
    UplinkHello,
    UplinkLine,
    UplinkMetadata,
    UplinkOpen,
)

__all__ = ["WINDOW_BYTES", "Answer", "Session", "close_of"]

WINDOW_BYTES = 1 << 20
"""Room for each answer: so much of it may wait here until it is read."""
_MAX_CALLS = 256
_LEAST_KEEPALIVE_MS, _MOST_KEEPALIVE_MS = 100, 600_000
_SILENT_INTERVALS = 3
_END_S = 1.0


def close_of(error: NvrError, *, node: str) -> UplinkClose:
    """The end of an answer that failed here, before it came from the child."""
    problem = problem_of(error, node=node)
    return UplinkClose(
        code=status_of(error).value[0],
        details=problem.message,
        metadata=[UplinkMetadata(key=PROBLEM_KEY, value=problem.SerializeToString())],
    )


def _passed_over(task: "asyncio.Task[Any]") -> None:
    """What goes wrong at the end is of no interest any more."""
    if not task.cancelled():
        task.exception()


class Answer:
    """The answer to one call."""

    def __init__(self, session: "Session", call: int, priority: Priority) -> None:
        self._session = session
        self.call = call
        self.priority = priority
        self.end: UplinkClose | None = None
        self._woken = asyncio.Event()

    async def read(self) -> bytes | None:
        """The next message; None at the end, which :attr:`end` then has."""
        while self.end is None:
            self._woken.clear()
            step = self._session.take(self.call)
            if isinstance(step, bytes):
                return step
            if step is not None:
                self.end = step
                break
            await self._woken.wait()
        return None

    def wake(self) -> None:
        """Something came."""
        self._woken.set()

    def cancel(self, end: UplinkClose) -> bool:
        """Ends it here; ``end`` is what its reader sees. False: it had ended."""
        if self.end is not None:
            return False
        self.end = end
        self._session.reset(self.call)
        self._woken.set()
        return True


class Session:
    """One connection. ``node``: what the child is called here, for errors."""

    def __init__(
        self,
        hello: UplinkHello,
        *,
        node: str,
        on_end: Callable[["Session"], None] = lambda _session: None,
        received: dict[Priority, int] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_end``: is told once, at the moment at which it is over. ``received``: counts on there."""
        self._node = node
        self._on_end = on_end
        self._now_s = now_s
        self._mux = AskMux(max_calls=max(1, min(hello.max_calls, _MAX_CALLS)), window=WINDOW_BYTES)
        self._answers: dict[int, Answer] = {}
        self._writable = asyncio.Event()
        self._ended = asyncio.Event()
        self._silent_s = (
            _SILENT_INTERVALS * max(_LEAST_KEEPALIVE_MS, min(hello.keepalive_ms, _MOST_KEEPALIVE_MS)) / 1000
        )
        self._heard_s = now_s()
        self._error: NvrError = NodeUnavailable("the connection ended", node=node)
        self.hello = hello
        self.line = UplinkLine()
        self.received = dict.fromkeys(Priority, 0) if received is None else received
        """Bytes of answers, by class."""

    @property
    def calls(self) -> int:
        """Calls that are open."""
        return len(self._mux)

    async def run(
        self,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[ConnectResponse], Awaitable[None]],
    ) -> None:
        """Serves the connection. Returns when the child ended it; raises the :exc:`NvrError` that did."""
        tasks = [
            asyncio.create_task(self._read(read)),
            asyncio.create_task(self._write(write)),
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._ended.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.is_set():
                raise self._error
            for task in done:
                task.result()
        except NvrError as error:
            self.end(error)
            raise
        finally:
            self.end(self._error)
            for task in tasks:
                task.cancel()
                task.add_done_callback(_passed_over)
            # On a dead connection what is being written cannot be cancelled until gRPC sees that, too.
            await asyncio.wait(tasks, timeout=_END_S)

    def end(self, error: NvrError) -> None:
        """Ends it, and every call of it, with this error."""
        if self._ended.is_set():
            return
        self._error = error
        self._ended.set()
        self._on_end(self)
        lost = NodeUnavailable(f"the connection was lost: {self._error.message}", node=self._node)
        for answer in list(self._answers.values()):
            # What has come whole is still read.
            self._mux.lose(answer.call, close_of(lost, node=self._node))
            answer.wake()

    def open(self, frame: UplinkOpen, priority: Priority) -> Answer | None:
        """Begins a call; None when the child answers as many as it can."""
        if self._mux.full or self._ended.is_set():
            return None
        answer = Answer(self, self._mux.open(frame), priority)
        self._answers[answer.call] = answer
        self._writable.set()
        return answer

    def take(self, call: int) -> bytes | UplinkClose | None:
        """For :class:`Answer`: see :meth:`AskMux.take`."""
        step = self._mux.take(call)
        if isinstance(step, UplinkClose):
            self._answers.pop(call, None)
        elif step is not None:
            self._writable.set()
        return step

    def reset(self, call: int) -> None:
        """For :class:`Answer`: its reader wants no more."""
        self._answers.pop(call, None)
        self._mux.reset(call)
        self._writable.set()

    async def _read(self, read: Callable[[], Awaitable[Any]]) -> None:
        while (frame := await read()) is not grpc.aio.EOF:
            self._heard_s = self._now_s()
            self._got(frame)
            self._writable.set()

    def _got(self, frame: ConnectRequest) -> None:
        match frame.WhichOneof("frame"):
            case "data":
                whole = self._mux.data(frame.data)
                answer = self._answers.get(frame.data.call)
                if answer is not None:
                    self.received[answer.priority] += cost(frame.data.data)
                    if whole is not None:
                        answer.wake()
            case "close":
                closed = self._mux.close(frame.close)
                if closed is not None and closed in self._answers:
                    self._answers[closed].wake()
            case "ping":
                self._mux.ping(frame.ping.number)
            case "line":
                self.line = frame.line
            case "hello":
                raise ProtocolError("a second hello")
            case _:
                pass

    async def _write(self, write: Callable[[ConnectResponse], Awaitable[None]]) -> None:
        while True:
            self._writable.clear()
            while (frame := self._mux.next_frame()) is not None:
                await write(frame)
            await self._writable.wait()

    async def _watch(self) -> None:
        """Ends a connection that is dead and does not say so."""
        while True:
            left_s = self._heard_s + self._silent_s - self._now_s()
            if left_s <= 0:
                raise NodeUnavailable(
                    f"nothing came from node {self._node} for {self._silent_s:.3g} s", node=self._node
                )
            await asyncio.sleep(left_s)
