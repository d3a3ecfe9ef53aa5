"""What a client gets, decoded: which picture is shown at which RTP time."""

from collections.abc import Iterable
from dataclasses import dataclass

import av
import numpy as np

from nvr.simulate import timecode
from tests.simulate.rtsp import AccessUnit, Client, Packet, Response

TICKS = 90_000
NTP_TO_UNIX_S = 2_208_988_800
_CODECS = {"h264": "h264", "h265": "hevc"}


@dataclass(frozen=True)
class Report:
    """A sender report: wall time (microseconds since the epoch) of an RTP timestamp."""

    ssrc: int
    wall_us: int
    timestamp: int
    packets: int
    goodbye: bool

    @classmethod
    def parse(cls, data: bytes) -> "Report":
        assert data[:2] == bytes((0x80, 200))
        words = [int.from_bytes(data[at : at + 4], "big") for at in range(4, 28, 4)]
        ssrc, seconds, fraction, timestamp, packets, _ = words
        wall_us = (seconds - NTP_TO_UNIX_S) * 1_000_000 + round(fraction * 1_000_000 / (1 << 32))
        return cls(ssrc, wall_us, timestamp, packets, bytes((0x81, 203, 0, 1)) in data)


def rtp_info(response: Response) -> dict[int, tuple[int, int]]:
    """Sequence number and RTP time of each track in the answer to PLAY."""
    found = {}
    for part in response.headers["rtp-info"].split(","):
        url, seq, rtptime = part.split(";")
        track = int(url.rpartition("trackID=")[2])
        found[track] = (int(seq.removeprefix("seq=")), int(rtptime.removeprefix("rtptime=")))
    return found


def after(timestamp: int, zero: int) -> int:
    """Ticks from one RTP timestamp to another, which wrap."""
    return (timestamp - zero + (1 << 31)) % (1 << 32) - (1 << 31)


def whole_stream(client: Client, codec: str) -> tuple[list[AccessUnit], list[Report]]:
    """Pictures and reports of channels 0 and 1 until the server says goodbye."""
    reports: list[Report] = []

    def take(packet: Packet) -> None:
        if packet.channel == 1:
            reports.append(Report.parse(packet.data))

    client.on_other = take
    units = list(client.access_units(codec, lambda: any(report.goodbye for report in reports)))
    return units, reports


def decode(units: Iterable[AccessUnit], codec: str, zero: int) -> list[tuple[int, int | None]]:
    """(ticks after ``zero``, media time in the picture) of each picture, in the order shown."""
    decoder = av.CodecContext.create(_CODECS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = []
    for unit in units:
        packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in unit.nals))
        packet.pts = after(unit.timestamp, zero)
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    return [
        (frame.pts or 0, timecode.read(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)))
        for frame in frames
    ]
