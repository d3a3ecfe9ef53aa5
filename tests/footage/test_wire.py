import random

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import InternalError
from nvr.footage import convert, wire
from nvr.footage.types import CodecConfig, Fragment, FragmentRef, Picture, PictureFormat
from nvr.v1 import common_pb2, footage_pb2

UINT32 = st.integers(0, (1 << 32) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
SIZES = st.sampled_from([0, 1, 127, 128, wire.CHUNK_BYTES, wire.CHUNK_BYTES + 1, 3 * wire.CHUNK_BYTES])


@given(part=UINT32, offset=st.integers(0, 1 << 62), data=st.binary(min_size=1, max_size=300))
def test_clip_bytes_are_written_as_protobuf_writes_them(part: int, offset: int, data: bytes) -> None:
    (message,) = wire.clip_data(part, offset, data)
    item = footage_pb2.ClipItem(data=footage_pb2.ClipData(part=part, offset=offset, data=data))
    assert message == footage_pb2.ReadClipResponse(item=item).SerializeToString()


@given(part=UINT32, offset=st.integers(0, 1 << 62), data=st.binary(min_size=1, max_size=300))
def test_clip_bytes_read_into_their_message_are_the_same(part: int, offset: int, data: bytes) -> None:
    asked: list[tuple[int, int]] = []

    def read(head: bytes, at: int, size: int) -> bytes:
        asked.append((at, size))
        return head + data

    written = wire.read_clip_data(part, offset, len(data), read)
    assert written is not None
    assert [written.message] == list(wire.clip_data(part, offset, data))
    assert asked == [(offset, len(data))]
    for same in (written, wire.clip_step(written.message)):
        assert isinstance(same, wire.EncodedClipData)
        assert (same.part, same.offset, same.data, same.size) == (part, offset, data, len(data))
        assert same.view == data


@given(
    part=UINT32,
    offset=UINT64,
    size=SIZES,
    half=st.booleans(),
    flip=st.integers(0, 40),
    bit=st.integers(0, 7),
)
def test_a_clip_step_says_what_protobuf_says(
    part: int, offset: int, size: int, half: bool, flip: int, bit: int
) -> None:
    data = random.Random(size).randbytes(size)
    step = footage_pb2.ReadClipResponse(
        item=footage_pb2.ClipItem(data=footage_pb2.ClipData(part=part, offset=offset >> half, data=data))
    )
    message = bytearray(step.SerializeToString())
    if flip < min(30, len(message)):
        message[flip] ^= 1 << bit
    try:
        expected = footage_pb2.ReadClipResponse.FromString(bytes(message))
    except DecodeError:
        with pytest.raises(DecodeError):
            wire.clip_step(bytes(message))
        return
    found = wire.clip_step(bytes(message))
    if isinstance(found, wire.EncodedClipData):
        value = expected.item.data
        assert (found.part, found.offset, found.data) == (value.part, value.offset, value.data)
        # Sent on as it is, it says nothing else.
        assert list(wire.clip_data(found.part, found.offset, found.data)) == [found.message]
    else:
        assert found == expected


def test_other_clip_steps_are_parsed() -> None:
    for step in (
        footage_pb2.ReadClipResponse(item=footage_pb2.ClipItem(head=footage_pb2.ClipHead())),
        footage_pb2.ReadClipResponse(warning=common_pb2.Warning(code="pending")),
        footage_pb2.ReadClipResponse(end=common_pb2.End(complete=True)),
        footage_pb2.ReadClipResponse(),
    ):
        assert wire.clip_step(step.SerializeToString()) == step


@given(size=SIZES, offset=st.integers(0, 1 << 50))
def test_clip_bytes_are_cut_to_the_chunk(size: int, offset: int) -> None:
    data = random.Random(size).randbytes(size)
    at, whole = offset, b""
    for message in wire.clip_data(3, offset, data):
        piece = footage_pb2.ReadClipResponse.FromString(message).item.data
        assert (piece.part, piece.offset) == (3, at)
        assert 0 < len(piece.data) <= wire.CHUNK_BYTES
        at += len(piece.data)
        whole += piece.data
    assert whole == data


def fragment(size: int, *, sequence: int = 0, width: int = 640) -> Fragment:
    ref = FragmentRef("c", "main", "r", 0, sequence, 0, 1, True, 0, size, 1, 0)
    config = CodecConfig("avc1.4d401f", width, 360, b"x")
    return Fragment(ref, config, random.Random(size).randbytes(size), "n")


def items(*fragments: Fragment) -> list[footage_pb2.FragmentItem]:
    encode = wire.FragmentEncoder()
    return [
        footage_pb2.ReadFragmentsResponse.FromString(message).item
        for each in fragments
        for message in encode(each)
    ]


@given(st.lists(st.tuples(SIZES, st.sampled_from([320, 640])), max_size=4))
def test_fragments_survive_in_pieces(shapes: list[tuple[int, int]]) -> None:
    sent = [fragment(size, sequence=n, width=width) for n, (size, width) in enumerate(shapes)]
    assembler = wire.FragmentAssembler()
    got = [done for item in items(*sent) if (done := assembler.add(item)) is not None]
    assembler.finish()
    assert got == sent


def test_the_configuration_is_sent_when_it_changes() -> None:
    sent = items(fragment(1), fragment(2), fragment(3, width=320), fragment(4))
    assert [item.config.id for item in sent if item.HasField("config")] == [1, 2, 3]


def test_fragments_that_do_not_fit_together_are_refused() -> None:
    config, head, first, *_ = items(fragment(wire.CHUNK_BYTES * 2))
    for wrong in ([config, head, head], [config, first], [config, head, first, first], [head, first, first]):
        assembler = wire.FragmentAssembler()
        with pytest.raises(InternalError):  # noqa: PT012 - which of them fails differs
            for item in wrong:
                assembler.add(item)
    assembler = wire.FragmentAssembler()
    for item in (config, head, first):
        assert assembler.add(item) is None
    with pytest.raises(InternalError, match="unfinished"):
        assembler.finish()


def test_a_fragment_without_its_configuration_is_refused() -> None:
    _, head, data = items(fragment(10))
    assembler = wire.FragmentAssembler()
    assert assembler.add(head) is None
    with pytest.raises(InternalError, match="codec configuration"):
        assembler.add(data)


def test_a_fragment_too_large_to_hold_is_refused() -> None:
    head = footage_pb2.FragmentItem(fragment=footage_pb2.Fragment(data_bytes=(1 << 32) - 1))
    with pytest.raises(InternalError, match="announced"):
        wire.FragmentAssembler().add(head)


@given(SIZES)
def test_pictures_survive_in_pieces(size: int) -> None:
    sent = Picture(5, 4, 10, 10, PictureFormat.RGB24, random.Random(size).randbytes(size))
    assembler = wire.PictureAssembler()
    frames = list(wire.picture(sent))
    assert all(len(frame.data) <= wire.CHUNK_BYTES for frame in frames)
    got = [assembler.add(frame) for frame in frames]
    assembler.finish()
    assert got == [None] * (len(frames) - 1) + [sent]


def test_pieces_of_different_pictures_are_refused() -> None:
    assembler = wire.PictureAssembler()
    assert assembler.add(footage_pb2.Frame(asked_us=1, data=b"x", more=True)) is None
    with pytest.raises(InternalError, match="different pictures"):
        assembler.add(footage_pb2.Frame(asked_us=2, data=b"y"))
    with pytest.raises(InternalError, match="unfinished"):
        assembler.finish()


def test_conversion_keeps_the_configuration_of_live_units() -> None:
    config = CodecConfig("avc1.4d401f", 640, 360, b"x")
    assembler = wire.LiveAssembler()
    unit = footage_pb2.AccessUnit(pts=1, data=b"d")
    first = footage_pb2.LiveItem(config=convert.config_to_pb(config))
    assert assembler.add(first) is None
    one, two = (assembler.add(footage_pb2.LiveItem(unit=unit)) for _ in range(2))
    assert one is not None
    assert two is not None
    assert (one.config, two.config) == (config, None)
