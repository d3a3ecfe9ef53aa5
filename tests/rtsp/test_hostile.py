"""Input that no honest client sends: the connection ends, and all others go on."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr.footage.source import FootageSource
from nvr.rtsp.address import format_clock
from tests.acceptance.recorded import Recorded
from tests.acceptance.world import SECOND
from tests.rtsp.running import Background, Out, rtsp_out
from tests.simulate.rtsp import AccessUnit, Client

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN", "ANNOUNCE")


@pytest.fixture(scope="module")
def plain(loop: Background, footage: FootageSource) -> Out:
    return loop.enter(rtsp_out(footage))


@pytest.fixture(scope="module")
def witness(plain: Out, recorded: Recorded) -> Iterator[Client]:
    """Somebody who watches meanwhile."""
    gate = recorded.world.gate
    with Client(plain.port) as client:
        client.play(plain.url("market-gate", f"main/clock={format_clock(gate.start_us)}-"))
        yield client


def still_serves(plain: Out, witness: Client) -> None:
    unit: AccessUnit = next(witness.access_units("h264"))
    assert unit.nals
    with Client(plain.port) as client:
        assert client.request("OPTIONS", plain.url("market-gate")).status == 200


def send(port: int, data: bytes) -> bytes:
    """What is answered to some bytes and their end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        answer = b""
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                answer += part
        except OSError:  # it was closed already
            pass
        return answer


@settings(max_examples=30)
@given(data=st.binary(max_size=3000))
def test_any_bytes(data: bytes, plain: Out) -> None:
    send(plain.port, data)
    with Client(plain.port) as client:
        assert client.request("OPTIONS", "*").status == 200


@settings(max_examples=40)
@given(
    method=st.sampled_from(METHODS),
    rest=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60),
    names=st.lists(
        st.sampled_from(
            ("Transport", "Range", "Session", "Scale", "Require", "Authorization", "Content-Length")
        ),
        max_size=4,
    ),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0xD7FF), max_size=80),
)
def test_any_request(method: str, rest: str, names: list[str], value: str, plain: Out) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name in names)
    url = f"rtsp://127.0.0.1/market-gate/{rest}"
    answer = send(plain.port, f"{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n".encode())
    assert not answer or answer.startswith(b"RTSP/1.0 ")
    assert not answer.startswith(b"RTSP/1.0 500")


@pytest.mark.parametrize(
    "data",
    [
        b"PLAY rtsp://127.0.0.1/market-gate/main RTSP/1.0\r\nCSeq: 1\r\nX: " + b"x" * 200_000,
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4294967295\r\n\r\n" + b"x" * 200_000,
        b"$\x00\xff\xff" + b"x" * 10,
        b"\r\n" * 50_000,
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n\r\n",
        b"A: b\r\n" * 20_000,
    ],
    ids=["header", "body", "interleaved", "lines", "response", "version", "sequence", "headers"],
)
def test_what_no_client_sends(data: bytes, plain: Out, witness: Client) -> None:
    answer = send(plain.port, data)
    assert len(answer) < 1000
    still_serves(plain, witness)


def test_many_who_never_finish_a_request(plain: Out, witness: Client) -> None:
    slow = [socket.create_connection(("127.0.0.1", plain.port)) for _ in range(200)]
    try:
        for client in slow:
            client.sendall(b"DESCRIBE rtsp://127.0.0.1/market-gate/main RTSP/1.0\r\nCSeq: ")
        still_serves(plain, witness)
    finally:
        for client in slow:
            client.close()


def test_requests_in_any_order(plain: Out, recorded: Recorded) -> None:
    start_us = recorded.world.gate.start_us
    path = f"main/clock={format_clock(start_us)}-{format_clock(start_us + SECOND)}"
    url = plain.url("market-gate", path)
    with Client(plain.port) as client:
        assert client.request("PLAY", url).status == 455
        assert client.request("PAUSE", url).status == 455
        assert client.request("TEARDOWN", url).status == 454
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        assert client.request("SETUP", f"{url}/trackID=7", transport).status == 404
        assert client.request("SETUP", f"{url}/trackID=0", {"Transport": "RTP/SAVP"}).status == 461
        assert client.request("SETUP", f"{url}/trackID=0", transport).status == 200
        assert client.request("PAUSE", url).status == 200
        other = plain.url("yard", path)
        assert client.request("SETUP", f"{other}/trackID=0", transport).status in (404, 459)
        assert client.request("PLAY", url, {"Session": "somebody-else"}).status in (400, 454)
