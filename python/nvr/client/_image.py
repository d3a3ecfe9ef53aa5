"""Pictures to and from files, by PyAV's coders (which is loaded only here)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nvr.errors import DecodeError, InvalidArgument
from nvr.footage.types import Picture, PictureFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A (height, width, 3) RGB picture as PNG."""
    return _encode(image, "png", "rgb24", {})


def encode_jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """A (height, width, 3) RGB picture as JPEG (ITU-T T.81), full range; ``quality`` 1 to 100."""
    if not 1 <= quality <= 100:
        raise InvalidArgument(f"JPEG quality {quality} is not between 1 and 100", field="quality")
    # mjpeg's quantiser scale runs from 1 (best) to 31.
    scale = str(round(31 - (quality - 1) * 30 / 99))
    return _encode(image, "mjpeg", "yuvj444p", {"qmin": scale, "qmax": scale})


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """A JPEG as a (height, width, 3) RGB picture; raises :exc:`nvr.errors.DecodeError`."""
    import av
    import numpy as np

    decoder = av.VideoCodecContext.create("mjpeg", "r")
    try:
        for packet in (av.Packet(data), None):
            for frame in decoder.decode(packet):
                return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except av.FFmpegError as error:
        raise DecodeError(f"the picture is not a JPEG that can be decoded: {error}") from error
    raise DecodeError("the picture's JPEG holds no picture")


def picture_array(picture: Picture) -> NDArray[np.uint8]:
    """A decoded picture as a writable (height, width, 3) RGB array."""
    import numpy as np

    if picture.format is PictureFormat.JPEG:
        return decode_jpeg(picture.data)
    expected = picture.height * picture.width * 3
    if len(picture.data) != expected:
        raise DecodeError(
            f"a picture of {picture.width}x{picture.height} has {len(picture.data)} bytes, not {expected}"
        )
    return np.frombuffer(picture.data, dtype=np.uint8).reshape(picture.height, picture.width, 3).copy()


def _encode(image: NDArray[np.uint8], codec: str, pixel_format: str, options: dict[str, str]) -> bytes:
    from fractions import Fraction

    import av

    height, width = image.shape[:2]
    encoder = av.VideoCodecContext.create(codec, "w")
    if not isinstance(encoder, av.VideoCodecContext):
        raise TypeError(f"{codec} codes no pictures")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixel_format
    encoder.time_base = Fraction(1, 1)
    encoder.options = options
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    if pixel_format != "rgb24":
        frame = frame.reformat(format=pixel_format, dst_color_range="JPEG")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
