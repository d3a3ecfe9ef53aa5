"""Decoding: exactly the pictures that are wanted, in their colours, and damage is told."""

import io
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import DecodeError
from nvr.footage.types import PictureFormat, PictureOptions
from nvr.recorder.pictures import Image, decode_pictures, fitted

WIDTH, HEIGHT, COUNT, GOP = 322, 242, 40, 20
RGB = PictureOptions(PictureFormat.RGB24)
Samples = list[tuple[bytes, int]]


def level(index: int) -> int:
    """The grey of a picture: which one it is shows in it."""
    return 16 + index * 5


def encoded(codec: str) -> tuple[str, bytes, Samples]:
    """A file with B-frames, as stored: RFC 6381 name, decoder configuration, samples in decoding order."""
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 12, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "bf": "3",
            "g": str(GOP),
            "x265-params": f"bframes=3:keyint={GOP}:open-gop=0:scenecut=0:log-level=none:pools=1",
        }
        if codec == "libx264":
            stream.options = {"bf": "3", "g": str(GOP), "sc_threshold": "0"}
        for index in range(COUNT):
            pixels = np.repeat(noise + level(index), 3, axis=2)
            frame = VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        video = container.streams.video[0]
        record = video.codec_context.extradata or b""
        tick = video.time_base or Fraction(1)
        samples = [
            (bytes(packet), round((packet.pts or 0) * tick * 90_000))
            for packet in container.demux(video)
            if packet.size
        ]
    return {"libx264": "avc1.64000d", "libx265": "hvc1.1.6.L60.90"}[codec], record, samples


@pytest.fixture(scope="module", params=["libx264", "libx265"])
def stored(request: pytest.FixtureRequest) -> tuple[str, bytes, Samples]:
    return encoded(request.param)


def brightness(image: Image) -> float:
    assert len(image.data) == image.width * image.height * 3
    return float(np.frombuffer(image.data, np.uint8).mean())


def test_every_instant_of_a_group_is_its_own_picture(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    shown = sorted(pts for _, pts in samples)
    group = samples[:GOP]
    wanted = sorted(pts for _, pts in group)
    assert [pts for _, pts in group] != wanted, "no B-frames: the test shows nothing"
    found = list(decode_pictures(codec, record, group, wanted, RGB))
    assert [pts for pts, _ in found] == wanted
    for pts, image in found:
        assert abs(brightness(image) - level(shown.index(pts)) - 5.5) < 3


def test_one_picture_needs_no_more_than_what_comes_before_it(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    for index, (_, pts) in enumerate(samples[:GOP]):
        broken = samples[: index + 1] + [(b"\0\0\0\1\xff", pts) for _, pts in samples[index + 1 : GOP]]
        ((found, _),) = decode_pictures(codec, record, broken, [pts], RGB)
        assert found == pts


def test_later_groups_decode_from_their_own_start(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    wanted = [samples[GOP][1]]
    assert [pts for pts, _ in decode_pictures(codec, record, samples[GOP:], wanted, RGB)] == wanted


def test_jpeg_is_full_range_and_as_good_as_asked(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    wanted = [samples[0][1]]

    def jpeg(quality: int) -> bytes:
        ((_, image),) = decode_pictures(codec, record, samples, wanted, PictureOptions(jpeg_quality=quality))
        return image.data

    ((_, plain),) = decode_pictures(codec, record, samples, wanted, RGB)
    with av.open(io.BytesIO(jpeg(95)), "r", format="jpeg_pipe") as container:
        (frame,) = container.decode(video=0)
    assert frame.format.name == "yuvj420p"
    pixels = frame.to_ndarray(format="rgb24").astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    original = np.frombuffer(plain.data, np.uint8).reshape(pixels.shape).astype(int)
    assert abs(pixels - original).mean() < 3
    sizes = [len(jpeg(quality)) for quality in (1, 30, 60, 85, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_scaled_down_keeping_the_shape(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    for form in PictureFormat:
        options = PictureOptions(form, max_width=100, max_height=1000)
        ((_, image),) = decode_pictures(codec, record, samples, [samples[0][1]], options)
        assert (image.width, image.height) == (100, 75)


@given(*itertools.repeat(st.integers(1, 16384), 2), *itertools.repeat(st.integers(0, 16384), 2))
def test_fitting(width: int, height: int, max_width: int, max_height: int) -> None:
    new_width, new_height = fitted(width, height, max_width, max_height)
    assert 1 <= new_width <= min(width, max_width or width)
    assert 1 <= new_height <= min(height, max_height or height)
    if not ((max_width and max_width < width) or (max_height and max_height < height)):
        assert (new_width, new_height) == (width, height)
    # The shape, to half a pixel of the smaller picture.
    assert abs(new_width * height - new_height * width) <= max(width, height)


def test_damage_is_told(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    data, pts = samples[0]
    with pytest.raises(DecodeError):
        list(decode_pictures(codec, record, [(data[: len(data) // 2], pts)], [pts], RGB))


def test_a_picture_whose_start_is_missing_is_left_out_or_told(stored: tuple[str, bytes, Samples]) -> None:
    codec, record, samples = stored
    try:
        found = list(decode_pictures(codec, record, samples[5:GOP], [samples[10][1]], RGB))
    except DecodeError:
        return
    assert found == []


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_bytes_are_refused_or_give_nothing(data: bytes, record: bytes) -> None:
    for codec in ("avc1.64000d", "hvc1.1.6.L60.90"):
        try:
            assert list(decode_pictures(codec, record, [(data, 0)], [0], RGB)) == []
        except DecodeError:
            continue


def test_a_codec_that_is_not_known() -> None:
    with pytest.raises(DecodeError, match="av01"):
        list(decode_pictures("av01.0", b"", [(b"x", 0)], [0], RGB))
