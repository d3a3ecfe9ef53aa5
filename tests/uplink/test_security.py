"""Who may dial in, who the parent is, and ends of a connection that mean harm."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from nvr.errors import (
    AccessDenied,
    InternalError,
    InvalidArgument,
    LimitExceeded,
    NodeUnavailable,
    NvrError,
    Unauthenticated,
)
from nvr.footage.channel import SERVER_OPTIONS, dial
from nvr.footage.problems import error_from_call
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import NodeInfo
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles
from nvr.uplink.proof import caller_by_certificate, check_welcome, sign_welcome
from nvr.uplink.session import WINDOW_BYTES
from nvr.v1.uplink_pb2 import (
    ConnectRequest,
    ConnectResponse,
    UplinkAck,
    UplinkClose,
    UplinkData,
    UplinkHello,
    UplinkOpen,
    UplinkPing,
    UplinkReset,
    UplinkWelcome,
    UplinkWindow,
)
from nvr.v1.uplink_pb2_grpc import UplinkServiceStub
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import until
from tests.uplink.lines import Child, Parent, certificate, child, node_key, parent, tls_between

HOSTS = ["127.0.0.1"]


def info_of(key: NodeKey, name: str = "station-1") -> NodeInfo:
    return NodeInfo(key.id, name, "0.2.0")


# --- certificates -----------------------------------------------------------------


async def until_refused(below: Child) -> str:
    """Why it is not let in."""
    await until(lambda: below.uplink.detail != "it has not been dialled yet")
    assert not below.uplink.up
    return below.uplink.detail


async def test_a_node_that_the_settings_name_comes_in_and_is_asked_by_its_parent(tmp_path: Path) -> None:
    ward = certificate(tmp_path / "ward", name="ward", hosts=HOSTS)
    house = certificate(tmp_path / "house", name="house")
    async with parent(tmp_path / "ward", tls=tls_between(tmp_path, ward, house)) as above:
        uplink = above.hub.expect(house.key.id)
        async with child(
            above.address, tls=tls_between(tmp_path, house, ward), info=info_of(house.key)
        ) as below:
            await below.until(up=True)
            assert (await RemoteFootage(uplink.channel).node()).name == "station-1"
            (caller,) = {entry.caller for event, entry, _ in below.audit.lines if event == "closed"}
            assert caller is not None
            assert (caller.kind, caller.name) == ("node", ward.key.id)


async def test_a_node_that_no_settings_name_is_told_what_to_write(tmp_path: Path) -> None:
    ward = certificate(tmp_path / "ward", name="ward", hosts=HOSTS)
    house, other = (certificate(tmp_path / each, name=each) for each in ("house", "other"))
    async with parent(tmp_path / "ward", tls=tls_between(tmp_path, ward, house, other)) as above:
        above.hub.expect(house.key.id)
        async with child(
            above.address, tls=tls_between(tmp_path, other, ward), info=info_of(other.key)
        ) as below:
            detail = await until_refused(below)
            assert f'node = "{other.key.id}"' in detail
        # With the right name, and the certificate of another.
        async with child(
            above.address, tls=tls_between(tmp_path, other, ward), info=info_of(house.key)
        ) as below:
            assert other.key.id in await until_refused(below)
        async with child(
            above.address, tls=tls_between(tmp_path, house, ward), info=info_of(other.key)
        ) as below:
            assert "the certificate is of" in await until_refused(below)


async def test_a_certificate_of_nobody_that_is_trusted_gets_no_connection(tmp_path: Path) -> None:
    ward = certificate(tmp_path / "ward", name="ward", hosts=HOSTS)
    house, stranger = (certificate(tmp_path / each, name=each) for each in ("house", "stranger"))
    async with parent(tmp_path / "ward", tls=tls_between(tmp_path, ward, house)) as above:
        uplink = above.hub.expect(stranger.key.id)
        async with child(
            above.address, tls=tls_between(tmp_path, stranger, ward), info=info_of(stranger.key)
        ) as below:
            await until_refused(below)
            assert uplink.connects == 0
        # Without any certificate, and in plain text.
        async with dial(above.address, TlsFiles(authorities=ward.pem)) as channel:
            with pytest.raises(NodeUnavailable):
                await talk(channel, [hello_of(house.key)])
        async with dial(above.address) as channel:
            with pytest.raises(NodeUnavailable):
                await talk(channel, [hello_of(house.key)])


async def test_a_parent_with_another_certificate_is_not_talked_to(tmp_path: Path) -> None:
    ward = certificate(tmp_path / "ward", name="ward", hosts=HOSTS)
    fake = certificate(tmp_path / "fake", name="ward", hosts=HOSTS)
    house = certificate(tmp_path / "house", name="house")
    async with parent(tmp_path / "fake", tls=tls_between(tmp_path, fake, house)) as above:
        uplink = above.hub.expect(house.key.id)
        async with child(
            above.address, tls=tls_between(tmp_path, house, ward), info=info_of(house.key)
        ) as below:
            await until_refused(below)
            assert uplink.connects == 0


def test_a_welcome_is_proof_for_one_child_and_one_nonce(tmp_path: Path) -> None:
    ward, other = node_key(tmp_path / "ward"), node_key(tmp_path / "other")
    hello = UplinkHello(nonce=b"n" * 32)
    welcome = UplinkWelcome(you="node:child")
    sign_welcome(ward, hello, welcome)
    assert check_welcome(hello, welcome, "node:child") == ward.id
    with pytest.raises(Unauthenticated, match="takes this node for"):
        check_welcome(hello, welcome, "node:relay")
    with pytest.raises(Unauthenticated, match="does not prove it"):
        check_welcome(UplinkHello(nonce=b"m" * 32), welcome, "node:child")
    # A relay that says the name that the child expects has no signature for it.
    relayed = UplinkWelcome.FromString(welcome.SerializeToString())
    relayed.you = "node:relay"
    with pytest.raises(Unauthenticated, match="does not prove it"):
        check_welcome(hello, relayed, "node:relay")
    stolen = UplinkWelcome.FromString(welcome.SerializeToString())
    stolen.node_id = other.id
    with pytest.raises(Unauthenticated, match="does not prove it"):
        check_welcome(hello, stolen, "node:child")


def test_who_a_certificate_makes_its_node(tmp_path: Path) -> None:
    house = certificate(tmp_path / "house", name="house")
    assert caller_by_certificate(house.pem) == f"node:{house.key.id}"
    assert caller_by_certificate(None) == "local"


# --- a child that means harm ------------------------------------------------------


def hello_of(key: NodeKey | None = None, **fields: Any) -> ConnectRequest:
    known: dict[str, Any] = {
        "protocol": 1,
        "node_id": "x" if key is None else key.id,
        "name": "station-1",
        "max_calls": 10,
        "keepalive_ms": 5000,
        "nonce": bytes(32),
    }
    return ConnectRequest(hello=UplinkHello(**(known | fields)))


async def talk(channel: grpc.aio.Channel, frames: Sequence[ConnectRequest]) -> None:
    """Sends frames, and reads until the parent ends the connection; raises why."""
    call: Any = UplinkServiceStub(channel).Connect()

    async def send() -> None:
        for frame in frames:
            await call.write(frame)

    sending = asyncio.create_task(send())
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        raise error_from_call(error, target="the parent") from error
    finally:
        call.cancel()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@asynccontextmanager
async def victim(folder: Path) -> AsyncIterator[tuple[Parent, grpc.aio.Channel]]:
    # Without the limits that our own ends keep to.
    options = (("grpc.max_send_message_length", -1),)
    async with (
        parent(folder / "ward") as above,
        grpc.aio.insecure_channel(above.address, options=options) as channel,
    ):
        yield above, channel


DATA = ConnectRequest(data=UplinkData(call=1, data=bytes(60_000)))


@pytest.mark.parametrize(
    ("frames", "kind", "says"),
    [
        ([ConnectRequest(ping=UplinkPing(number=1))], InvalidArgument, "not a hello"),
        ([hello_of(protocol=0)], InvalidArgument, "protocol version"),
        ([hello_of(nonce=b"short")], InvalidArgument, "nonce"),
        ([hello_of(name="")], InvalidArgument, "name"),
        ([hello_of(name="stranger", node_id="y")], AccessDenied, 'node = "stranger"'),
        ([hello_of(), hello_of()], InvalidArgument, "a second hello"),
        ([hello_of(), DATA], InvalidArgument, "never opened"),
        ([hello_of(), ConnectRequest(close=UplinkClose(call=7))], InvalidArgument, "never opened"),
        ([hello_of(), ConnectRequest(data=UplinkData(call=1, data=bytes(2 << 20)))], LimitExceeded, "larger"),
    ],
)
async def test_a_child_that_says_what_it_may_not_is_cut_off(
    tmp_path: Path, frames: list[ConnectRequest], kind: type[NvrError], says: str
) -> None:
    async with victim(tmp_path) as (above, channel):
        uplink = above.hub.expect("station-1")
        with pytest.raises(kind, match=says):
            await talk(channel, frames)
        await until(lambda: uplink.session is None)
        # Another connection is not the worse for it.
        async with child(above.address) as below:
            await below.until(up=True)
            assert (await RemoteFootage(uplink.channel).node()).name == "station-1"


async def test_a_child_that_sends_more_than_there_is_room_for_is_cut_off(tmp_path: Path) -> None:
    async with victim(tmp_path) as (above, channel):
        uplink = above.hub.expect("station-1")
        call: Any = UplinkServiceStub(channel).Connect()
        await call.write(hello_of())
        await uplink.until_connected()
        session = uplink.session
        assert session is not None
        answer = uplink.channel.unary_stream("/nvr.v1.FootageService/WatchEvents")(b"")
        while (await call.read()).WhichOneof("frame") != "open":
            pass

        async def flood() -> None:
            while True:
                await call.write(DATA)

        flooding = asyncio.create_task(flood())
        await until(lambda: uplink.session is None)
        await asyncio.gather(flooding, return_exceptions=True)
        call.cancel()
        # What came within the window is there, and then why there is no more.
        with pytest.raises(grpc.aio.AioRpcError, match="more than there was room for"):
            assert [len(message) async for message in answer] == []
        assert WINDOW_BYTES - 70_000 < sum(session.received.values()) <= WINDOW_BYTES


async def test_a_message_that_is_none_is_an_error_of_its_call(tmp_path: Path) -> None:
    async with victim(tmp_path) as (above, channel):
        uplink = above.hub.expect("station-1")
        call: Any = UplinkServiceStub(channel).Connect()
        await call.write(hello_of())
        await uplink.until_connected()
        reading = asyncio.ensure_future(RemoteFootage(uplink.channel).node())
        while (await call.read()).WhichOneof("frame") != "open":
            pass
        await call.write(ConnectRequest(data=UplinkData(call=1, data=b"\xff\xff")))
        with pytest.raises(InternalError, match="not the method's message"):
            await reading
        assert uplink.session is not None
        call.cancel()


async def test_a_child_that_floods_with_pings_gets_a_pong_now_and_then(tmp_path: Path) -> None:
    async with victim(tmp_path) as (above, channel):
        above.hub.expect("station-1")
        call: Any = UplinkServiceStub(channel).Connect()
        await call.write(hello_of())
        pongs: list[int] = []

        async def read() -> None:
            while not pongs or pongs[-1] != 20_000:
                frame = await call.read()
                if frame.WhichOneof("frame") == "pong":
                    pongs.append(frame.pong.number)

        reading = asyncio.create_task(read())
        for number in range(1, 20_001):
            await call.write(ConnectRequest(ping=UplinkPing(number=number)))
        await reading
        call.cancel()


# --- a parent that means harm -----------------------------------------------------


class Hostile:
    """Welcomes a child as it should, and then sends what it wants."""

    def __init__(self, key: NodeKey) -> None:
        self._key = key
        self.frames: list[ConnectResponse] = []
        self.got: list[ConnectRequest] = []
        self.welcome = UplinkWelcome(protocol=1, name="ward", you="local", window=1 << 20)

    async def connect(self, _requests: Any, context: Any) -> None:
        first = await context.read()
        sign_welcome(self._key, first.hello, self.welcome)
        await context.write(ConnectResponse(welcome=self.welcome))
        for frame in self.frames:
            await context.write(frame)
        while (frame := await context.read()) is not grpc.aio.EOF:
            self.got.append(frame)


@asynccontextmanager
async def hostile(folder: Path) -> AsyncIterator[tuple[Hostile, str]]:
    made = Hostile(node_key(folder / "hostile"))
    server = grpc.aio.server(options=SERVER_OPTIONS)
    method = grpc.stream_stream_rpc_method_handler(
        made.connect, ConnectRequest.FromString, ConnectResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("nvr.v1.UplinkService", {"Connect": method})
    server.add_generic_rpc_handlers([service])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield made, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def opened(call: int, method: str = "/nvr.v1.FootageService/WatchEvents", **fields: Any) -> ConnectResponse:
    return ConnectResponse(open=UplinkOpen(call=call, method=method, **fields))


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([opened(n) for n in range(1, 400)], "more than 256 calls"),
        ([opened(2), opened(2)], "not new"),
        ([opened(1, request=bytes((1 << 20) + 1))], "a request of"),
        ([ConnectResponse(window=UplinkWindow(call=4, bytes=1))], "never opened"),
        ([ConnectResponse(reset=UplinkReset(call=4))], "never opened"),
        ([opened(1), ConnectResponse(window=UplinkWindow(call=1, bytes=2**31))], "a window of"),
        ([ConnectResponse(ack=UplinkAck(bytes=5))], "were sent"),
        ([ConnectResponse(welcome=UplinkWelcome())], "a second welcome"),
        ([opened(1, request=bytes(3 << 20))], "RESOURCE_EXHAUSTED"),
    ],
)
async def test_a_parent_that_says_what_it_may_not_is_left(
    tmp_path: Path, frames: list[ConnectResponse], says: str
) -> None:
    async with hostile(tmp_path) as (made, address):
        made.frames = frames
        async with child(address) as below:
            await until(lambda: below.uplink.connects > 0 and bool(below.uplink.detail))
            await until(lambda: says in below.uplink.detail)


async def test_a_parent_without_proof_is_left(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (made, address):
        made.welcome.you = "node:somebody"
        async with child(address) as below:
            assert "takes this node for" in await until_refused(below)


@pytest.mark.parametrize(
    "method", ["", "x", "/nvr.v1.FootageService", "/../etc/passwd", "/a/b/c", "/nvr.v1.NoService/Call"]
)
async def test_a_method_that_is_none_costs_its_own_call_only(tmp_path: Path, method: str) -> None:
    async with hostile(tmp_path) as (made, address):
        made.frames = [
            opened(1, method),
            opened(2, "/nvr.v1.NodeService/GetNode"),
            opened(3, "/nvr.v1.NodeService/GetNode", request=b"\xff\xff"),
        ]
        async with child(address) as below:

            def closes() -> dict[int, int]:
                return {
                    frame.close.call: frame.close.code
                    for frame in made.got
                    if frame.WhichOneof("frame") == "close"
                }

            await until(lambda: len(closes()) == 3)
            assert closes() == {
                1: grpc.StatusCode.UNIMPLEMENTED.value[0],
                2: 0,
                3: grpc.StatusCode.INVALID_ARGUMENT.value[0],
            }
            assert below.uplink.up


async def test_requests_that_are_too_much_together_are_refused_one_by_one(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (made, address):
        made.frames = [opened(n, request=bytes(1 << 20)) for n in range(1, 31)]
        footage = MemoryFootage(memory_world())
        async with child(address, source=footage) as below:

            def codes() -> list[int]:
                return [frame.close.code for frame in made.got if frame.WhichOneof("frame") == "close"]

            await until(lambda: len(codes()) == 30)
            assert below.uplink.up
            assert set(codes()) <= {
                grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
                grpc.StatusCode.INVALID_ARGUMENT.value[0],
            }
