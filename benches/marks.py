"""Media time inside the coded picture: an SEI message that a reader finds without decoding."""

import struct
from uuid import UUID

MEDIA_TIME = UUID("5d3a2f0e-6f1c-4c0b-9a65-2b1d0c6a7e11").bytes
# Each byte of the time is sent as two half bytes with the high bit set, so that no start code
# (which would need emulation prevention) can arise.
TIME_BYTES = 16
NAL_SEI, SEI_USER_DATA = 6, 5


def sei_with_time(media_us: int) -> bytes:
    """An SEI NAL unit with a media time, after its length in 4 bytes."""
    halves = bytes(0x80 | half for byte in struct.pack(">Q", media_us) for half in (byte >> 4, byte & 15))
    payload = MEDIA_TIME + halves
    nal = bytes([NAL_SEI, SEI_USER_DATA, len(payload)]) + payload + b"\x80"
    return struct.pack(">I", len(nal)) + nal


def time_in(data: bytes) -> int | None:
    """The media time that an access unit carries."""
    at = data.find(MEDIA_TIME)
    if at < 0:
        return None
    halves = data[at + len(MEDIA_TIME) : at + len(MEDIA_TIME) + TIME_BYTES]
    value = bytes((high & 15) << 4 | low & 15 for high, low in zip(halves[::2], halves[1::2], strict=True))
    return int(struct.unpack(">Q", value)[0])


def us_of(pts_90k: int) -> int:
    """Ticks of 1/90,000 s in microseconds."""
    return pts_90k * 100 // 9
