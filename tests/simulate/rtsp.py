"""A small RTSP client that shows everything as it is on the wire."""

import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Packet:
    """An interleaved packet and when it was read, in microseconds of wall time."""

    channel: int
    data: bytes
    at_us: int


@dataclass(frozen=True)
class Rtp:
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Rtp":
        assert data[0] == 0x80
        return cls(
            marker=bool(data[1] & 0x80),
            payload_type=data[1] & 0x7F,
            sequence=int.from_bytes(data[2:4], "big"),
            timestamp=int.from_bytes(data[4:8], "big"),
            ssrc=int.from_bytes(data[8:12], "big"),
            payload=data[12:],
        )


@dataclass
class AccessUnit:
    """NAL units of one instant, and when its last packet was read."""

    timestamp: int
    nals: list[bytes] = field(default_factory=list)
    at_us: int = 0


class Client:
    """One connection. Blocking; a server that says nothing for long raises TimeoutError."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._input = bytearray()
        self._sequence = 0
        self.session = ""
        self.on_other: Callable[[Packet], None] = lambda packet: None
        """Is given the packets of other channels, where those of one are read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def _fill(self, count: int) -> None:
        while len(self._input) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the server closed the connection")
            self._input += data

    def _take(self, count: int) -> bytes:
        self._fill(count)
        taken = bytes(self._input[:count])
        del self._input[:count]
        return taken

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self) -> Response:
        """The next answer; interleaved packets before it are passed over."""
        while True:
            self._fill(1)
            if self._input[0] != ord("$"):
                break
            self.packet()
        while b"\r\n\r\n" not in self._input:
            self._fill(len(self._input) + 1)
        head = self._take(self._input.index(b"\r\n\r\n") + 4).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = self._take(int(headers.get("content-length", 0)))
        return Response(int(status.split()[1]), headers, body)

    def request(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Response:
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}"]
        if self.session:
            lines.append(f"Session: {self.session}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode())
        response = self.response()
        assert response.headers.get("cseq") == str(self._sequence)
        if response.status == 200 and "session" in response.headers:
            self.session = response.headers["session"].split(";")[0]
        return response

    def play(self, url: str, *, audio: bool = False, headers: Mapping[str, str] | None = None) -> Response:
        """Sets up the pictures on channels 0-1 (and the sound on 2-3) and plays."""
        for track in range(2 if audio else 1):
            transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
            response = self.request("SETUP", f"{url}/trackID={track}", {"Transport": transport})
            assert response.status == 200
        response = self.request("PLAY", url, headers)
        assert response.status == 200
        return response

    def packet(self) -> Packet:
        head = self._take(4)
        assert head[0] == ord("$"), head
        data = self._take(int.from_bytes(head[2:4], "big"))
        return Packet(head[1], data, time.time_ns() // 1000)

    def rtp(self, channel: int = 0, ended: Callable[[], bool] = lambda: False) -> Iterator[tuple[Rtp, int]]:
        """RTP packets of a channel, and when each was read."""
        while not ended():
            packet = self.packet()
            if packet.channel == channel:
                yield Rtp.parse(packet.data), packet.at_us
            else:
                self.on_other(packet)

    def access_units(self, codec: str, ended: Callable[[], bool] = lambda: False) -> Iterator[AccessUnit]:
        """Pictures as a receiver puts them together (RFC 6184, RFC 7798); checks what it can."""
        unit: AccessUnit | None = None
        sequence = None
        for packet, at_us in self.rtp(0, ended):
            assert sequence is None or packet.sequence == (sequence + 1) & 0xFFFF
            sequence = packet.sequence
            if unit is None:
                unit = AccessUnit(packet.timestamp)
            assert packet.timestamp == unit.timestamp, "the marker ends an access unit"
            _add(unit.nals, codec, packet.payload)
            if packet.marker:
                unit.at_us = at_us
                yield unit
                unit = None


def _add(nals: list[bytes], codec: str, payload: bytes) -> None:
    size = 1 if codec == "h264" else 2
    kind = payload[0] & 0x1F if codec == "h264" else payload[0] >> 1 & 0x3F
    if kind != (28 if codec == "h264" else 49):
        nals.append(payload)
        return
    fu = payload[size]
    if fu & 0x80:
        kind = fu & 0x1F if codec == "h264" else fu & 0x3F
        first = payload[0] & 0xE0 | kind if codec == "h264" else payload[0] & 0x81 | kind << 1
        nals.append(bytes([first]) + payload[1:size])
    nals[-1] += payload[size + 1 :]


def digest_header(challenge: str, user: str, password: str, method: str, url: str) -> str:
    """An answer to a Digest challenge (RFC 7616, MD5, qop=auth)."""
    kind, _, rest = challenge.partition(" ")
    assert kind == "Digest"
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    realm, nonce = given["realm"].strip('"'), given["nonce"].strip('"')

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret, request = md5(user, realm, password), md5(method, url)
    response = md5(secret, nonce, "00000001", "0a4f113b", "auth", request)
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}", qop=auth, '
        f'nc=00000001, cnonce="0a4f113b", algorithm=MD5, response="{response}"'
    )


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
