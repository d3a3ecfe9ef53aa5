"""Large answers in messages of about 1 MiB, and whole again on the other side.

Footage is most of what travels. For it, the messages are encoded here by hand:
the few bytes before the payload, then the payload, copied once. Letting
protobuf write them costs half as much CPU again; parsing by hand gains nothing.
"""

from collections.abc import Iterable, Iterator

from nvr.errors import InternalError
from nvr.footage import convert
from nvr.footage.types import CodecConfig, Fragment, LiveUnit, Picture
from nvr.v1 import footage_pb2

__all__ = [
    "CHUNK_BYTES",
    "FragmentAssembler",
    "FragmentEncoder",
    "LiveAssembler",
    "PictureAssembler",
    "clip_data",
    "fragment_data",
    "live_unit",
    "picture",
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


def _payload_step(kind_field: int, fields: Iterable[tuple[int, int]], data_field: int, data: bytes) -> bytes:
    """A step {item {kind {fields…, data}}} as ``SerializeToString`` would write it."""
    inner = b"".join(_varint(number << 3) + _varint(value) for number, value in fields if value)
    if data:
        inner += _varint(data_field << 3 | _LENGTH_DELIMITED) + _varint(len(data))
    kind_size = len(inner) + len(data)
    kind_head = _varint(kind_field << 3 | _LENGTH_DELIMITED) + _varint(kind_size)
    item_head = _varint(_STEP_ITEM << 3 | _LENGTH_DELIMITED) + _varint(len(kind_head) + kind_size)
    return b"".join((item_head, kind_head, inner, data))


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
