"""From stored samples to pictures: decoded by PyAV, which is imported when the first one is asked for.

The functions block and are meant for a thread of their own. Samples are
length-prefixed NAL units as in the file, which libavcodec takes as they are
when the decoder configuration record (ISO/IEC 14496-15, avcC or hvcC) is given
as extra data.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from nvr.errors import DecodeError
from nvr.footage.types import PictureFormat, PictureOptions

if TYPE_CHECKING:
    import av
    import av.video.frame

__all__ = ["Image", "decode_pictures", "fitted"]

_DECODERS = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4v": "mjpeg"}
_FROM_HEIGHT_BT709 = 720


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded picture: JPEG bytes, or RGB rows without padding."""

    width: int
    height: int
    data: bytes


def fitted(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The size scaled down to fit, keeping the shape; 0: no limit. Never scaled up."""
    numerator, denominator = 1, 1
    for size, limit in ((width, max_width), (height, max_height)):
        if limit and limit * denominator < size * numerator:
            numerator, denominator = limit, size
    if numerator == denominator:
        return width, height

    def scaled(size: int) -> int:
        return max(1, (2 * size * numerator + denominator) // (2 * denominator))

    return scaled(width), scaled(height)


def decode_pictures(
    video_codec: str,
    extra_data: bytes,
    samples: Sequence[tuple[bytes, int]],
    wanted: Sequence[int],
    options: PictureOptions,
) -> Generator[tuple[int, Image]]:
    """The wanted pictures of a group, in order of presentation.

    ``samples``: data and presentation time in decoding order, from a
    random-access point on; ``wanted``: presentation times. Nothing behind the
    last wanted sample is decoded. A picture that needs others from before the
    group is left out. Raises :exc:`DecodeError` for damage that the decoder
    sees; what a camera codes a little wrong is shown all the same.
    """
    import av
    import av.error

    name = _DECODERS.get(video_codec.partition(".")[0])
    if name is None:
        raise DecodeError(f"pictures of codec {video_codec!r} cannot be decoded here")
    missing = set(wanted)
    last = max((index for index, sample in enumerate(samples) if sample[1] in missing), default=-1)
    encoder = _Encoder(options)
    try:
        for frame in _decoded(name, extra_data, samples[: last + 1]):
            if frame.pts not in missing:
                continue
            missing.discard(frame.pts)
            if frame.is_corrupt:
                raise DecodeError(f"the picture at {frame.pts} (1/90,000 s) is damaged")
            yield frame.pts, encoder.encode(frame)
            if not missing:
                return
    except av.error.FFmpegError as error:
        raise DecodeError(f"{name}: the stored pictures cannot be decoded: {error.strerror}") from error


def _decoded(
    name: str, extra_data: bytes, samples: Sequence[tuple[bytes, int]]
) -> "Iterator[av.video.frame.VideoFrame]":
    import av
    from av.video.codeccontext import VideoCodecContext

    decoder = av.CodecContext.create(name, "r")
    if not isinstance(decoder, VideoCodecContext):
        raise DecodeError(f"{name} is not a video decoder")
    decoder.extradata = extra_data
    # Threads of its own would delay pictures and hold more of them in memory.
    decoder.thread_count = 1
    for index, (data, pts) in enumerate(samples):
        packet = av.Packet(data)
        packet.pts, packet.dts = pts, index
        packet.is_keyframe = index == 0
        yield from decoder.decode(packet)
    yield from decoder.decode(None)


class _Encoder:
    """Scales and codes pictures; keeps the JPEG encoder while the size stays."""

    def __init__(self, options: PictureOptions) -> None:
        self._options = options
        self._jpeg: Any = None

    def encode(self, frame: "av.video.frame.VideoFrame") -> Image:
        width, height = fitted(frame.width, frame.height, self._options.max_width, self._options.max_height)
        if self._options.format is PictureFormat.RGB24:
            rgb = frame.reformat(
                width, height, "rgb24", src_colorspace=_colorspace(frame), interpolation="AREA"
            )
            return Image(width, height, _rows(rgb))
        # JFIF is full range and BT.601, whatever the camera's video is.
        full = frame.reformat(
            width,
            height,
            "yuvj420p",
            src_colorspace=_colorspace(frame),
            dst_colorspace="ITU601",
            dst_color_range="JPEG",
            interpolation="AREA",
        )
        full.pts = None
        return Image(width, height, self._jpeg_of(full))

    def _jpeg_of(self, frame: "av.video.frame.VideoFrame") -> bytes:
        import av

        if self._jpeg is None or (self._jpeg.width, self._jpeg.height) != (frame.width, frame.height):
            encoder: Any = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
            encoder.time_base = Fraction(1, 25)
            encoder.thread_count = 1
            scale = str(_quantizer(self._options.jpeg_quality))
            encoder.options = {"qmin": scale, "qmax": scale}
            self._jpeg = encoder
        packets = self._jpeg.encode(frame)
        if len(packets) != 1:
            raise DecodeError("the JPEG encoder gave no picture")
        return bytes(packets[0])


def _quantizer(quality: int) -> int:
    """The quantizer scale (8: the tables as they are) for a quality as libjpeg counts it."""
    percent = 5000 / max(1, quality) if quality < 50 else 200 - 2 * quality
    return min(31, max(1, round(percent * 8 / 100)))


def _colorspace(frame: "av.video.frame.VideoFrame") -> str:
    """The matrix that the stream names, or the usual one for its size."""
    bt709, unknown = 1, 2
    if frame.colorspace == bt709:
        return "ITU709"
    if frame.colorspace == unknown and frame.height >= _FROM_HEIGHT_BT709:
        return "ITU709"
    return "ITU601"


def _rows(frame: "av.video.frame.VideoFrame") -> bytes:
    plane = frame.planes[0]
    row, stride = frame.width * 3, plane.line_size
    data = memoryview(plane)
    if row == stride:
        return bytes(data[: row * frame.height])
    return b"".join(data[start : start + row] for start in range(0, stride * frame.height, stride))
