"""A child: dials its parent for ever, and answers the calls that come back."""

import asyncio
import logging
import random
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
from grpc.aio import AioRpcError

from nvr.errors import AccessDenied, LimitExceeded, NodeUnavailable, NvrError, UplinkReplaced
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.problems import error_from_call
from nvr.footage.types import NodeInfo
from nvr.security.identity import Caller
from nvr.security.tls import TlsFiles
from nvr.uplink.meter import LineMeter
from nvr.uplink.mux import MAX_FRAME_BYTES, PROTOCOL, AnswerMux, ProtocolError, cost
from nvr.uplink.priority import Priority
from nvr.uplink.proof import NONCE_BYTES, caller_by_certificate, check_welcome
from nvr.uplink.session import close_of
from nvr.uplink.shaper import CapSchedule, Shaper, wire_bytes
from nvr.v1.uplink_pb2 import (
    ConnectRequest,
    ConnectResponse,
    UplinkClose,
    UplinkHello,
    UplinkLine,
    UplinkMetadata,
    UplinkOpen,
    UplinkPing,
    UplinkWelcome,
)
from nvr.v1.uplink_pb2_grpc import UplinkServiceStub

__all__ = ["UplinkChild"]

logger = logging.getLogger("nvr.uplink")

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0
# Somebody has to change the parent's settings first, or switch the twin off.
_BACKOFF_REFUSED_S = 60.0
_MAX_CALLS = 256
_LEAST_FRAME_BYTES = 4 << 10
_FRAME_BYTES = 32 << 10
_FRAME_S = 0.01
_MOST_FRAME_BYTES = 2 << 20
# A message is read from the node's own server when so little of the last ones waits.
_AHEAD_BYTES = 128 << 10
_CAP_CHECK_S = 30.0
_LINE_S = 1.0
_KEY = re.compile(r"[a-z0-9_.-]{1,100}", re.ASCII)
_METHOD = re.compile(r"/[A-Za-z0-9_.]{1,100}/[A-Za-z0-9_]{1,100}", re.ASCII)


class UplinkChild:
    """``make_server``: makes the server that answers the parent, given who the caller of all its calls is.

    ``backoff_s``: the first wait before the parent is dialled again; doubled each time, at random
    between half and all of it.
    """

    def __init__(
        self,
        *,
        info: NodeInfo,
        parent: str,
        tls: TlsFiles | None,
        make_server: Callable[[Callable[[], Caller]], NodeServer],
        schedule: CapSchedule | None = None,
        zone: ZoneInfo | None = None,
        keepalive_s: float = 15.0,
        backoff_s: float = _BACKOFF_FIRST_S,
        now: Callable[[ZoneInfo], datetime] = datetime.now,
    ) -> None:
        self._info = info
        self._parent = parent
        self._tls = tls
        self._you = caller_by_certificate(None if tls is None else tls.certificate)
        self._server = make_server(lambda: self._caller)
        self._caller = Caller("anonymous")
        self._schedule = schedule or CapSchedule()
        self._zone = zone or ZoneInfo("UTC")
        self._keepalive_s = keepalive_s
        self._backoff_s = backoff_s
        self._now = now
        self._connection: _Connection | None = None
        self.shaper = Shaper(time.monotonic())
        self.up = False
        """Whether the parent has answered, and the connection stands."""
        self.connects = 0
        """How often it has."""
        self.detail = "it has not been dialled yet"
        """Why it is not up."""
        self.sent = dict.fromkeys(Priority, 0)
        """Bytes of answers that were sent, by class."""

    @property
    def parent(self) -> str:
        """The address that is dialled."""
        return self._parent

    @property
    def queued(self) -> dict[Priority, int]:
        """Bytes of answers that wait to be sent, by class."""
        return dict.fromkeys(Priority, 0) if self._connection is None else self._connection.queued

    @property
    def bits_per_s(self) -> float:
        """What the line carried lately; 0: not measured."""
        return 0.0 if self._connection is None else self._connection.bits_per_s

    async def run(self) -> None:
        """Serves the parent, for ever."""
        # Whoever can open the socket speaks for the parent.
        with tempfile.TemporaryDirectory(prefix="nvr-uplink-") as folder:
            address = f"unix:{Path(folder, 'node.sock')}"
            self._server.listen(address)
            await self._server.start()
            own = dial(address)
            try:
                await asyncio.gather(self._keep_cap(), self._keep_connected(own))
            finally:
                self.up = False
                await own.close()
                await self._server.stop(0)

    async def _keep_connected(self, own: grpc.aio.Channel) -> None:
        failures = 0
        while True:
            error = await self._connect_once(own)
            failures = 0 if self.up else failures + 1
            if self.up or failures == 1 or self.detail != error.message:
                logger.warning("no uplink to %s: %s", self._parent, error.message)
            self.up, self.detail = False, error.message
            refused = isinstance(error, AccessDenied | UplinkReplaced)
            wait_s = min(_BACKOFF_MOST_S, self._backoff_s * 2 ** min(failures, 10))
            if refused:
                wait_s = _BACKOFF_REFUSED_S
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    async def _connect_once(self, own: grpc.aio.Channel) -> NvrError:
        """One connection, until it ends; why it did."""
        # A channel of its own: its backoff is not ours, and a half-open connection is not used again.
        channel = dial(self._parent, self._tls, max_answer_bytes=_MOST_FRAME_BYTES)
        try:
            call = UplinkServiceStub(channel).Connect()
            try:
                await self._serve(call, own)
            except asyncio.InvalidStateError:
                # Something was written to a call that has ended: its status says why.
                return await _status(call, self._parent)
            finally:
                call.cancel()
        except NvrError as error:
            return error
        except AioRpcError as error:
            return error_from_call(error, target=self._parent)
        finally:
            await channel.close()
        return NodeUnavailable(f"{self._parent}: the parent ended the connection")

    async def _serve(self, call: Any, own: grpc.aio.Channel) -> None:
        hello = UplinkHello(
            protocol=PROTOCOL,
            node_id=self._info.id,
            name=self._info.name,
            version=self._info.version,
            max_calls=_MAX_CALLS,
            keepalive_ms=round(self._keepalive_s * 1000),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        welcome = await self._welcome(call, hello)
        parent_id = check_welcome(hello, welcome, self._you)
        self._caller = Caller("local") if self._tls is None else Caller("node", parent_id, self._parent)
        self._connection = connection = _Connection(
            call, own, welcome, self.shaper, self.sent, keepalive_s=self._keepalive_s, node=self._info.name
        )
        self.up, self.detail = True, ""
        self.connects += 1
        logger.info("the uplink to %s (node %s) is up", self._parent, welcome.name)
        try:
            await connection.run()
        finally:
            self._connection = None

    async def _welcome(self, call: Any, hello: UplinkHello) -> UplinkWelcome:
        try:
            async with asyncio.timeout(max(10.0, 2 * self._keepalive_s)):
                await call.write(ConnectRequest(hello=hello))
                first = await call.read()
        except TimeoutError as error:
            raise NodeUnavailable(f"{self._parent}: no welcome in time") from error
        if first is grpc.aio.EOF or first.WhichOneof("frame") != "welcome":
            raise ProtocolError(f"{self._parent}: the first frame is not a welcome")
        welcome: UplinkWelcome = first.welcome
        if welcome.protocol != PROTOCOL:
            raise ProtocolError(f"{self._parent}: it speaks version {welcome.protocol} of the protocol")
        return welcome

    async def _keep_cap(self) -> None:
        """The cap of the hour."""
        while True:
            self.apply_cap()
            await asyncio.sleep(_CAP_CHECK_S)

    def apply_cap(self) -> None:
        """Sets the cap that the schedule has for now."""
        at = self._now(self._zone).time()
        self.shaper.set_rate(self._schedule.at(at), time.monotonic())
        if self._connection is not None:
            self._connection.wake()


class _Connection:
    """One connection to the parent."""

    def __init__(
        self,
        call: Any,
        own: grpc.aio.Channel,
        welcome: UplinkWelcome,
        shaper: Shaper,
        sent: dict[Priority, int],
        *,
        keepalive_s: float,
        node: str,
    ) -> None:
        self._call = call
        self._own = own
        self._shaper = shaper
        self._sent = sent
        self._keepalive_s = keepalive_s
        self._node = node
        self._mux = AnswerMux(max_calls=_MAX_CALLS, window=welcome.window)
        self._meter = LineMeter(time.monotonic())
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._drained: dict[int, asyncio.Event] = {}
        self._woken = asyncio.Event()
        self._urgent: dict[str, ConnectRequest] = {}
        self._heard_s = time.monotonic()

    @property
    def queued(self) -> dict[Priority, int]:
        return self._mux.queued

    @property
    def bits_per_s(self) -> float:
        return self._meter.bytes_per_s * 8

    def wake(self) -> None:
        """Something may be sent that could not before."""
        self._woken.set()

    async def run(self) -> None:
        """Until it ends; raises why."""
        loops = [
            asyncio.create_task(each)
            for each in (self._read(), self._write(), self._ping(), self._tell_line())
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            tasks = [*loops, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- what comes ---------------------------------------------------------------

    async def _read(self) -> None:
        while (frame := await self._call.read()) is not grpc.aio.EOF:
            self._heard_s = time.monotonic()
            self._got(frame)

    def _got(self, frame: ConnectResponse) -> None:
        match frame.WhichOneof("frame"):
            case "open":
                self._open(frame.open)
            case "window":
                self._mux.window(frame.window)
            case "reset":
                if self._mux.reset(frame.reset):
                    self._stop(frame.reset.call)
            case "ack":
                try:
                    self._meter.arrived(frame.ack.bytes, time.monotonic())
                except ValueError as error:
                    raise ProtocolError(f"ack: {error}") from error
            case "welcome":
                raise ProtocolError("a second welcome")
            case _:
                pass
        self._woken.set()

    def _open(self, frame: UplinkOpen) -> None:
        self._mux.open(frame)
        if self._mux.overfull:
            full = LimitExceeded("the requests of all open calls together are too large: ask later")
            self._mux.finish(frame.call, close_of(full, node=self._node))
            return
        self._drained[frame.call] = asyncio.Event()
        task = asyncio.create_task(self._answer(frame))
        self._tasks[frame.call] = task
        task.add_done_callback(lambda _task: self._forget(frame.call))

    def _stop(self, call: int) -> None:
        task = self._tasks.get(call)
        if task is not None:
            task.cancel()

    def _forget(self, call: int) -> None:
        self._tasks.pop(call, None)
        self._drained.pop(call, None)

    async def _answer(self, frame: UplinkOpen) -> None:
        """Asks this node's own server, and passes on what it says."""
        try:
            close = await self._ask_own(frame)
        except Exception:
            logger.exception("call %s of the parent failed", frame.method[:200])
            close = UplinkClose(
                code=grpc.StatusCode.INTERNAL.value[0], details="the node's log has the cause"
            )
        close.call = frame.call
        self._mux.finish(frame.call, close)
        self._woken.set()

    async def _ask_own(self, frame: UplinkOpen) -> UplinkClose:
        if _METHOD.fullmatch(frame.method) is None:
            return UplinkClose(code=grpc.StatusCode.UNIMPLEMENTED.value[0], details="no such method")
        # To gRPC a method with one response is a stream of one.
        method: Any = self._own.unary_stream(frame.method)
        call = method(
            frame.request,
            timeout=frame.timeout_ms / 1000 if frame.timeout_ms else None,
            metadata=_metadata(frame),
        )
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                self._mux.put(frame.call, message)
                self._woken.set()
                await self._until_drained(frame.call)
        except AioRpcError as error:
            return _close(error)
        finally:
            call.cancel()
        return UplinkClose()

    async def _until_drained(self, call: int) -> None:
        drained = self._drained[call]
        while self._mux.waiting(call) > _AHEAD_BYTES:
            drained.clear()
            await drained.wait()

    # --- what goes ----------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            self._woken.clear()
            wait_s = await self._write_some()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    async def _write_some(self) -> float | None:
        """Sends what may go now; how long until more may, if it is known."""
        while True:
            while self._urgent:
                _, frame = self._urgent.popitem()
                await self._call.write(frame)
            if not self._mux.ready or self._meter.room <= 0:
                return None
            wait_s = self._shaper.wait_s(time.monotonic())
            if wait_s > 0:
                return wait_s
            # Few frames on a fast line, and on any line no longer ones than others can wait behind.
            fit = int(self._meter.bytes_per_s * _FRAME_S)
            most = self._shaper.frame_bytes(max(_FRAME_BYTES, min(MAX_FRAME_BYTES, fit)), _LEAST_FRAME_BYTES)
            frame, priority, call = self._mux.next_frame(most)
            now_s = time.monotonic()
            self._shaper.sent(wire_bytes(frame.ByteSize()), now_s)
            if frame.WhichOneof("frame") == "data":
                size = cost(frame.data.data)
                self._meter.sent(size, now_s)
                self._sent[priority] += size
                if call in self._drained:
                    self._drained[call].set()
            await self._call.write(frame)

    async def _ping(self) -> None:
        """Asks now and then whether the parent is there; a line on which nothing comes is dead."""
        number = 0
        while True:
            await asyncio.sleep(self._keepalive_s)
            silent_s = time.monotonic() - self._heard_s
            if silent_s >= 2 * self._keepalive_s:
                raise NodeUnavailable(f"nothing came from the parent for {silent_s:.3g} s")
            number += 1
            self._urgent["ping"] = ConnectRequest(ping=UplinkPing(number=number))
            self._woken.set()

    async def _tell_line(self) -> None:
        """Tells the parent how fast the line is, when that has changed."""
        told = UplinkLine()
        while True:
            line = UplinkLine(
                cap_bits_per_second=self._shaper.bits_per_s or 0, rate_bits_per_second=round(self.bits_per_s)
            )
            changed = abs(line.rate_bits_per_second - told.rate_bits_per_second)
            if (
                line.cap_bits_per_second != told.cap_bits_per_second
                or changed * 10 > told.rate_bits_per_second
            ):
                told = line
                self._urgent["line"] = ConnectRequest(line=line)
                self._woken.set()
            await asyncio.sleep(_LINE_S)


def _metadata(frame: UplinkOpen) -> list[tuple[str, str | bytes]]:
    """What the parent sent along, without what would be gRPC's own, or a caller's proof of who it is."""
    kept: list[tuple[str, str | bytes]] = []
    for each in frame.metadata:
        if _KEY.fullmatch(each.key) is None or each.key.startswith("grpc-") or each.key == "authorization":
            continue
        if each.key.endswith("-bin"):
            kept.append((each.key, each.value))
        elif each.value.isascii() and each.value.decode("ascii").isprintable():
            kept.append((each.key, each.value.decode("ascii")))
    return kept


def _close(error: AioRpcError) -> UplinkClose:
    metadata = [
        UplinkMetadata(key=key, value=value.encode() if isinstance(value, str) else value)
        for key, value in error.trailing_metadata() or ()
    ]
    return UplinkClose(code=error.code().value[0], details=error.details() or "", metadata=metadata)


async def _status(call: Any, target: str) -> NvrError:
    """Why a call has ended."""
    code = await call.code()
    trailing, details = await call.trailing_metadata(), await call.details()
    return error_from_call(AioRpcError(code, None, trailing, details), target=target)
