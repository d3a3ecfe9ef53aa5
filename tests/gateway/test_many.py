"""One question to many nodes by the client in Rust: over real servers, good ones and hostile ones."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from nvr._core import FanoutClient, FanoutTls
from nvr.errors import Closed, InvalidArgument
from nvr.footage.node_server import NodeServer
from nvr.footage.types import ReadContext
from nvr.gateway.many import Ended, ManyNodes
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_to_folder
from nvr.v1 import common_pb2, node_pb2
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import MemoryAudit
from tests.gateway.test_faults import Leaf, ask, over

FIND = "/nvr.v1.FootageService/Find"
NODE = "/nvr.v1.NodeService/GetNode"
OK, INVALID, DEADLINE, EXHAUSTED, INTERNAL, UNAVAILABLE = 0, 3, 4, 8, 13, 14
MIB = 1 << 20


@dataclass(eq=False)
class At:
    """A node by its address."""

    address: str
    tls: TlsFiles | None = None


class Asked:
    """What came of a question."""

    def __init__(self, count: int) -> None:
        self.messages: list[list[bytes]] = [[] for _ in range(count)]
        self.ended: list[Ended | None] = [None] * count
        self.calls: Sequence[int] = ()
        self.done = asyncio.Event()
        self.came = asyncio.Event()

    def on_answer(self, index: int, messages: Sequence[bytes], ended: Ended | None) -> None:
        assert self.ended[index] is None, "nothing comes after the end"
        self.messages[index] += messages
        self.ended[index] = ended
        self.came.set()
        if None not in self.ended:
            self.done.set()

    @property
    def status(self) -> list[int]:
        return [-1 if each is None else each.status for each in self.ended]

    @property
    def detail(self) -> str:
        (ended,) = self.ended
        assert ended is not None
        return ended.detail


@asynccontextmanager
async def client(at_once: int = 256) -> AsyncIterator[ManyNodes]:
    many = ManyNodes(at_once=at_once)
    try:
        yield many
    finally:
        many.close()


def begin(
    many: ManyNodes,
    nodes: Sequence[At],
    *,
    path: str = NODE,
    request: bytes = b"",
    timeout_s: float = 60,
    metadata: Sequence[tuple[str, str]] = (),
    most_messages: int = 100,
) -> Asked:
    asked = Asked(len(nodes))
    asked.calls = many.ask(
        path,
        [(many.peer(node), request) for node in nodes],
        asked.on_answer,
        timeout_s=timeout_s,
        metadata=metadata,
        most_messages=most_messages,
    )
    return asked


async def result(many: ManyNodes, nodes: Sequence[At], **more: Any) -> Asked:
    asked = begin(many, nodes, **more)
    await asyncio.wait_for(asked.done.wait(), 60)
    return asked


@asynccontextmanager
async def raw_server(
    answer: Callable[[Any], AsyncIterator[bytes]], address: str = "127.0.0.1:0"
) -> AsyncIterator[At]:
    """A gRPC server that sends whatever it wants."""

    async def serve(_request: bytes, context: Any) -> AsyncIterator[bytes]:
        async for message in answer(context):
            yield message

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler: Any = grpc.unary_stream_rpc_method_handler(serve)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("nvr.v1.NodeService", {"GetNode": handler}),)
    )
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield At(address if address.startswith("unix:") else f"127.0.0.1:{port}")
    finally:
        await server.stop(0)


@asynccontextmanager
async def raw_socket(
    on_connect: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[At]:
    """A listener that knows no gRPC."""
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await on_connect(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield At(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def dead_port() -> At:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return At(f"127.0.0.1:{bound.getsockname()[1]}")


# --- what is asked arrives, and what is answered comes back -------------------------


@pytest.mark.parametrize("unix", [False, True])
async def test_messages_metadata_and_deadline_arrive(unix: bool, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def answer(context: Any) -> AsyncIterator[bytes]:
        seen["left_s"] = context.time_remaining()
        seen["metadata"] = dict(context.invocation_metadata())
        for size in (0, 1, 100_000):
            yield b"x" * size

    address = f"unix:{tmp_path / 'node.sock'}" if unix else "127.0.0.1:0"
    trace = ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    async with raw_server(answer, address) as node, client() as many:
        asked = await result(many, [node], metadata=[trace], timeout_s=50)
    assert asked.status == [OK]
    assert [len(each) for each in asked.messages[0]] == [0, 1, 100_000]
    assert seen["metadata"][trace[0]] == trace[1]
    assert 0 < seen["left_s"] <= 50


async def test_a_failure_brings_its_problem() -> None:
    server = NodeServer(MemoryFootage(memory_world()), node="n", audit=MemoryAudit())
    node = At(f"127.0.0.1:{server.listen('127.0.0.1:0')}")
    await server.start()
    async with client() as many:
        asked = await result(many, [node], path=FIND, request=b"\xff")
    (ended,) = asked.ended
    assert ended is not None
    assert ended.status == INVALID
    assert common_pb2.Problem.FromString(ended.problem).message == ended.detail
    assert "is not a nvr.v1.FindRequest" in ended.detail
    await server.stop(0)


async def test_hundred_nodes_answer_over_a_connection_each_that_stays() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b"me"

    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(raw_server(answer)) for _ in range(100)]
        many = await stack.enter_async_context(client())
        for _ in range(3):
            asked = await result(many, nodes)
            assert asked.status == [OK] * 100
            assert asked.messages == [[b"me"]] * 100
        assert [many.connections_made(node) for node in nodes] == [1] * 100


async def test_no_more_than_at_once_are_asked_and_late_turns_are_told() -> None:
    started, most, now = 0, 0, 0

    async def answer(context: Any) -> AsyncIterator[bytes]:
        nonlocal started, most, now
        started, now = started + 1, now + 1
        most = max(most, now)
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            now -= 1

    async with raw_server(answer) as node, client(at_once=3) as many:
        asked = await result(many, [At(node.address) for _ in range(8)], timeout_s=0.5)
    assert asked.status == [DEADLINE] * 8
    assert most == 3
    assert [ended.asked for ended in asked.ended if ended].count(True) == 3


# --- who cannot be reached ------------------------------------------------------------


async def test_a_dead_port_fails_at_once_and_costs_nobody_else() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b"me"

    async with raw_server(answer) as node, client() as many:
        asked = await result(many, [dead_port(), node, At("unix:/nowhere/at.all")])
    assert asked.status == [UNAVAILABLE, OK, UNAVAILABLE]


async def test_a_node_that_accepts_and_says_nothing_is_late() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_socket(nothing) as node, client() as many:
        asked = await result(many, [node], timeout_s=0.3)
    assert asked.status == [DEADLINE]


async def test_a_node_that_is_started_again_is_connected_to_again() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b"me"

    async with client() as many:
        async with raw_server(answer) as first:
            node = At(first.address)
            assert (await result(many, [node])).status == [OK]
        assert (await result(many, [node])).status == [UNAVAILABLE]
        async with raw_server(answer, node.address):
            assert (await result(many, [node])).status == [OK]
        assert many.connections_made(node) == 2


# --- TLS --------------------------------------------------------------------------------


class TlsNode:
    """A node that knows one caller, and files of several."""

    def __init__(self, folder: Path, hosts: Sequence[str] = ("localhost",)) -> None:
        self.files: dict[str, TlsFiles] = {}
        for name in ("server", "client", "stranger"):
            (folder / name).mkdir()
            key = NodeKey.load_or_create(folder / name)
            names = hosts if name == "server" else ["localhost"]
            self.files[name] = issue_to_folder(folder / name, key, name=name, hosts=names)
        server = self.files["server"]
        tls = TlsFiles(server.certificate, server.key, self.files["client"].certificate)
        self.server = NodeServer(MemoryFootage(memory_world()), node="n", audit=MemoryAudit(), tls=tls)
        self.port = self.server.listen("127.0.0.1:0")

    def at(self, own: str | None, trusted: str, host: str = "localhost") -> At:
        mine = self.files[own] if own else TlsFiles()
        return At(
            f"{host}:{self.port}", TlsFiles(mine.certificate, mine.key, self.files[trusted].certificate)
        )


async def test_mutual_tls_with_pinned_certificates(tmp_path: Path) -> None:
    node = TlsNode(tmp_path, hosts=["localhost", "127.0.0.1"])
    await node.server.start()
    try:
        async with client() as many:
            for host in ("localhost", "127.0.0.1"):
                asked = await result(many, [node.at("client", "server", host)])
                assert asked.status == [OK], asked.detail
                (message,) = asked.messages[0]
                assert node_pb2.GetNodeResponse.FromString(message).ByteSize()
    finally:
        await node.server.stop(0)


@pytest.mark.parametrize(
    ("own", "trusted", "host"),
    [
        ("client", "stranger", "localhost"),  # the node is not who is trusted
        ("stranger", "server", "localhost"),  # the node does not know us
        (None, "server", "localhost"),  # nor who shows nothing
        ("client", "server", "127.0.0.1"),  # its certificate is for another host
    ],
)
async def test_a_wrong_certificate_is_refused(
    own: str | None, trusted: str, host: str, tmp_path: Path
) -> None:
    node = TlsNode(tmp_path)
    await node.server.start()
    try:
        async with client() as many:
            assert (await result(many, [node.at(own, trusted, host)])).status == [UNAVAILABLE]
    finally:
        await node.server.stop(0)


async def test_plaintext_to_a_node_with_tls_and_the_other_way_round(tmp_path: Path) -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b""

    node = TlsNode(tmp_path)
    await node.server.start()
    try:
        async with raw_server(answer) as plain, client() as many:
            with_tls = node.at("client", "server")
            asked = await result(many, [At(with_tls.address), At(plain.address, with_tls.tls)])
        assert asked.status == [UNAVAILABLE] * 2
    finally:
        await node.server.stop(0)


def test_certificates_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InvalidArgument, match="authorities"):
        FanoutTls(authorities=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidArgument, match="authorities"):
        FanoutTls(authorities=b"")


# --- hostile nodes ------------------------------------------------------------------------


async def test_an_answer_without_end_is_cut_off() -> None:
    stopped = asyncio.Event()

    async def answer(context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            stopped.set()

    async with raw_server(answer) as node, client() as many:
        asked = await result(many, [node], most_messages=1000)
        assert asked.status == [EXHAUSTED]
        assert len(asked.messages[0]) < 1000 + 64 * 1024
        await asyncio.wait_for(stopped.wait(), 60)


async def test_a_message_that_is_too_long_is_not_received() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b"x" * (17 * MIB)

    async with raw_server(answer) as node, client() as many:
        asked = await result(many, [node])
    assert (asked.status, asked.messages) == ([EXHAUSTED], [[]])


async def test_what_is_not_http2_is_refused() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(os.urandom(65536))
            await writer.drain()

    async with raw_socket(garbage) as node, client() as many:
        asked = await result(many, [node])
    assert asked.status in ([UNAVAILABLE], [INTERNAL])


async def test_who_does_not_take_answers_makes_their_senders_wait() -> None:
    sent = 0

    async def answer(context: Any) -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(3840):
            yield b"x" * 16384
            sent += 16384

    async with raw_server(answer) as node:
        direct = FanoutClient(waiting_bytes=MIB)
        try:
            peer = direct.add_peer(node.address)
            direct.ask(NODE, [(peer, b"")], timeout_us=60_000_000, most_messages=5000)
            quiet, before = 0, -1
            while quiet < 10:
                await asyncio.sleep(0.05)
                quiet, before = (quiet + 1, sent) if sent == before else (0, sent)
            # What waits, a window of HTTP/2, and the buffers of both sockets.
            assert sent < 20 * MIB
            received, ended = 0, None
            while ended is None:
                await asyncio.sleep(0.01)
                for _, messages, end in direct.take():
                    received += sum(map(len, messages))
                    ended = end
            assert (received, ended[0]) == (60 * MIB, OK)
        finally:
            direct.close()


# --- ends -----------------------------------------------------------------------------------


async def test_cancelling_is_told_to_the_node_and_nothing_more_comes() -> None:
    cancelled = asyncio.Event()

    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with raw_server(answer) as node, client() as many:
        asked = begin(many, [node])
        await asyncio.wait_for(asked.came.wait(), 60)
        many.cancel(asked.calls)
        await asyncio.wait_for(cancelled.wait(), 60)
        many.cancel(asked.calls)
        assert (asked.messages, asked.ended) == ([[b"first"]], [None])


async def test_closing_ends_what_is_asked() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with raw_server(answer) as node:
        many = ManyNodes(at_once=1)
        asked = begin(many, [node, node])
        many.close()
        assert asked.status == [UNAVAILABLE] * 2
        with pytest.raises(Closed):
            begin(many, [node])
        many.close()


async def test_a_node_that_is_no_longer_there_is_forgotten() -> None:
    async def answer(context: Any) -> AsyncIterator[bytes]:
        yield b""

    async with raw_server(answer) as server, client() as many:
        node = At(server.address)
        peer = many.peer(node)
        assert (await result(many, [node])).status == [OK]
        del node
        with pytest.raises(InvalidArgument, match="there is no peer"):
            many.ask(NODE, [(peer, b"")], lambda *_: None, timeout_s=1, metadata=(), most_messages=1)


async def test_the_connection_to_a_forgotten_node_is_closed() -> None:
    closed = asyncio.Event()

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        closed.set()

    async with raw_socket(until_closed) as node, client() as many:
        known = At(node.address)
        assert (await result(many, [known], timeout_s=0.2)).status == [DEADLINE]
        assert not closed.is_set()
        del known
        await asyncio.wait_for(closed.wait(), 60)


def test_arguments_are_checked() -> None:
    direct = FanoutClient()
    try:
        with pytest.raises(InvalidArgument, match="target"):
            direct.add_peer("nowhere")
        with pytest.raises(InvalidArgument, match="path"):
            direct.ask("no path", [], timeout_us=1, most_messages=1)
        with pytest.raises(InvalidArgument, match="metadata"):
            direct.ask(NODE, [], timeout_us=1, most_messages=1, metadata=[("Upper", "x")])
        direct.cancel([1, 2, 3])
    finally:
        direct.close()


# --- a gateway over such nodes -----------------------------------------------------------------


class Chatty(Leaf):
    """It warns without end."""

    async def find(self, context: ReadContext, request: Any) -> Any:
        from nvr.footage.types import Notice

        number = 0
        while True:
            number += 1
            yield Notice("damaged", f"warning {number}", "leaf-1")


async def test_a_node_that_warns_without_end_is_found_out() -> None:
    async with contextlib.AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), Chatty(1)])
        found, notices, end = await ask(made)
        assert not end.complete
        assert len(notices) <= 1001
        assert notices[-1].code == "node_lied"
        assert sum(bool(each.coverage) for each in found.values()) == 2


class Halting(Leaf):
    """It gives its first camera, and then nothing."""

    async def find(self, context: ReadContext, request: Any) -> Any:
        async for step in super().find(context, request):
            yield step
            await asyncio.Event().wait()


async def test_what_a_node_gave_before_it_stalled_is_kept() -> None:
    halting = Halting(1)
    async with contextlib.AsyncExitStack() as stack:
        made, _ = await over(stack, [Leaf(0), halting], timeout_s=0.5)
        found, notices, end = await ask(made)
        assert not end.complete
        assert [(notice.code, notice.node) for notice in notices] == [("deadline", "leaf-1")]
        given = [camera.id for camera in halting.world.cameras if found[camera.id].coverage]
        assert len(given) == 1


async def test_a_question_that_is_left_is_cancelled_on_the_nodes() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    class Watched(Leaf):
        async def find(self, context: ReadContext, request: Any) -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
                yield None
            finally:
                left.set()

    async with contextlib.AsyncExitStack() as stack:
        watched = Watched(1)
        made, _ = await over(stack, [watched])
        asking = asyncio.create_task(ask(made))
        await asyncio.wait_for(begun.wait(), 60)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(left.wait(), 60)
