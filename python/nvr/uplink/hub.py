"""A parent: lets in the children that its settings name, and has a channel to each."""

import asyncio
import hmac
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from nvr.errors import (
    AccessDenied,
    DeadlineExceeded,
    NodeUnavailable,
    NvrError,
    Unauthenticated,
    UplinkReplaced,
)
from nvr.footage.problems import PROBLEM_KEY, problem_of, status_of
from nvr.footage.time import format_instant
from nvr.footage.types import NodeInfo
from nvr.security.identity import Caller, current_caller
from nvr.security.node_key import NodeKey
from nvr.uplink.channel import UplinkChannel
from nvr.uplink.mux import PROTOCOL, ProtocolError
from nvr.uplink.priority import Priority
from nvr.uplink.proof import NONCE_BYTES, sign_welcome
from nvr.uplink.session import WINDOW_BYTES, Session
from nvr.v1.uplink_pb2 import (
    DESCRIPTOR,
    ConnectRequest,
    ConnectResponse,
    UplinkHello,
    UplinkLine,
    UplinkWelcome,
)

__all__ = ["UPLINK_SERVICE", "Uplink", "UplinkHub"]

logger = logging.getLogger("nvr.uplink")

UPLINK_SERVICE: ServiceDescriptor = DESCRIPTOR.services_by_name["UplinkService"]
_HELLO_S = 10.0
_CLOSE_S = 2.0


class Uplink:
    """A child that dials in, whether it is there or not. ``node``: its id, or the name of its certificate."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._session: Session | None = None
        self._line = UplinkLine()
        self._since_us = time.time_ns() // 1000
        self._news = asyncio.Event()
        self.channel = UplinkChannel(self)
        self.connects = 0
        """How often it has come."""
        self.received = dict.fromkeys(Priority, 0)
        """Bytes of answers over all its connections, by class."""

    @property
    def name(self) -> str:
        """Its name, once it has come."""
        return self._node if self._session is None else self._session.hello.name or self._node

    @property
    def session(self) -> Session | None:
        """The connection; None while there is none."""
        return self._session

    @property
    def line(self) -> UplinkLine:
        """How fast its line is, as it told last."""
        return self._line if self._session is None else self._session.line

    @property
    def away(self) -> NodeUnavailable:
        """Why there is none."""
        what = "has not come back since" if self.connects else "has not come, since the start of this node at"
        return NodeUnavailable(f"it dials this node by uplink, and {what} {format_instant(self._since_us)}")

    async def until_connected(self, most_s: float | None = None, *, after: int = 0) -> None:
        """Returns when there is a connection, at the latest after ``most_s``.

        ``after``: of how many (:attr:`connects`) the caller knows already.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while self._session is None or self.connects <= after:
                    await self._news.wait()

    def take(self, session: Session) -> None:
        """There is one; an older one ends."""
        older, self._session = self._session, session
        self.connects += 1
        if older is not None:
            older.end(UplinkReplaced(f"node {self.name} has connected anew"))
        self._news.set()
        self._news = asyncio.Event()

    def drop(self, session: Session) -> None:
        """That one has ended."""
        if self._session is session:
            self._line = session.line
            self._session = None
            self._since_us = time.time_ns() // 1000


class UplinkHub:
    """Serves ``nvr.v1.UplinkService``."""

    def __init__(self, key: NodeKey, info: NodeInfo) -> None:
        self._key = key
        self._info = info
        self._uplinks: dict[str, Uplink] = {}
        self._closed: NvrError | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    def expect(self, node: str) -> Uplink:
        """A child that may come. ``node``: its id, or the name of its certificate."""
        return self._uplinks.setdefault(node, Uplink(node))

    def __iter__(self) -> Iterator[Uplink]:
        return iter(self._uplinks.values())

    def handlers(self) -> grpc.GenericRpcHandler:
        """For a gRPC server."""
        method = grpc.stream_stream_rpc_method_handler(
            self._connect, ConnectRequest.FromString, ConnectResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(UPLINK_SERVICE.full_name, {"Connect": method})

    async def close(self) -> None:
        """Ends all connections; the children come back to whoever serves next."""
        self._closed = NodeUnavailable("the node stops", node=self._info.name)
        for uplink in self:
            if uplink.session is not None:
                uplink.session.end(self._closed)
        if self._serving:
            await asyncio.wait(self._serving, timeout=_CLOSE_S)

    async def _connect(self, _requests: Any, context: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            await self._serve(context)
        except NvrError as error:
            problem = problem_of(error, node=self._info.name)
            metadata = ((PROBLEM_KEY, problem.SerializeToString()),)
            await context.abort(status_of(error), problem.message[:300], metadata)

    async def _serve(self, context: Any) -> None:
        if self._closed is not None:
            raise self._closed
        caller = current_caller()
        # Whoever may not come at all gets no time to say who it is.
        if caller.kind != "local":
            self._admit(caller.name if caller.kind in ("node", "certificate") else "", caller)
        hello = await self._hello(context)
        uplink = self._admit_hello(caller, hello)
        welcome = UplinkWelcome(
            protocol=min(hello.protocol, PROTOCOL),
            name=self._info.name,
            version=self._info.version,
            you=str(Caller(caller.kind, caller.name)),
            window=WINDOW_BYTES,
        )
        sign_welcome(self._key, hello, welcome)
        await context.write(ConnectResponse(welcome=welcome))
        session = Session(hello, node=hello.name, on_end=uplink.drop, received=uplink.received)
        uplink.take(session)
        logger.info("node %s has come by uplink from %s", hello.name, caller.peer)
        try:
            await session.run(context.read, context.write)
            logger.info("node %s has ended its uplink", hello.name)
        except NvrError as error:
            logger.warning("the uplink of node %s ended: %s", hello.name, error.message)
            raise

    async def _hello(self, context: Any) -> UplinkHello:
        try:
            async with asyncio.timeout(_HELLO_S):
                first = await context.read()
        except TimeoutError as error:
            raise DeadlineExceeded(f"no hello within {_HELLO_S:.0f} s") from error
        if first is grpc.aio.EOF or first.WhichOneof("frame") != "hello":
            raise ProtocolError("the first frame is not a hello", field="hello")
        hello: UplinkHello = first.hello
        if hello.protocol < 1:
            raise ProtocolError("hello: no protocol version", field="hello.protocol")
        if len(hello.nonce) != NONCE_BYTES:
            raise ProtocolError(f"hello: the nonce is not {NONCE_BYTES} bytes", field="hello.nonce")
        if not 0 < len(hello.name) <= 200:
            raise ProtocolError("hello: a name has 1 to 200 characters", field="hello.name")
        return hello

    def _admit_hello(self, caller: Caller, hello: UplinkHello) -> Uplink:
        if caller.kind == "node" and not hmac.compare_digest(caller.name, hello.node_id):
            raise AccessDenied(f"hello: node {hello.node_id[:64]}, and the certificate is of {caller}")
        if caller.kind == "local":
            # On one machine without TLS whoever has an account there is believed.
            known = next((name for name in (hello.node_id, hello.name) if name in self._uplinks), "")
            return self._admit(known or hello.name, caller)
        return self._admit(caller.name, caller)

    def _admit(self, name: str, caller: Caller) -> Uplink:
        if caller.kind == "anonymous":
            raise Unauthenticated("uplink: show a client certificate that this node trusts")
        uplink = self._uplinks.get(name)
        if uplink is None:
            raise AccessDenied(
                f"uplink: the settings of node {self._info.name} name no child {name[:200] or caller}; "
                f'there it takes [[child]] with uplink = true and node = "{name[:200]}"'
            )
        return uplink
