"""Pictures as sources bring them: H.264 and H.265 in either form, and JPEG, as the recorder takes them."""

from collections.abc import Iterable
from struct import Struct

from nvr import nal
from nvr.errors import InvalidArgument

__all__ = ["JpegPictures", "Pictures"]

_MAX_SETS = 64
"""Cameras have two or three; H.264 allows 32 and 256."""


class Pictures:
    """Splits the packets of one video stream, and follows its parameter sets."""

    def __init__(self, codec: str, record: bytes) -> None:
        """``record``: libav's extradata. Raises :exc:`InvalidArgument` when it is damaged."""
        self.codec = codec
        self._length_bytes: int | None = None
        self._sets: dict[tuple[int, int], bytes] = {}
        self.new_record(record)

    @property
    def parameter_sets(self) -> list[bytes]:
        """Those in force, by kind and id; none while one kind is missing."""
        if not self._has_all_kinds(self._sets):
            return []
        return [self._sets[key] for key in sorted(self._sets)]

    def new_record(self, record: bytes) -> None:
        """The container says anew how to decode."""
        if nal.is_length_prefixed(record):
            self._length_bytes = nal.length_bytes(self.codec, record)
            self._merge(nal.parameter_sets(self.codec, record))
        elif record:
            self._length_bytes = None
            self._merge(unit for unit in nal.split_annex_b(record) if nal.is_parameter_set(self.codec, unit))

    def units(self, packet: bytes) -> bytes:
        """A picture's NAL units, each after its length in 4 bytes, but for parameter sets.

        Raises :exc:`InvalidArgument` when a length leads out of the packet.
        """
        if self._length_bytes is None:
            all_units = nal.split_annex_b(packet)
        else:
            all_units = nal.split_length_prefixed(packet, self._length_bytes)
        split: tuple[list[bytes], list[bytes]] = ([], [])
        for unit in filter(None, all_units):
            split[nal.is_parameter_set(self.codec, unit)].append(unit)
        rest, sets = split
        if sets:
            self._merge(sets)
        return nal.join(rest)

    def _merge(self, units: Iterable[bytes]) -> None:
        """Takes what is new. Sets that come all together replace all that were there."""
        found = {(nal.kind(self.codec, unit), nal.set_id(self.codec, unit)): unit for unit in units}
        self._sets = found if self._has_all_kinds(found) else self._sets | found
        if len(self._sets) > _MAX_SETS:
            raise InvalidArgument(f"more than {_MAX_SETS} parameter sets are in force")

    def _has_all_kinds(self, sets: Iterable[tuple[int, int]]) -> bool:
        return {kind for kind, _ in sets} == nal.parameter_set_kinds(self.codec)


_SIZE = Struct(">HH")
_SOS = 0xDA
_NO_SOF = {0xC4, 0xC8, 0xCC}


class JpegPictures:
    """JPEG pictures (ITU-T T.81): each has all that it needs, and its size is all that can change."""

    codec = "jpeg"

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None

    @property
    def parameter_sets(self) -> list[bytes]:
        """Width and height, as the wire has them; none before the first picture."""
        return [_SIZE.pack(*self._size)] if self._size else []

    def new_record(self, record: bytes) -> None:
        """The container has nothing to say."""

    def units(self, packet: bytes) -> bytes:
        """The picture, as it is. Raises :exc:`InvalidArgument` when it says no size."""
        self._size = _jpeg_size(packet)
        return packet


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height by the frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_SOF:
            height, width = _SIZE.unpack_from(data, at + 5)
            if width and height:
                return width, height
            break
        elif marker == _SOS:
            break
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise InvalidArgument("a picture that is no JPEG, or says no size")
