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
    "kind",
    "length_bytes",
    "parameter_set_kinds",
    "parameter_sets",
    "set_id",
    "split_annex_b",
    "split_length_prefixed",
]

_START_CODE = re.compile(rb"\x00\x00\x01")
_H264_SETS = frozenset({7, 8})
_H265_SETS = frozenset({32, 33, 34})
_H265_PPS = 34


def kind(codec: str, unit: bytes) -> int:
    """``nal_unit_type``."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def parameter_set_kinds(codec: str) -> frozenset[int]:
    """Types of SPS and PPS, in H.265 of VPS too: a decoder needs one of each."""
    return _H264_SETS if codec == "h264" else _H265_SETS


def is_parameter_set(codec: str, unit: bytes) -> bool:
    """Whether a unit is a VPS, SPS or PPS."""
    return kind(codec, unit) in parameter_set_kinds(codec)


def set_id(codec: str, unit: bytes) -> int:
    """The id of a parameter set: one of the same kind and id replaces it.

    0 for VPS and SPS of H.265, of which cameras have one. A unit that is cut has 0.
    """
    # SPS of H.264: after profile, constraints and level (7.3.2.1.1); PPS: the first thing in both.
    at = {7: 4, 8: 1}.get(kind(codec, unit), 0) if codec == "h264" else 0
    if codec != "h264" and kind(codec, unit) == _H265_PPS:
        at = 2
    if not at:
        return 0
    bits = f"{int.from_bytes(unit[at : at + 4].ljust(4, bytes(1)), 'big'):032b}"
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1  # ue(v), 9.1


def parameter_sets(codec: str, record: bytes) -> list[bytes]:
    """The sets in an ``avcC`` or ``hvcC`` record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1)."""
    at = 5 if codec == "h264" else 22
    units: list[bytes] = []
    try:
        arrays = 2 if codec == "h264" else record[at]
        at += codec != "h264"
        for array in range(arrays):
            if codec == "h264":
                count, at = record[at] & (0xFF if array else 0x1F), at + 1
            else:
                count, at = int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
            for _ in range(count):
                size = record[at] << 8 | record[at + 1]
                units.append(record[at + 2 : at + 2 + size])
                at += 2 + size
    except IndexError:
        raise InvalidArgument("extra_data: the decoder configuration is cut") from None
    return [unit for unit in units if unit and is_parameter_set(codec, unit)]


def is_random_access(codec: str, unit: bytes) -> bool:
    """Whether decoding can start at a unit: IDR; in H.265 (7.4.2.2) BLA and CRA as well."""
    found = kind(codec, unit)
    return found == 5 if codec == "h264" else 16 <= found <= 21


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
    sets: dict[int, list[bytes]] = {each: [] for each in sorted(parameter_set_kinds(codec))}
    for unit in units:
        found = sets.get(kind(codec, unit))
        if found is not None and unit not in found:
            found.append(unit)
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
        bytes([0x80 | each]) + len(found).to_bytes(2, "big") + b"".join(map(_sized, found))
        for each, found in sets.items()
    )
    return head + b"".join(arrays)


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
