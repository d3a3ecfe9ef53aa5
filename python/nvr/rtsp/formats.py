"""From footage's codec configuration to that of RTSP."""

from typing import TYPE_CHECKING

from nvr.errors import CodecUnsupported, DamagedError
from nvr.footage.types import CodecConfig

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["format_of"]

_CODECS = {"avc1": "h264", "avc3": "h264", "hvc1": "h265", "hev1": "h265"}


def format_of(config: CodecConfig) -> "_core.RtspFormat":
    """What clients are told of it.

    Raises :exc:`CodecUnsupported` for JPEG, :exc:`DamagedError` for a codec that is not known.
    """
    from nvr import _core

    codec = _CODECS.get(config.video_codec.partition(".")[0])
    if config.video_codec == "mp4v.6C":
        raise CodecUnsupported("JPEG pictures are not given over RTSP: use a clip, snapshots or the client")
    if codec is None:
        raise DamagedError(f"'{config.video_codec}' is no codec that is recorded")
    return _core.RtspFormat(
        codec=codec,
        extra_data=config.video_extra_data,
        width=config.width,
        height=config.height,
        audio_codec=config.audio_codec or "aac",
        audio_extra_data=config.audio_extra_data,
        audio_sample_rate_hz=config.audio_sample_rate_hz,
    )
