"""Large answers in messages of about 1 MiB, and whole again on the other side.

Footage is most of what travels. For it, the messages are encoded here by hand:
the few bytes before the payload, then the payload, copied once. Letting
protobuf write them costs half as much CPU again; parsing by hand gains nothing.
"""

from collections.abc import Callable, Iterable, Iterator

from nvr.errors import InternalError
from nvr.footage import convert
from nvr.footage.types import ClipData, CodecConfig, Fragment, LiveUnit, Picture
from nvr.v1 import footage_pb2

__all__ = [
    "CHUNK_BYTES",
    "EncodedClipData",
    "FragmentAssembler",
    "FragmentEncoder",
    "LiveAssembler",
    "PictureAssembler",
    "clip_data",
    "clip_step",
    "fragment_data",
    "live_unit",
    "picture",
    "read_clip_data",
]

CHUNK_BYTES = 1 << 20
_MAX_WHOLE_BYTES = 256 << 20
"""What a peer can make us hold for one fragment or picture."""

_STEP_ITEM = 1
_LENGTH_DELIMITED = 2


def _varint(value: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints ."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _payload_head(kind_field: int, fields: Iterable[tuple[int, int]], data_field: int, size: int) -> bytes:
    """A step {item {kind {fields…, data}}} as ``SerializeToString`` would write it, up to the data."""
    inner = b"".join(_varint(number << 3) + _varint(value) for number, value in fields if value)
    if size:
        inner += _varint(data_field << 3 | _LENGTH_DELIMITED) + _varint(size)
    kind_size = len(inner) + size
    kind_head = _varint(kind_field << 3 | _LENGTH_DELIMITED) + _varint(kind_size)
    item_head = _varint(_STEP_ITEM << 3 | _LENGTH_DELIMITED) + _varint(len(kind_head) + kind_size)
    return item_head + kind_head + inner


def _payload_step(kind_field: int, fields: Iterable[tuple[int, int]], data_field: int, data: bytes) -> bytes:
    return b"".join((_payload_head(kind_field, fields, data_field, len(data)), data))


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    if len(data) <= CHUNK_BYTES:
        if data:
            yield 0, data
        return
    view = memoryview(data)
    for offset in range(0, len(data), CHUNK_BYTES):
        yield offset, bytes(view[offset : offset + CHUNK_BYTES])


_CLIP_DATA = footage_pb2.ClipItem.DATA_FIELD_NUMBER
_CLIP_PART = footage_pb2.ClipData.PART_FIELD_NUMBER
_CLIP_OFFSET = footage_pb2.ClipData.OFFSET_FIELD_NUMBER
_CLIP_BYTES = footage_pb2.ClipData.DATA_FIELD_NUMBER
_FRAGMENT_DATA = footage_pb2.FragmentItem.DATA_FIELD_NUMBER
_FRAGMENT_OFFSET = footage_pb2.FragmentData.OFFSET_FIELD_NUMBER
_FRAGMENT_BYTES = footage_pb2.FragmentData.DATA_FIELD_NUMBER


def clip_data(part: int, offset: int, data: bytes) -> Iterator[bytes]:
    """Serialized ``ReadClipResponse`` steps that carry these bytes of a part."""
    for at, chunk in _chunks(data):
        yield _payload_step(_CLIP_DATA, ((_CLIP_PART, part), (_CLIP_OFFSET, offset + at)), _CLIP_BYTES, chunk)


class EncodedClipData(ClipData):
    """Bytes of a part, still in the message that carries them.

    Whoever sends them on sends the message; whoever writes them to a file takes the view: neither
    copies them.
    """

    __slots__ = ("_data", "_start", "message")

    message: bytes
    """A serialized ``ReadClipResponse`` step, as protobuf writes it."""
    _start: int
    _data: bytes | None

    def __init__(self, part: int, offset: int, message: bytes, start: int) -> None:
        # Frozen, as what it stands for.
        for name, value in (
            ("part", part),
            ("offset", offset),
            ("message", message),
            ("_start", start),
            ("_data", None),
        ):
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:
        """The bytes alone, copied when they are asked for first."""
        data = self._data
        if data is None:
            data = self.message[self._start :]
            object.__setattr__(self, "_data", data)
        return data

    @property
    def view(self) -> memoryview:
        """The bytes, where they are."""
        return memoryview(self.message)[self._start :]

    @property
    def size(self) -> int:
        """How many."""
        return len(self.message) - self._start


def read_clip_data(
    part: int, offset: int, size: int, read: Callable[[bytes, int, int], bytes | None]
) -> EncodedClipData | None:
    """Bytes of a part, read into the very message that carries them.

    ``read(head, offset, size)`` gives ``head`` and ``size`` bytes from ``offset`` on, as one, or None.
    """
    head = _payload_head(_CLIP_DATA, ((_CLIP_PART, part), (_CLIP_OFFSET, offset)), _CLIP_BYTES, size)
    message = read(head, offset, size)
    return None if message is None else EncodedClipData(part, offset, message, len(head))


def clip_step(message: bytes) -> EncodedClipData | footage_pb2.ReadClipResponse:
    """A received ``ReadClip`` step; one with bytes as :func:`clip_data` writes them is left as it is."""
    found = _clip_data_start(message)
    if found is None:
        return footage_pb2.ReadClipResponse.FromString(message)
    return EncodedClipData(*found[:2], message, found[2])


def _clip_data_start(message: bytes) -> tuple[int, int, int] | None:
    """Part, offset, and where the bytes begin; None unless it is written exactly as we write it."""
    at = 0
    for field in (_STEP_ITEM, _CLIP_DATA):
        # Each holds all of the rest.
        length, after = _field(message, at, field << 3 | _LENGTH_DELIMITED)
        if length != len(message) - after:
            return None
        at = after
    part, at = _field(message, at, _CLIP_PART << 3)
    offset, at = _field(message, at, _CLIP_OFFSET << 3)
    size, at = _field(message, at, _CLIP_BYTES << 3 | _LENGTH_DELIMITED)
    if size != len(message) - at or not 0 < size <= CHUNK_BYTES or part >= 1 << 32 or offset >= 1 << 63:
        return None
    return part, offset, at


def _field(message: bytes, at: int, tag: int) -> tuple[int, int]:
    """The number behind a tag of one byte, and where it ends; 0 and the same place if it is another."""
    if at >= len(message) or message[at] != tag:
        return 0, at
    value = shift = 0
    for end in range(at + 1, min(at + 11, len(message))):
        value |= (message[end] & 0x7F) << shift
        if message[end] < 0x80:
            return value, end + 1
        shift += 7
    return 0, at


def fragment_data(data: bytes) -> Iterator[bytes]:
    """Serialized ``ReadFragmentsResponse`` steps that carry a fragment's bytes."""
    for at, chunk in _chunks(data):
        yield _payload_step(_FRAGMENT_DATA, ((_FRAGMENT_OFFSET, at),), _FRAGMENT_BYTES, chunk)


class FragmentEncoder:
    """Fragments to serialized steps; a codec configuration goes out before what needs it."""

    def __init__(self) -> None:
        self._config: CodecConfig | None = None
        self._config_id = 0

    def __call__(self, value: Fragment) -> Iterator[bytes]:
        """The steps of one fragment."""
        if value.config != self._config:
            self._config = value.config
            self._config_id += 1
            config = convert.config_to_pb(value.config, self._config_id)
            yield self._step(footage_pb2.FragmentItem(config=config))
        fragment = footage_pb2.Fragment(
            ref=convert.fragment_ref_to_pb(value.ref),
            config_id=self._config_id,
            data_bytes=len(value.data),
            node=value.node,
        )
        yield self._step(footage_pb2.FragmentItem(fragment=fragment))
        yield from fragment_data(value.data)

    @staticmethod
    def _step(item: footage_pb2.FragmentItem) -> bytes:
        return footage_pb2.ReadFragmentsResponse(item=item).SerializeToString()


class _Whole:
    """Bytes that arrive in pieces."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > _MAX_WHOLE_BYTES:
            raise InternalError(f"the node sent a {self._what} of more than {_MAX_WHOLE_BYTES} bytes")
        self._pieces.append(piece)

    def take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self.size = [], 0
        return data


class FragmentAssembler:
    """Steps of ``ReadFragments`` to whole fragments. Raises :exc:`InternalError` when they do not fit."""

    def __init__(self) -> None:
        self._configs: tuple[int, CodecConfig] | None = None
        self._head: footage_pb2.Fragment | None = None
        self._data = _Whole("fragment")

    def add(self, item: footage_pb2.FragmentItem) -> Fragment | None:
        """The fragment that this item completes."""
        match item.WhichOneof("kind"):
            case "config":
                self._configs = (item.config.id, convert.config_from_pb(item.config))
            case "fragment":
                self.finish()
                self._head = item.fragment
                if item.fragment.data_bytes > _MAX_WHOLE_BYTES:
                    raise InternalError(f"the node announced a fragment of {item.fragment.data_bytes} bytes")
            case "data":
                if self._head is None or item.data.offset != self._data.size:
                    raise InternalError("the node sent bytes of a fragment out of order")
                self._data.add(item.data.data)
            case _:
                return None
        if self._head is None or self._data.size < self._head.data_bytes:
            return None
        if self._data.size > self._head.data_bytes:
            raise InternalError("the node sent more bytes of a fragment than it announced")
        if self._configs is None or self._configs[0] != self._head.config_id:
            raise InternalError("the node sent a fragment without its codec configuration")
        done = Fragment(
            ref=convert.fragment_ref_from_pb(self._head.ref),
            config=self._configs[1],
            data=self._data.take(),
            node=self._head.node,
        )
        self._head = None
        return done

    def finish(self) -> None:
        """Raises :exc:`InternalError` when a fragment is not whole yet."""
        if self._head is not None:
            raise InternalError("the node left a fragment unfinished")


def picture(value: Picture) -> Iterator[footage_pb2.Frame]:
    """The messages of one picture."""
    pieces = list(_chunks(value.data)) or [(0, b"")]
    for index, (_, piece) in enumerate(pieces):
        yield footage_pb2.Frame(
            asked_us=value.asked_us,
            frame_us=value.frame_us,
            width=value.width,
            height=value.height,
            format=convert.format_to_pb(value.format),
            data=piece,
            more=index + 1 < len(pieces),
        )


class PictureAssembler:
    """Messages of pictures to whole pictures."""

    def __init__(self) -> None:
        self._data = _Whole("picture")
        self._times: tuple[int, int] | None = None

    def add(self, frame: footage_pb2.Frame) -> Picture | None:
        """The picture that this message completes. Raises :exc:`InternalError` for mixed pieces."""
        times = (frame.asked_us, frame.frame_us)
        if self._times is not None and self._times != times:
            raise InternalError("the node sent pieces of different pictures as one")
        self._data.add(frame.data)
        self._times = times if frame.more else None
        if frame.more:
            return None
        return Picture(
            asked_us=frame.asked_us,
            frame_us=frame.frame_us,
            width=frame.width,
            height=frame.height,
            format=convert.format_from_pb(frame.format),
            data=self._data.take(),
        )

    def finish(self) -> None:
        """Raises :exc:`InternalError` when a picture is not whole yet."""
        if self._times is not None:
            raise InternalError("the node left a picture unfinished")


def live_unit(value: LiveUnit) -> Iterator[footage_pb2.LiveItem]:
    """The messages of one unit: its configuration, when it has one, then the unit."""
    if value.config is not None:
        yield footage_pb2.LiveItem(config=convert.config_to_pb(value.config))
    yield footage_pb2.LiveItem(unit=convert.live_unit_to_pb(value))


class LiveAssembler:
    """Messages of ``WatchLive`` to units."""

    def __init__(self) -> None:
        self._config: CodecConfig | None = None

    def add(self, item: footage_pb2.LiveItem) -> LiveUnit | None:
        """The unit that this message brings."""
        match item.WhichOneof("kind"):
            case "config":
                self._config = convert.config_from_pb(item.config)
                return None
            case "unit":
                config, self._config = self._config, None
                return convert.live_unit_from_pb(item.unit, config)
            case _:
                return None

    def finish(self) -> None:
        """Nothing can be left unfinished: a configuration without a unit says nothing."""
