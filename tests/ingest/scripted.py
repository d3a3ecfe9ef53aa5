"""A camera that sends what a test makes up, packet by packet."""

import base64
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Media = Callable[[], Iterator[bytes]]
"""What is sent after PLAY: interleaved packets, or anything else. Each session has its own."""

# By x264, Baseline, a picture of 322 by 182.
SPS = bytes.fromhex("6742c00bd901519e226c0440000003004000000503c50a92")
PPS = bytes.fromhex("68cb83cb20")
IDR, SLICE = b"\x65\x88" + b"\x11" * 200, b"\x41\x9a" + b"\x11" * 100

# By x265, Main, a picture of 322 by 182: VPS, SPS and PPS; and a slice of a keyframe and of another picture.
H265_SETS = (
    bytes.fromhex("40010c01ffff01600000030090000003000003003c959809"),
    bytes.fromhex("42010101600000030090000003000003003ca00a480b9c9596566924caf0168080000003008000000504"),
    bytes.fromhex("4401c172b46240"),
)
H265_IDR, H265_SLICE = b"\x26\x01\xaf" + b"\x11" * 200, b"\x02\x01\xd0" + b"\x11" * 100


def sdp(*parameter_sets: bytes, codec: str = "H264") -> str:
    """A description with these parameter sets (of H.264 alone); without any, they come in the stream."""
    sets = ",".join(base64.b64encode(each).decode() for each in parameter_sets)
    format_line = f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n" if sets else ""
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        f"a=rtpmap:96 {codec}/90000\r\n{format_line}a=control:video\r\n"
    )


class Rtp:
    """Numbers and stamps packets (RFC 3550, 5.1), each behind its interleaved header (RFC 2326, 10.12)."""

    def __init__(self) -> None:
        self._sequence = 0

    def packet(self, unit: bytes, timestamp: int, *, marker: bool) -> bytes:
        """A NAL unit in a packet of its own."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        head = struct.pack(">BBHII", 0x80, 96 | marker << 7, self._sequence, timestamp & 0xFFFFFFFF, 7)
        return struct.pack(">cBH", b"$", 0, len(head) + len(unit)) + head + unit

    def sender_report(self, timestamp: int, wall_us: int) -> bytes:
        """That the camera's clock says this at an RTP time (RFC 3550, 6.4.1); on the channel of RTCP."""
        seconds, rest_us = divmod(wall_us, 1_000_000)
        # NTP counts from 1900.
        ntp = (seconds + 2_208_988_800) << 32 | (rest_us << 32) // 1_000_000
        report = struct.pack(">BBHIQIII", 0x80, 200, 6, 7, ntp, timestamp & 0xFFFFFFFF, 0, 0)
        return struct.pack(">cBH", b"$", 1, len(report)) + report

    def picture(self, units: list[bytes], timestamp: int) -> bytes:
        """Units of one picture, the last of them with the marker."""
        last = len(units) - 1
        return b"".join(self.packet(unit, timestamp, marker=n == last) for n, unit in enumerate(units))


def serve(listener: socket.socket, description: str, media: Media) -> None:
    """One session after the other, until the listener is closed."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_session, args=(client, description, media), daemon=True).start()


def _session(client: socket.socket, description: str, media: Media) -> None:
    # The recorder may end the session at any time.
    writing = threading.Lock()
    with client, suppress(OSError):
        requests = client.makefile("rb")
        # It says goodbye, or asks whether the camera is still there.
        while method := requests.readline().split(b" ")[0].decode():
            headers = {}
            while line := requests.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            more, body = "", ""
            if method == "DESCRIBE":
                more, body = "Content-Type: application/sdp\r\n", description
            elif method == "SETUP":
                more = f"Transport: {headers['transport']}\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{more}"
            with writing:
                client.sendall(f"{answer}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            if method == "PLAY":
                threading.Thread(target=_play, args=(client, writing, media), daemon=True).start()


def _play(client: socket.socket, writing: threading.Lock, media: Media) -> None:
    with suppress(OSError):
        for sent in media():
            with writing:
                client.sendall(sent)
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def camera(description: str, media: Media) -> Iterator[str]:
    """Its address, while it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, description, media), daemon=True)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        finally:
            # Wakes accept(), which a close alone does not.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
