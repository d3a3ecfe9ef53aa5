"""AAC as sources bring it: raw frames, or each with a header of ADTS (ISO/IEC 14496-3, 1.A.2.2); Opus."""

from nvr.sources.wire import Sound

__all__ = ["FRAME_SAMPLES", "OPUS_RATE_HZ", "from_adts", "opus_samples"]

FRAME_SAMPLES = 1024
"""Of a raw AAC frame (ISO/IEC 14496-3, 4.5.1.1)."""
_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_HEADER_BYTES = 7
_CRC_BYTES = 2


def from_adts(data: bytes) -> tuple[Sound, bytes] | None:
    """What its header says of a frame, and the frame without it; None: it is no such frame."""
    if len(data) <= _HEADER_BYTES or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return None
    object_type = (data[2] >> 6) + 1
    rate_index = data[2] >> 2 & 15
    channels = (data[2] & 1) << 2 | data[3] >> 6
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    head = _HEADER_BYTES + (0 if data[1] & 1 else _CRC_BYTES)
    # More than one raw block in a frame has headers of its own between them; nobody sends it.
    if rate_index >= len(_RATES_HZ) or data[6] & 3 or not head < length <= len(data):
        return None
    config = (object_type << 11 | rate_index << 7 | channels << 3).to_bytes(2, "big")
    return Sound(config, _RATES_HZ[rate_index], channels), data[head:length]


OPUS_RATE_HZ = 48_000
"""Ticks a second of Opus, whatever it was sampled at."""
_OPUS_MAX_SAMPLES = 5760


def opus_samples(packet: bytes) -> int:
    """How long a packet lasts, in 1/48,000 s (RFC 6716, 3.1); 0: it is none."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    count = (1, 2, 2)[code] if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
    samples = count * frame
    return samples if samples <= _OPUS_MAX_SAMPLES else 0
