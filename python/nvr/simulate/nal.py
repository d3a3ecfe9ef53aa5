"""NAL units of H.264 and H.265: how files hold them, and what they are."""

import re
from collections.abc import Iterable

from nvr.errors import InvalidArgument

__all__ = [
    "decoder_configuration",
    "is_length_prefixed",
    "is_parameter_set",
    "is_random_access",
    "join",
    "length_bytes",
    "split_annex_b",
    "split_length_prefixed",
]

_START_CODE = re.compile(rb"\x00\x00\x01")
_H264_SETS = {7, 8}
_H265_SETS = {32, 33, 34}


def _kind(codec: str, unit: bytes) -> int:
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def is_parameter_set(codec: str, unit: bytes) -> bool:
    """Whether a unit is a VPS, SPS or PPS."""
    return _kind(codec, unit) in (_H264_SETS if codec == "h264" else _H265_SETS)


def is_random_access(codec: str, unit: bytes) -> bool:
    """Whether decoding can start at a unit: IDR; in H.265 (7.4.2.2) BLA and CRA as well."""
    kind = _kind(codec, unit)
    return kind == 5 if codec == "h264" else 16 <= kind <= 21


def is_length_prefixed(record: bytes) -> bool:
    """Whether extradata is ``avcC`` or ``hvcC`` (version 1) rather than Annex B or nothing."""
    return len(record) > 6 and record[0] == 1


def length_bytes(codec: str, record: bytes) -> int:
    """How many bytes each unit's length takes (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1)."""
    at = 4 if codec == "h264" else 21
    if len(record) <= at:
        raise InvalidArgument("extra_data: the decoder configuration is cut")
    return (record[at] & 3) + 1


def split_length_prefixed(sample: bytes, length: int) -> list[bytes]:
    """The units of a sample of an MP4 or Matroska file."""
    units = []
    at = 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + length], "big")
        at += length
        if at + size > len(sample):
            raise InvalidArgument(f"a picture of the file is cut: NAL unit of {size} bytes at byte {at}")
        units.append(sample[at : at + size])
        at += size
    return units


def split_annex_b(sample: bytes) -> list[bytes]:
    """The units of a byte stream (H.264 and H.265, Annex B)."""
    ends = [match.span() for match in _START_CODE.finditer(sample)]
    starts = [end for _, end in ends]
    stops = [start for start, _ in ends[1:]] + [len(sample)]
    units = (sample[start:stop].rstrip(b"\0") for start, stop in zip(starts, stops, strict=True))
    return [unit for unit in units if unit]


def join(units: Iterable[bytes]) -> bytes:
    """Units, each after its length in 4 bytes."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def decoder_configuration(codec: str, units: Iterable[bytes]) -> bytes:
    """An ``avcC`` or ``hvcC`` record of the parameter sets among units.

    Profile and level in an ``hvcC`` are copied from the SPS as far as its fixed
    part goes; everything else a decoder takes from the sets themselves.
    """
    kinds = (7, 8) if codec == "h264" else (32, 33, 34)
    sets: dict[int, list[bytes]] = {kind: [] for kind in kinds}
    for unit in units:
        kind = _kind(codec, unit)
        if kind in sets and unit not in sets[kind]:
            sets[kind].append(unit)
    if not all(sets.values()):
        raise InvalidArgument("the file has no parameter sets before its first picture")
    if codec == "h264":
        sps, pps = sets[7], sets[8]
        head = bytes([1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)])
        return head + b"".join(map(_sized, sps)) + bytes([len(pps)]) + b"".join(map(_sized, pps))
    # profile_tier_level starts after the NAL header and one byte (7.3.2.2), without escapes.
    level = sets[33][0].replace(b"\0\0\3", b"\0\0")[3:15]
    head = bytes([1]) + level + bytes([0xF0, 0, 0xFC, 0xFC, 0xF8, 0xF8, 0, 0, 0x0F, len(sets)])
    arrays = (
        bytes([0x80 | kind]) + len(found).to_bytes(2, "big") + b"".join(map(_sized, found))
        for kind, found in sets.items()
    )
    return head + b"".join(arrays)


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
