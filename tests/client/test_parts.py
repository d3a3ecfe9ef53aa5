"""The client's own small parts: elementary streams, pictures, the portal, sizes."""

import asyncio
import signal
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.client._annexb import AnnexB, nal_units, parameter_sets
from nvr.client._image import decode_jpeg, encode_jpeg, encode_png
from nvr.client._portal import acquire, release
from nvr.client._show import size_text
from nvr.errors import Closed, DamagedError, DecodeError, InternalError, InvalidArgument
from nvr.footage.bitmap_font import draw_text, text_mask, text_width
from nvr.footage.types import CodecConfig, LiveUnit


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_lengths_become_start_codes(units: list[bytes]) -> None:
    data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    assert nal_units(data) == b"".join(b"\0\0\0\1" + unit for unit in units)


@given(st.binary(max_size=64), st.sampled_from(["avc1.4d401f", "hvc1.1.6.L93.B0", "vp09"]))
def test_hostile_configurations_are_damage(extra_data: bytes, codec: str) -> None:
    try:
        found = parameter_sets(CodecConfig(codec, 0, 0, extra_data))
    except DamagedError:
        return
    assert len(found) <= 70 * len(extra_data) + 4


@given(st.binary(max_size=64))
def test_hostile_pictures_are_damage(data: bytes) -> None:
    try:
        found = nal_units(data)
    except DamagedError:
        return
    # Each length of 4 bytes became a start code of 4 bytes.
    assert len(found) == len(data)


@pytest.mark.parametrize(
    ("encoder", "codec", "decoder"), [("libx264", "avc1.64000a", "h264"), ("libx265", "hvc1.1", "hevc")]
)
def test_an_elementary_stream_plays(encoder: str, codec: str, decoder: str) -> None:
    """The pictures that went in come out of a decoder that sees only the stream."""
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = 64, 64, "yuv420p", Fraction(1, 25)
    context.options = {"g": "5", "bf": "0", "x265-params": "log-level=none:annexb=1"}
    packets = []
    for index in range(12):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index * 20, dtype=np.uint8), format="rgb24")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    config, converter, stream = None, AnnexB(), b""
    for index, packet in enumerate(packets):
        units = [unit for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        parameters = [unit for unit in units if _is_parameter_set(unit, decoder)]
        pictures = [unit for unit in units if not _is_parameter_set(unit, decoder)]
        first = config is None
        if first:
            config = CodecConfig(codec, 64, 64, _record(parameters, decoder))
        data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in pictures)
        unit = LiveUnit(False, index, index, packet.is_keyframe, data, "run", config if first else None)
        stream += converter.convert(unit)
    reader = av.CodecContext.create(decoder, "r")
    assert isinstance(reader, av.VideoCodecContext)
    decoded = [
        frame for chunk in (*reader.parse(stream), *reader.parse(None)) for frame in reader.decode(chunk)
    ]
    decoded += reader.decode(None)
    assert len(decoded) == 12


def _is_parameter_set(unit: bytes, decoder: str) -> bool:
    return unit[0] & 0x1F in (7, 8) if decoder == "h264" else unit[0] >> 1 & 0x3F in (32, 33, 34)


def _record(parameters: list[bytes], decoder: str) -> bytes:
    sized = [len(unit).to_bytes(2, "big") + unit for unit in parameters]
    if decoder == "h264":
        return bytes((1, 0, 0, 0, 0xFF, 0xE1)) + sized[0] + bytes((1,)) + sized[1]
    return bytes(22) + bytes((3,)) + b"".join(b"\x20\0\1" + unit for unit in sized)


def test_pictures_to_files_and_back() -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[:, :32] = (250, 10, 10)
    assert encode_png(image).startswith(b"\x89PNG\r\n\x1a\n")
    decoded = decode_jpeg(encode_jpeg(image, 95))
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image.astype(int)).mean() < 4
    assert len(encode_jpeg(image, 5)) <= len(encode_jpeg(image, 100))
    with pytest.raises(InvalidArgument):
        encode_jpeg(image, 0)
    with pytest.raises(DecodeError):
        decode_jpeg(b"no jpeg at all")


@given(st.text(max_size=12), st.integers(1, 3), st.integers(-60, 60), st.integers(-60, 60))
def test_text_is_drawn_and_cut_at_the_edge(text: str, scale: int, x: int, y: int) -> None:
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    draw_text(image, text, x, y, scale=scale)
    mask = text_mask(text, scale)
    assert mask.shape[0] == 7 * scale
    assert mask.shape[1] == text_width(text, scale)
    assert (image[:, :, 0] > 0).sum() <= mask.sum()


def test_sizes_for_people() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 1 << 20, 3 << 60)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.0 MiB",
        "3072.0 PiB",
    ]


def test_an_interrupted_call_is_cancelled_and_cleaned_up_before_it_returns() -> None:
    portal, started = acquire(), threading.Event()
    steps: list[str] = []
    main = threading.get_ident()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    def interrupt() -> None:
        started.wait()
        signal.pthread_kill(main, signal.SIGINT)

    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            portal.run(work())
        assert steps == ["cleaned up"]
    finally:
        release(portal)


def test_the_portal_ends_with_its_last_user_and_says_so() -> None:
    first, second = acquire(), acquire()
    assert first is second

    async def answer() -> int:
        return 42

    async def from_within() -> int:
        return first.run(answer())

    release(first)
    assert second.run(answer()) == 42
    with pytest.raises(InternalError, match="own event loop"):
        second.run(from_within())
    release(second)
    assert not second.alive
    with pytest.raises(Closed):
        second.run(answer())
