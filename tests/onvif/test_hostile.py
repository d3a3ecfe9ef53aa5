"""What comes from the network is bounded, whoever sends it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.onvif.device import ask_device
from nvr.onvif.probe import answers_in
from nvr.onvif.soap import FaultError, MalformedAnswerError, parse
from nvr.onvif.types import Answer, Device, Login, Trouble
from tests.onvif.models import probe_match, running

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><e:Envelope xmlns:e='x'><e:Body>&i;</e:Body></e:Envelope>"
)
THEFT = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    "<e:Envelope xmlns:e='x'><e:Body><a>&a;</a></e:Body></e:Envelope>"
)


@pytest.mark.parametrize(
    "data",
    [
        BOMB.encode(),
        THEFT.encode(),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
        b"",
        b"<x/>",
        b"<x",
        b"\xff\xfe",
        b'<?xml version="1.0" encoding="no-such"?><x/>',
        b"<e:Envelope xmlns:e='x'><e:Body>" + b"<a/>" * 100_000 + b"</e:Body></e:Envelope>",
        b"<e:Envelope xmlns:e='x'><e:Body>" + b"a" * (2 << 20) + b"</e:Body></e:Envelope>",
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        parse(data)
    assert list(answers_in(data, "10.0.0.7")) == []


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_answer_or_not(data: bytes) -> None:
    try:
        parse(data)
    except (MalformedAnswerError, FaultError):
        return


@given(st.text(st.characters(exclude_characters="<>&", exclude_categories=["Cs", "Cc"]), max_size=80))
def test_any_address_of_itself_leads_to_the_sender(url: str) -> None:
    for answer in answers_in(probe_match(url).encode(), "10.0.0.7"):
        assert answer.host == "10.0.0.7"


def test_of_several_addresses_the_senders_own_counts() -> None:
    offered = "http://192.168.1.9:8080/x http://10.0.0.7:81/onvif/device_service https://10.0.0.7/y"
    scopes = "onvif://www.onvif.org/name/C%E1%BB%95ng%20ch%E1%BB%A3 onvif://www.onvif.org/hardware/DS-2"
    (answer,) = answers_in(probe_match(offered, endpoint="urn:uuid:7", scopes=scopes).encode(), "10.0.0.7")
    assert answer.url == "http://10.0.0.7:81/onvif/device_service"
    assert (answer.endpoint, answer.name, answer.hardware) == ("urn:uuid:7", "Cổng chợ", "DS-2")
    # One with an old address keeps its port and path.
    (answer,) = answers_in(probe_match("http://192.168.1.9:8080/x").encode(), "10.0.0.7")
    assert answer.url == "http://10.0.0.7:8080/x"


@contextmanager
def server(respond: "type[BaseHTTPRequestHandler]") -> Iterator[int]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), respond)
    found.daemon_threads = True
    with running(found) as port:
        yield port


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Endless(Quiet):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"<a>" * 10_000)
        except OSError:
            return


class Elsewhere(Quiet):
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        type(self).seen.append(self.path)
        self.send_response(307)
        self.send_header("Location", f"http://{self.headers['Host']}/stolen")
        self.send_header("Content-Length", "0")
        self.end_headers()


class WantsBasic(Quiet):
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        type(self).seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="give it to me"')
        self.send_header("Content-Length", "0")
        self.end_headers()


async def ask(port: int) -> Device:
    return await ask_device(Answer("127.0.0.1", port, "/"), Login("admin", "geheim"))


async def test_an_endless_answer_is_cut_off() -> None:
    with server(Endless) as port:
        device = await ask(port)
    assert (device.trouble, device.detail) == (Trouble.NOT_ONVIF, "an answer of more than 1 MiB")


async def test_nobody_is_followed_elsewhere() -> None:
    with server(Elsewhere) as port:
        device = await ask(port)
    assert device.trouble is Trouble.NOT_ONVIF
    assert set(Elsewhere.seen) == {"/"}


async def test_no_password_for_basic() -> None:
    with server(WantsBasic) as port:
        device = await ask(port)
    assert device.trouble is Trouble.LOGIN_REFUSED
    assert set(WantsBasic.seen) == {""}


async def test_one_that_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Nothing accepts: the kernel does, for as many as wait.
        device = await ask(silent.getsockname()[1])
    assert device.trouble is Trouble.UNREACHABLE
