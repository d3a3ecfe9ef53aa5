"""The media time in the picture is read back, and nothing else is taken for one."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr.simulate import timecode

from .conftest import rgb

TIMES = st.integers(0, 2**32 - 1)


def scene(width: int, height: int, seed: int) -> timecode.Image:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)


@settings(deadline=None)
@given(TIMES, st.integers(timecode.MIN_WIDTH, 1000), st.integers(0, 5))
def test_comes_back_at_any_width(media_ms: int, width: int, seed: int) -> None:
    frame = scene(width, width * 9 // 16, seed)
    timecode.draw(frame, media_ms)
    assert timecode.read(frame) == media_ms


@settings(deadline=None)
@given(TIMES, st.integers(160, 500))
def test_survives_scaling_down_by_two(media_ms: int, half_width: int) -> None:
    frame = scene(half_width * 2, half_width * 2 * 9 // 16 // 2 * 2, 0)
    timecode.draw(frame, media_ms)
    halves = frame.reshape(frame.shape[0] // 2, 2, half_width, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    assert timecode.read(halves) == media_ms


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 47))
def test_one_wrong_block_is_noticed(media_ms: int, block: int) -> None:
    frame = np.zeros((360, 640, 3), np.uint8)
    timecode.draw(frame, media_ms)
    cell = 640 / 26
    row, column = divmod(block, 24)
    top, left = round((1.3 + 0.6 * row) * cell), round((column + 1) * cell)
    bottom, right = round((1.9 + 0.6 * row) * cell), round((column + 2) * cell)
    frame[top:bottom, left:right] = 255 - frame[top:bottom, left:right]
    assert timecode.read(frame) is None


@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
def test_flat_pictures_have_none(level: int) -> None:
    assert timecode.read(np.full((360, 640, 3), level, np.uint8)) is None


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400), st.integers(1, 400))
def test_noise_has_none(seed: int, width: int, height: int) -> None:
    assert timecode.read(scene(width, height, seed)) is None


@pytest.mark.parametrize("media_ms", [-1, 2**32])
def test_times_out_of_range_are_refused(media_ms: int) -> None:
    with pytest.raises(ValueError, match="media_ms"):
        timecode.draw(np.zeros((360, 640, 3), np.uint8), media_ms)


@pytest.mark.parametrize(("width", "height"), [(158, 90), (640, 60)])
def test_pictures_without_room_are_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="no room"):
        timecode.draw(np.zeros((height, width, 3), np.uint8), 0)


@pytest.mark.parametrize(("width", "bit_rate"), [(320, 40_000), (640, 80_000), (1280, 200_000)])
def test_survives_x264_at_a_low_bit_rate(width: int, bit_rate: int) -> None:
    """Coded, decoded, and scaled down by two, over a background that moves."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    height = width * 9 // 16 // 2 * 2
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate, encoder.framerate, encoder.time_base = bit_rate, Fraction(15), Fraction(1, 15)
    rate = bit_rate // 1000
    encoder.options = {
        "preset": "superfast",
        "x264-params": f"keyint=75:vbv-maxrate={rate}:vbv-bufsize={rate}",
    }
    background = scene(width + 64, height, 1) // 4 + 60
    times = [index * 1000 // 15 + 3_600_000 for index in range(45)]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    packets = []
    for index, media_ms in enumerate(times):
        picture = np.ascontiguousarray(background[:, index : index + width])
        timecode.draw(picture, media_ms)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    assert [timecode.read(rgb(frame)) for frame in decoded] == times
    halves = [frame.reformat(width=width // 2, height=height // 2) for frame in decoded]
    assert [timecode.read(rgb(frame)) for frame in halves] == times
