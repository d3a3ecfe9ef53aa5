"""Length-prefixed NAL units to a raw Annex B elementary stream.

ISO/IEC 14496-15 stores NAL units after their length, and parameter sets apart
(avcC, hvcC); ITU-T H.264 and H.265 Annex B put a start code before each, and
the parameter sets in line, which is what players read from a pipe.
"""

from __future__ import annotations

from nvr.errors import DamagedError
from nvr.footage.types import CodecConfig, LiveUnit

START_CODE = b"\x00\x00\x00\x01"
_MAX_PARAMETER_SETS = 64


class AnnexB:
    """Turns live units into an elementary stream, one after the other.

    JPEG pictures have none: they stand one behind the other, as ffmpeg's ``mjpeg`` format has them.
    """

    def __init__(self) -> None:
        self._parameters: bytes | None = None
        self._jpeg = False

    def convert(self, unit: LiveUnit) -> bytes:
        """The bytes of a picture; empty for sound, and before the first random-access point.

        Raises :exc:`nvr.errors.DamagedError` when its lengths do not add up.
        """
        if unit.config is not None:
            self._jpeg = unit.config.video_codec == "mp4v.6C"
            self._parameters = b"" if self._jpeg else parameter_sets(unit.config)
        if unit.audio or self._parameters is None:
            return b""
        if self._jpeg:
            return unit.data
        body = nal_units(unit.data)
        return self._parameters + body if unit.random_access else body


def nal_units(data: bytes) -> bytes:
    """NAL units after 4-byte lengths, with start codes instead."""
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 4
        end = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or end > len(data):
            raise DamagedError(f"a NAL unit at byte {position} ends after its picture of {len(data)} bytes")
        parts += (START_CODE, data[start:end])
        position = end
    return b"".join(parts)


def parameter_sets(config: CodecConfig) -> bytes:
    """The parameter sets of a decoder configuration record, each after a start code."""
    reader = _Reader(config.video_extra_data)
    if config.video_codec.startswith(("avc1", "avc3")):
        units = _of_avcc(reader)
    elif config.video_codec.startswith(("hvc1", "hev1")):
        units = _of_hvcc(reader)
    else:
        raise DamagedError(f"the codec {config.video_codec!r} has no Annex B form")
    return b"".join(START_CODE + unit for unit in units)


def _of_avcc(reader: _Reader) -> list[bytes]:
    """ISO/IEC 14496-15, 5.3.3.1.2."""
    reader.skip(5)
    sps = [reader.unit() for _ in range(reader.byte() & 0x1F)]
    return sps + [reader.unit() for _ in range(reader.byte())]


def _of_hvcc(reader: _Reader) -> list[bytes]:
    """ISO/IEC 14496-15, 8.3.3.1.2."""
    reader.skip(22)
    units: list[bytes] = []
    for _ in range(reader.byte()):
        reader.skip(1)
        count = reader.word()
        if len(units) + count > _MAX_PARAMETER_SETS:
            raise DamagedError(f"a decoder configuration with more than {_MAX_PARAMETER_SETS} parameter sets")
        units += [reader.unit() for _ in range(count)]
    return units


class _Reader:
    """Bytes, read in order; what is not there is damage."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise DamagedError(f"the decoder configuration of {len(self._data)} bytes is cut")
        data = self._data[self._position : end]
        self._position = end
        return data

    def skip(self, length: int) -> None:
        self.take(length)

    def byte(self) -> int:
        return self.take(1)[0]

    def word(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def unit(self) -> bytes:
        return self.take(self.word())
