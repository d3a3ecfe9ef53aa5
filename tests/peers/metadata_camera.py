"""ONVIF metadata beside the pictures of another RTSP server, which has none.

Stands before that server: all that the two say to one another passes, but a description gets a track of
metadata more (ONVIF Streaming Specification, 5.1.2.1.1), SETUP of which is answered here, and whose
packets come between those of the pictures.
"""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

_SECTION = b"m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:metadata\r\n"
_MARKER = 0x80


@dataclass
class MetadataCamera:
    """A running one."""

    port: int
    sent: list[bytes] = field(default_factory=list)
    """Documents, in order."""


class _Link:
    """One client's connection, and the one to the server for it."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        camera: MetadataCamera,
        make: Callable[[int], bytes],
    ) -> None:
        self.client, self.server = client, server
        self._camera = camera
        self._make = make
        self._lock = threading.Lock()
        self._session = b""
        self._channel: int | None = None
        self._sequence = 0
        self._pictures = 0

    def requests(self) -> None:
        """From the client to the server."""
        with self.client.makefile("rb") as source, suppress(OSError, ValueError):
            while head := _head(source):
                body = source.read(_length(head))
                if head.startswith(b"SETUP") and b"/metadata" in head.split(b"\r\n")[0]:
                    self._setup(head)
                else:
                    self.server.sendall(head + body)
        self.close()

    def answers(self) -> None:
        """From the server to the client."""
        with self.server.makefile("rb") as source, suppress(OSError, ValueError):
            while first := source.read(1):
                if first == b"$":
                    rest = source.read(3)
                    packet = source.read(int.from_bytes(rest[1:], "big"))
                    self._send(first + rest + packet)
                    # Of the first track: its pictures.
                    if rest[0] == 0 and packet[1] & _MARKER:
                        self._metadata()
                    continue
                head = first + (_head(source) or b"")
                body = source.read(_length(head))
                if found := re.search(rb"\r\nSession: *([^;\r]+)", head):
                    self._session = found[1]
                if b"application/sdp" in head:
                    body += _SECTION
                    head = re.sub(rb"Content-Length: *\d+", b"Content-Length: %d" % len(body), head)
                self._send(head + body)
        self.close()

    def close(self) -> None:
        """Ends both."""
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _setup(self, head: bytes) -> None:
        cseq = re.search(rb"\r\nCSeq: *(\d+)", head)
        transport = re.search(rb"\r\nTransport: *([^\r]+)", head)
        channel = re.search(rb"interleaved=(\d+)", head)
        if cseq is None or transport is None or channel is None:
            raise ValueError("a SETUP that lacks something")
        self._channel = int(channel[1])
        lines = [b"RTSP/1.0 200 OK", b"CSeq: " + cseq[1], b"Session: " + self._session]
        self._send(b"\r\n".join([*lines, b"Transport: " + transport[1], b"", b""]))

    def _metadata(self) -> None:
        """A document for each third picture, in packets of 200 bytes."""
        self._pictures += 1
        if self._channel is None or self._pictures % 3:
            return
        document = self._make(len(self._camera.sent))
        parts = [document[at : at + 200] for at in range(0, len(document), 200)]
        for number, part in enumerate(parts, 1):
            kind = 107 | (_MARKER if number == len(parts) else 0)
            self._sequence = (self._sequence + 1) % 65536
            timestamp = self._pictures * 6000 % 2**32
            packet = struct.pack(">BBHII", 0x80, kind, self._sequence, timestamp, 0x4D455441) + part
            self._send(b"$" + struct.pack(">BH", self._channel, len(packet)) + packet)
        self._camera.sent.append(document)

    def _send(self, data: bytes) -> None:
        with self._lock:
            self.client.sendall(data)


def _head(source: BinaryIO) -> bytes:
    lines = []
    while line := source.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    found = re.search(rb"\r\nContent-Length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


@contextmanager
def metadata_camera(server_port: int, make: Callable[[int], bytes]) -> Iterator[MetadataCamera]:
    """Stands before a server on this machine; ``make`` makes the documents, by number."""
    listener = socket.create_server(("127.0.0.1", 0))
    camera = MetadataCamera(listener.getsockname()[1])
    links: list[_Link] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", server_port))
                link = _Link(client, server, camera, make)
                links.append(link)
                for work in (link.requests, link.answers):
                    threads.append(threading.Thread(target=work, daemon=True))
                    threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield camera
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for link in links:
            link.close()
        for thread in threads:
            thread.join()
        for link in links:
            link.client.close()
            link.server.close()
