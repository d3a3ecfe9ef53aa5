"""What is the same for every call that a node serves, in one place.

Each call: parse → caller → request id → permission → field rules → a free slot
→ audit → the handler's answer → audit → End or status. Handlers see values that
passed; whatever they raise becomes a status code with a ``Problem``.
"""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message

from nvr.errors import (
    DeadlineExceeded,
    Incomplete,
    InternalError,
    InvalidArgument,
    LimitExceeded,
    NvrError,
)
from nvr.footage import convert, onward
from nvr.footage.closing import closing
from nvr.footage.problems import PROBLEM_KEY, problem_of, status_of
from nvr.footage.types import End, Notice, ReadContext
from nvr.footage.validation import validate
from nvr.security.audit import AuditEntry, AuditHook
from nvr.security.identity import Caller, KnownCallers, Policy, current_caller
from nvr.v1 import common_pb2

__all__ = [
    "OMISSIONS",
    "Call",
    "CallObserver",
    "CallReport",
    "CallRunner",
    "Limits",
    "Method",
    "RequestIdFilter",
    "Steps",
    "current_call",
]

T = TypeVar("T")
_log = logging.getLogger("nvr.calls")

OMISSIONS = frozenset(
    {
        "pending",
        "damaged",
        "disk_error",
        "slow_reader",
        "truncated",
        "node_unreachable",
        "deadline",
        "node_refused",
        "node_failed",
        "node_lied",
        "node_unknown",
    }
)
"""Warnings that say that something is missing from the answer."""

REQUEST_ID_KEY = "nvr-request-id"
_MAX_DETAILS = 300
_JOINED_BYTES = 64 << 10
_NO_DEADLINE_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may use of a node.

    ``streams``: streams that are open at once, whoever opened them; default
    1024, least 1. ``streams_per_caller``: of these, one caller's; default 256,
    least 1. ``unary_timeout_s``: an answer without stream that takes longer
    fails, also when the caller would wait; default 30, above 0.
    """

    streams: int = 1024
    streams_per_caller: int = 256
    unary_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service. ``discloses``: pictures; ``evidence``: the record of it must last first."""

    service: str
    name: str
    request_type: type[Message]
    discloses: bool = False
    evidence: bool = False
    endless: bool = False

    @property
    def path(self) -> str:
        """``nvr.v1.FootageService/ReadClip``."""
        return f"{self.service}/{self.name}"


@dataclass(slots=True)
class Call:
    """The call being served. ``deadline_s``: on ``time.monotonic()``; None: the caller set none."""

    method: Method
    request_id: str
    deadline_s: float | None
    caller: Caller | None = None
    sent_bytes: int = 0
    begun: asyncio.Task[None] | None = None
    """Sends the call's first word, while what is asked for is looked for."""

    async def has_begun(self) -> None:
        """Returns when that is sent: nothing else may be before. Raises what sending raised."""
        if self.begun is not None:
            if not self.begun.done():
                # It goes on though this task is cancelled: the library bears no second one.
                await asyncio.wait((self.begun,))
            self.begun.result()


@dataclass(frozen=True, slots=True)
class CallReport:
    """A finished call. ``outcome``: ``OK``, ``CANCELLED``, or the problem's reason."""

    service: str
    method: str
    outcome: str
    status: str
    seconds: float
    sent_bytes: int


class CallObserver(Protocol):
    """Is told of every finished call, for metrics. Must not raise or block."""

    def __call__(self, report: CallReport, /) -> None:
        """Once for each call."""


@dataclass(frozen=True, slots=True)
class Steps(Generic[T]):
    """A stream to answer with: the source's steps, and how each becomes serialized messages.

    ``joined``: messages of items, and the End's after them, may be joined to one.
    """

    steps: AsyncIterator[T | Notice | End]
    item: Callable[[T], Iterable[bytes]]
    notice: Callable[[Notice], bytes]
    end: Callable[[End], bytes]
    joined: bool = False


_call: ContextVar[Call | None] = ContextVar("nvr_call", default=None)


def current_call() -> Call | None:
    """The call that the running task serves, if it serves one."""
    return _call.get()


class RequestIdFilter(logging.Filter):
    """Gives log records a ``request_id`` and a ``trace_id``: of the call being served, or ``-``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps every record."""
        call, trace = _call.get(), onward.current()
        record.request_id = "-" if call is None else call.request_id
        record.trace_id = "-" if trace is None else trace.trace_id
        return True


@dataclass(slots=True, eq=False)
class _Watch:
    """A task that waits for something that may never come."""

    task: asyncio.Task[Any]
    waiting: bool = False
    interrupted: bool = field(default=False)


class _Joining:
    """Serialized messages of repeated fields, joined: protobuf reads them as one.

    What comes without anything being awaited, or while something is being sent, goes together:
    a message costs a waking on each side, whatever its size. (Concatenated messages are merged:
    https://protobuf.dev/programming-guides/encoding/#last-one-wins.)
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._bytes = 0
        self._soon: asyncio.Handle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, NvrError):
            # What was found before it failed is given.
            await self._flush()
            return
        self._not_yet()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def put(self, message: bytes) -> None:
        """Takes a message; it is sent as soon as something is awaited."""
        if self._sending is not None and self._sending.done():
            await self._flush()
        self._parts.append(message)
        self._bytes += len(message)
        if self._bytes >= _JOINED_BYTES:
            await self._flush()
        elif self._sending is None and self._soon is None:
            # Not a task yet: mostly all is known at once, and goes with the End.
            self._soon = asyncio.get_running_loop().call_soon(self._start)

    async def alone(self, message: bytes) -> None:
        """Sends a message that is joined to none."""
        await self._flush()
        await self._write(message)

    async def rest(self) -> bytes:
        """What is not on its way yet, for who sends it with something else."""
        rest = self._take()
        await self._flush()
        return rest

    async def _flush(self) -> None:
        """Returns when all is sent. Raises what sending raised."""
        self._not_yet()
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending
        if self._parts:
            await self._write(self._take())

    def _start(self) -> None:
        self._soon = None
        self._sending = asyncio.create_task(self._send())

    def _not_yet(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    async def _send(self) -> None:
        while self._parts:
            await self._write(self._take())

    def _take(self) -> bytes:
        parts, self._parts, self._bytes = self._parts, [], 0
        return b"".join(parts)


Unary = Callable[[Any, ReadContext], Awaitable[Message]]
Streaming = Callable[[Any, ReadContext], Steps[Any]]
_Body = Callable[[Call, Any, ReadContext], Awaitable[bytes]]


class CallRunner:
    """Makes gRPC handlers out of functions that know nothing of gRPC."""

    def __init__(
        self,
        *,
        node: str,
        audit: AuditHook,
        policy: Policy | None = None,
        limits: Limits | None = None,
        observers: Sequence[CallObserver] = (),
    ) -> None:
        self._node = node
        self._audit = audit
        self._policy = policy or KnownCallers()
        self._limits = limits or Limits()
        self._observers = tuple(observers)
        self._open: Counter[str] = Counter()
        self._watches: set[_Watch] = set()
        self._stopping = False

    def unary(self, method: Method, handler: Unary) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A handler that answers with one message."""

        async def body(call: Call, request: Any, context: ReadContext) -> bytes:
            answer = (await handler(request, context)).SerializeToString()
            call.sent_bytes = len(answer)
            return answer

        async def serve(raw: bytes, context: Any) -> bytes:
            return await self._run(method, raw, context, body, self._limits.unary_timeout_s)

        return grpc.unary_unary_rpc_method_handler(serve)

    def stream(self, method: Method, handler: Streaming) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A handler that answers with items and warnings and exactly one End."""

        async def serve(raw: bytes, context: Any) -> None:
            async def body(call: Call, request: Any, read: ReadContext) -> bytes:
                async def write_after(message: bytes) -> None:
                    await call.has_begun()
                    await write(message)

                with self._slot(call):
                    return await self._answer(call, handler(request, read), read, write_after)

            async def write(message: bytes) -> None:
                try:
                    await context.write(message)
                except grpc.aio.InternalError as error:
                    # The caller vanished, and the library says so here before it cancels the call.
                    raise asyncio.CancelledError from error

            await write(await self._run(method, raw, context, body, None))

        return grpc.unary_stream_rpc_method_handler(serve)

    def stop_watches(self) -> None:
        """Ends the streams that have no end of their own, each with an End."""
        self._stopping = True
        for watch in self._watches:
            if watch.waiting and not watch.interrupted:
                watch.interrupted = True
                watch.task.cancel()

    async def _run(
        self, method: Method, raw: bytes, context: Any, body: _Body, limit_s: float | None
    ) -> bytes:
        started = time.perf_counter()
        deadline_s = _deadline(context)
        call = Call(method, uuid.uuid4().hex, deadline_s)
        _call.set(call)
        onward.begin(_sent(context, onward.TRACE_KEY), deadline_s)
        entry = AuditEntry(call.request_id, method.path, None, context.peer())
        error: NvrError | None = None
        outcome, answer = "OK", b""
        timeout_s = _least(limit_s, None if deadline_s is None else deadline_s - time.monotonic())
        timer = asyncio.timeout(timeout_s)
        try:
            async with timer:
                request = _parse(method, raw)
                read: common_pb2.ReadContext = getattr(request, "context", common_pb2.ReadContext())
                entry = _described(entry, request, read)
                call.caller = current_caller()
                entry = replace(entry, caller=call.caller)
                self._policy.authorize(call.caller, method.path)
                validate(request)
                if read.request_id:
                    call.request_id = read.request_id
                first = context.send_initial_metadata(((REQUEST_ID_KEY, call.request_id),))
                call.begun = asyncio.create_task(first)
                call.begun.add_done_callback(_retrieved)
                wanted = replace(convert.context_from_pb(read), request_id=call.request_id)
                if method.discloses:
                    await self._audit.opened(entry, durable=method.evidence)
                answer = await body(call, request, wanted)
                await call.has_begun()
        except asyncio.CancelledError:
            expired = deadline_s is not None and time.monotonic() >= deadline_s
            outcome = DeadlineExceeded.reason if expired else "CANCELLED"
            raise
        except NvrError as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - whatever else it is, its text stays here
            if timer.expired() and isinstance(caught, TimeoutError):
                error = DeadlineExceeded(f"{method.path} took longer than {timeout_s:.3g} s")
            else:
                error = _internal(call, caught)
        finally:
            if error is not None:
                outcome = error.reason
            late, left = await _to_its_end(self._close(call, entry.bounded(), outcome))
            error = error or late
            self._report(call, outcome if error is None else error.reason, error, started)
            if left is not None:
                raise left
        if error is not None:
            await self._abort(context, error)
        return answer

    async def _close(self, call: Call, entry: AuditEntry, outcome: str) -> NvrError | None:
        if call.begun is not None and not call.begun.done():
            # Before the end, whose error is told.
            await asyncio.wait((call.begun,))
        try:
            await self._audit.closed(entry, outcome=outcome, sent_bytes=call.sent_bytes)
        except NvrError as error:
            _log.error("request %s: %s", call.request_id, error)
            return error
        except Exception as error:  # noqa: BLE001 - a hook of others: the call fails, the node goes on
            return _internal(call, error)
        return None

    def _report(self, call: Call, outcome: str, error: NvrError | None, started: float) -> None:
        status = "CANCELLED" if outcome == "CANCELLED" else "OK" if error is None else status_of(error).name
        seconds = time.perf_counter() - started
        _log.debug(
            "request %s: %s by %s: %s, %d bytes, %.3f s",
            call.request_id,
            call.method.path,
            call.caller,
            outcome,
            call.sent_bytes,
            seconds,
        )
        report = CallReport(call.method.service, call.method.name, outcome, status, seconds, call.sent_bytes)
        for observe in self._observers:
            observe(report)

    async def _abort(self, context: Any, error: NvrError) -> None:
        problem = problem_of(error, node=self._node)
        details = problem.message[:_MAX_DETAILS]
        await context.abort(status_of(error), details, ((PROBLEM_KEY, problem.SerializeToString()),))

    @contextlib.contextmanager
    def _slot(self, call: Call) -> Iterator[None]:
        key = call.caller.key if call.caller is not None else ""
        most = self._limits.streams_per_caller
        if self._open[key] >= most:
            raise LimitExceeded(
                f"you have {most} streams open on this node, which is the most: close one, or ask later",
                facts={"limit": "streams_per_caller", "value": str(most)},
            )
        most = self._limits.streams
        if self._open.total() >= most:
            raise LimitExceeded(
                f"{most} streams are open on this node, which is the most: ask later",
                facts={"limit": "streams", "value": str(most)},
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    async def _answer(
        self, call: Call, answer: Steps[Any], read: ReadContext, write: Callable[[bytes], Awaitable[None]]
    ) -> bytes:
        """Writes all but the End, and returns that."""
        if not answer.joined:
            return await self._write_steps(call, answer, read, write, write)
        async with _Joining(write) as joining:
            end = await self._write_steps(call, answer, read, joining.put, joining.alone)
            return await joining.rest() + end

    async def _write_steps(
        self,
        call: Call,
        answer: Steps[Any],
        read: ReadContext,
        put_item: Callable[[bytes], Awaitable[None]],
        put_notice: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        refuse = read.partial == "refuse"
        encode = answer.item
        steps = self._until_stopped(answer.steps) if call.method.endless else answer.steps
        async with closing(answer.steps):
            async for step in steps:
                if isinstance(step, End):
                    if refuse and not step.complete:
                        raise Incomplete("part of the answer is missing, and partial answers were refused")
                    message = answer.end(step)
                    call.sent_bytes += len(message)
                    return message
                if isinstance(step, Notice):
                    if refuse and step.code in OMISSIONS:
                        raise Incomplete(
                            f"partial answers were refused, and part is missing: {step.message or step.code}",
                            facts={"warning": step.code},
                            node=step.node,
                        )
                    message = answer.notice(step)
                    call.sent_bytes += len(message)
                    await put_notice(message)
                    continue
                for message in encode(step):
                    call.sent_bytes += len(message)
                    await put_item(message)
        raise InternalError("the source of footage ended its answer without saying whether it is complete")

    async def _until_stopped(self, steps: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The steps, and an End when the node stops first."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("calls are served in tasks")
        watch = _Watch(task)
        self._watches.add(watch)
        try:
            while not self._stopping:
                watch.waiting = True
                try:
                    step = await anext(steps)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    # Both the node's stopping and the caller can cancel; the caller's goes on.
                    if not watch.interrupted or task.uncancel() > 0:
                        raise
                    break
                finally:
                    watch.waiting = False
                yield step
            yield End(complete=True)
        finally:
            self._watches.discard(watch)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> tuple[T, asyncio.CancelledError | None]:
    """What comes of it, though the caller leaves meanwhile; and the cancellation, if that came."""
    task = asyncio.create_task(work)
    left: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as caught:
            left = caught
    return task.result(), left


def _retrieved(task: "asyncio.Task[None]") -> None:
    """What became of it is told by who writes next; who has left need not know."""
    if not task.cancelled():
        task.exception()


def _parse(method: Method, raw: bytes) -> Any:
    try:
        return method.request_type.FromString(raw)
    except ProtobufDecodeError:
        raise InvalidArgument(f"the request is not a {method.request_type.DESCRIPTOR.full_name}") from None


def _described(entry: AuditEntry, request: Any, read: common_pb2.ReadContext) -> AuditEntry:
    """What the request asks for; the same fields mean the same in all requests."""
    names = request.DESCRIPTOR.fields_by_name
    start_us = end_us = None
    if "range" in names and request.HasField("range"):
        start_us, end_us = request.range.start_us, request.range.end_us
    elif "at_us" in names:
        start_us = request.at_us
    camera = request.camera if "camera" in names else ""
    cameras = tuple(request.cameras) if "cameras" in names else (camera,) if camera else ()
    if "settings" in names:
        cameras = (request.settings.name,)
    where = ""
    if "where" in names and request.HasField("where"):
        where = json.dumps(
            MessageToDict(request.where, preserving_proto_field_name=True), separators=(",", ":")
        )
    stream = "sub" if "stream" in names and request.stream == common_pb2.STREAM_KIND_SUB else ""
    if "stream" in names and not stream:
        stream = "main"
    return replace(
        entry,
        request_id=read.request_id or entry.request_id,
        cameras=cameras,
        where=where,
        stream=stream,
        start_us=start_us,
        end_us=end_us,
        purpose=read.purpose,
        case_number=read.case_number,
    )


def _internal(call: Call, error: Exception) -> InternalError:
    _log.error("request %s: %s failed", call.request_id, call.method.path, exc_info=error)
    return InternalError(f"the node failed on this request; its log has the cause under {call.request_id}")


def _sent(context: Any, key: str) -> str:
    """The value of a key of the call's metadata."""
    values = (value for name, value in context.invocation_metadata() or () if name == key)
    return next((value for value in values if isinstance(value, str)), "")


def _deadline(context: Any) -> float | None:
    left_s = context.time_remaining()
    # gRPC says "no deadline" with a very distant one.
    if left_s is None or left_s > _NO_DEADLINE_S:
        return None
    return time.monotonic() + float(left_s)


def _least(first: float | None, second: float | None) -> float | None:
    return min((value for value in (first, second) if value is not None), default=None)
