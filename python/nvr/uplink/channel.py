"""The services of a child behind an uplink, as an ordinary channel of gRPC: stubs need not know."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
from google.protobuf.message import DecodeError as ProtobufDecodeError
from grpc.aio import AioRpcError, Metadata

from nvr.errors import DeadlineExceeded, LimitExceeded, NodeUnavailable
from nvr.uplink.priority import priority_of
from nvr.uplink.session import Answer, Session, close_of
from nvr.v1.uplink_pb2 import UplinkClose, UplinkMetadata, UplinkOpen

__all__ = ["Line", "UplinkChannel"]

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Line(Protocol):
    """By which session a child is reached now."""

    @property
    def name(self) -> str:
        """What the child is called, for errors."""

    @property
    def session(self) -> Session | None:
        """The connection; None while there is none."""

    @property
    def away(self) -> NodeUnavailable:
        """Why there is none."""


class UplinkChannel(grpc.aio.Channel):
    """Calls with one request, answered by one message or a stream; of others :exc:`NotImplementedError`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._closed = False

    def call(
        self,
        method: str,
        request: Any,
        data: bytes,
        timeout_s: float | None,
        metadata: Iterable[tuple[str, str | bytes]] | None,
    ) -> "Answer | UplinkClose":
        """Begins a call, or says why it fails at once."""
        if self._closed:
            raise grpc.aio.UsageError("Channel is closed.")
        line = self._line
        session = line.session
        if session is None:
            return close_of(line.away, node=line.name)
        priority = priority_of(method, request)
        frame = UplinkOpen(
            method=method,
            request=data,
            timeout_ms=0 if timeout_s is None else max(1, round(timeout_s * 1000)),
            metadata=[
                UplinkMetadata(key=key, value=value.encode() if isinstance(value, str) else value)
                for key, value in metadata or ()
            ],
            priority=priority.to_pb(),
        )
        answer = session.open(frame, priority)
        if answer is None:
            busy = LimitExceeded(
                f"node {line.name} answers {session.calls} calls of this node already, which is the most",
                facts={"limit": "uplink_calls", "value": str(session.calls)},
            )
            return close_of(busy, node=line.name)
        return answer

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """See :class:`grpc.aio.Channel`."""
        return _Method(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """See :class:`grpc.aio.Channel`."""
        return _Method(self, method, request_serializer, response_deserializer)

    def stream_unary(self, *_args: Any, **_options: Any) -> Any:
        """No service of a node has such a method."""
        return _Unsupported()

    def stream_stream(self, *_args: Any, **_options: Any) -> Any:
        """No service that is asked from above has such a method."""
        return _Unsupported()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Ready, or waiting for the child to dial."""
        if self._closed:
            return grpc.ChannelConnectivity.SHUTDOWN
        ready = self._line.session is not None
        return grpc.ChannelConnectivity.READY if ready else grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Nobody here waits by it."""
        raise NotImplementedError

    async def channel_ready(self) -> None:
        """Nobody here waits by it."""
        raise NotImplementedError

    async def close(self, grace: float | None = None) -> None:
        """No more calls; the session is its owner's to end."""
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Unsupported:
    def __call__(self, *_args: Any, **_options: Any) -> Any:
        raise NotImplementedError("calls with a stream of requests do not go over an uplink")


class _Method:
    """One method of a stub."""

    def __init__(
        self,
        channel: UplinkChannel,
        method: str,
        serialize: Callable[[Any], bytes] | None,
        parse: Callable[[bytes], Any] | None,
    ) -> None:
        self._channel = channel
        self._method = method
        self._serialize = serialize
        self._parse = parse

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] | None = None,
        **_options: Any,
    ) -> "_Call":
        data: bytes = request if self._serialize is None else self._serialize(request)
        return _Call(self._channel.call(self._method, request, data, timeout, metadata), timeout, self._parse)


class _Call(grpc.aio.UnaryUnaryCall[Any, Any], grpc.aio.UnaryStreamCall[Any, Any]):
    """A call under way."""

    def __init__(
        self, begun: Answer | UplinkClose, timeout_s: float | None, parse: Callable[[bytes], Any] | None
    ) -> None:
        self._answer = begun if isinstance(begun, Answer) else None
        self._end = begun if isinstance(begun, UplinkClose) else None
        self._parse = parse
        self._cancelled = False
        self._timer: asyncio.TimerHandle | None = None
        self._ends_s: float | None = None
        if timeout_s is not None and self._answer is not None:
            loop = asyncio.get_running_loop()
            self._ends_s = loop.time() + timeout_s
            self._timer = loop.call_later(max(0.0, timeout_s), self._expire, timeout_s)

    def _expire(self, timeout_s: float) -> None:
        late = DeadlineExceeded(f"no answer within {timeout_s:.3g} s")
        if self._answer is not None:
            self._answer.cancel(close_of(late, node=""))

    async def read(self) -> Any:
        """The next message, or EOF. Raises :exc:`AioRpcError` when the call failed."""
        data = None if self._answer is None else await self._read(self._answer)
        if data is not None:
            return data if self._parse is None else self._parsed(data, self._parse)
        end = self._ended()
        if end.code:
            raise _error(end)
        return grpc.aio.EOF

    def _parsed(self, data: bytes, parse: Callable[[bytes], Any]) -> Any:
        try:
            return parse(data)
        except ProtobufDecodeError as error:
            self.cancel()
            code = grpc.StatusCode.INTERNAL.value[0]
            raise _error(UplinkClose(code=code, details="the answer is not the method's message")) from error

    async def _read(self, answer: Answer) -> bytes | None:
        try:
            data = await answer.read()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if data is None:
            self._stop_timer()
        return data

    def _ended(self) -> UplinkClose:
        end = self._end if self._answer is None else self._answer.end
        return end or UplinkClose(code=grpc.StatusCode.UNKNOWN.value[0], details="the call has not ended")

    async def _until_end(self) -> UplinkClose:
        if self._answer is not None:
            while await self._read(self._answer) is not None:
                pass
        return self._ended()

    async def _one(self) -> Any:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise _error(UplinkClose(code=grpc.StatusCode.INTERNAL.value[0], details="no message came"))
        end = await self._until_end()
        if end.code:
            raise _error(end)
        return message

    def __await__(self) -> Generator[Any, None, Any]:
        return self._one().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    def cancel(self) -> bool:
        """Wants no more of the answer."""
        self._stop_timer()
        if self._answer is None:
            return False
        self._cancelled = self._answer.cancel(
            UplinkClose(code=grpc.StatusCode.CANCELLED.value[0], details="cancelled here")
        )
        return self._cancelled

    def cancelled(self) -> bool:
        """Whether it was cancelled here."""
        return self._cancelled

    def done(self) -> bool:
        """Whether it has ended."""
        return self._answer is None or self._answer.end is not None

    def time_remaining(self) -> float | None:
        """Seconds until its deadline."""
        if self._ends_s is None:
            return None
        return max(0.0, self._ends_s - asyncio.get_running_loop().time())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Nobody here is called back."""
        raise NotImplementedError

    async def initial_metadata(self) -> Metadata:
        """An uplink carries none."""
        return Metadata()

    async def trailing_metadata(self) -> Metadata:
        """What came with the end."""
        return _metadata(await self._until_end())

    async def code(self) -> grpc.StatusCode:
        """How it ended."""
        return _CODES.get((await self._until_end()).code, grpc.StatusCode.UNKNOWN)

    async def details(self) -> str:
        """Why it ended so."""
        return (await self._until_end()).details

    async def wait_for_connection(self) -> None:
        """There is one, or the call has failed."""

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _metadata(end: UplinkClose) -> Metadata:
    pairs: list[tuple[str, Any]] = []
    for each in end.metadata:
        binary = each.key.endswith("-bin")
        pairs.append((each.key, each.value if binary else each.value.decode("ascii", "replace")))
    return Metadata(*pairs)


def _error(end: UplinkClose) -> AioRpcError:
    code = _CODES.get(end.code, grpc.StatusCode.UNKNOWN)
    return AioRpcError(code, Metadata(), _metadata(end), details=end.details)
