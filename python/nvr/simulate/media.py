"""Files as media for simulated cameras."""

from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from nvr import nal
from nvr._core import SimMedia
from nvr.errors import InvalidArgument

__all__ = ["load"]

_CODECS = {"h264": "h264", "hevc": "h265"}
_SOUND = {"aac": "aac", "pcm_mulaw": "ulaw", "pcm_alaw": "alaw"}
_G711_PACKET = 320
"""Bytes: 40 ms of one channel at 8 kHz, as cameras send them."""
_FALLBACK_TIMESCALE = 90_000


def load(path: str | PathLike[str]) -> SimMedia:
    """Loads the pictures (H.264, H.265) and the sound (AAC, G.711) of a file that PyAV opens.

    Nothing is decoded or changed: the NAL units are the file's, without the
    parameter sets, which the camera sends before each random-access point.
    Sound of another codec is left out. Times count from the first picture
    shown; its duration is that of the pictures.

    Raises:
        InvalidArgument: the file is no media, or has no pictures of these codecs.
        FileNotFoundError: there is no such file.

    """
    name = Path(path).name
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file to play")
    try:
        with av.open(str(path)) as container:
            return _load(name, container)
    except av.error.FFmpegError as error:
        raise InvalidArgument(f"{name}: cannot be read as media: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Sample:
    """A packet of a file."""

    data: bytes
    seconds: Fraction
    """When it is shown or heard."""


def _load(name: str, container: InputContainer) -> SimMedia:
    video = next((stream for stream in container.streams.video if stream.codec.name in _CODECS), None)
    if video is None:
        raise InvalidArgument(f"{name}: has no H.264 or H.265 pictures")
    audio = next((stream for stream in container.streams.audio if _can_be_sent(stream)), None)
    packets: list[_Sample] = []
    sound: list[_Sample] = []
    for packet in container.demux([stream for stream in (video, audio) if stream is not None]):
        if packet.size and packet.pts is not None and packet.time_base is not None:
            found = packets if packet.stream.index == video.index else sound
            found.append(_Sample(bytes(packet), packet.pts * packet.time_base))
    if not packets:
        raise InvalidArgument(f"{name}: has no pictures with a presentation time")

    codec = _CODECS[video.codec.name]
    record, samples = _split(codec, bytes(video.codec_context.extradata or b""), packets)
    timescale = _timescale(video)
    zero = min(packet.seconds for packet in packets)
    times = [round((packet.seconds - zero) * timescale) for packet in packets]
    context = audio.codec_context if audio is not None and sound else None
    media = SimMedia(
        codec=codec,
        extra_data=record,
        width=video.codec_context.width,
        height=video.codec_context.height,
        timescale=timescale,
        audio_codec=_SOUND[context.name] if context else "aac",
        audio_extra_data=bytes(context.extradata or b"") if context else b"",
        audio_sample_rate_hz=context.sample_rate if context else 0,
        audio_channels=context.channels if context else 0,
    )
    for sample, pts in zip(samples, times, strict=True):
        units = [unit for unit in sample if unit and not nal.is_parameter_set(codec, unit)]
        if units:
            media.add_video(nal.join(units), pts, any(nal.is_random_access(codec, unit) for unit in units))
    if context:
        if context.name != "aac":
            sound = _g711_packets(sound, context.sample_rate, context.channels)
        _add_sound(media, sound, zero, context.sample_rate)
    media.finish(max(times) + _last_duration(times, video, timescale))
    return media


def _split(codec: str, record: bytes, packets: list[_Sample]) -> tuple[bytes, list[list[bytes]]]:
    """The decoder configuration, and the NAL units of each picture."""
    if nal.is_length_prefixed(record):
        length_bytes = nal.length_bytes(codec, record)
        return record, [nal.split_length_prefixed(packet.data, length_bytes) for packet in packets]
    samples = [nal.split_annex_b(packet.data) for packet in packets]
    return nal.decoder_configuration(codec, [*nal.split_annex_b(record), *samples[0]]), samples


def _timescale(video: VideoStream) -> int:
    """The file's own clock where it can be: then times stay exact."""
    base = video.time_base
    return base.denominator if base is not None and base.numerator == 1 else _FALLBACK_TIMESCALE


def _can_be_sent(stream: AudioStream) -> bool:
    # Without its configuration (as in MPEG-TS) AAC cannot be described to a viewer.
    name = stream.codec.name
    return name in _SOUND and (name != "aac" or bool(stream.codec_context.extradata))


def _g711_packets(sound: list[_Sample], sample_rate_hz: int, channels: int) -> list[_Sample]:
    """The same in packets of a camera's size: files have it in pieces of any."""
    size = _G711_PACKET * channels
    return [
        _Sample(piece.data[at : at + size], piece.seconds + Fraction(at // channels, sample_rate_hz))
        for piece in sound
        for at in range(0, len(piece.data), size)
    ]


def _add_sound(media: SimMedia, sound: list[_Sample], zero: Fraction, sample_rate_hz: int) -> None:
    before = -1
    for frame in sound:
        pts = round((frame.seconds - zero) * sample_rate_hz)
        # The encoder's priming lies before zero; a file's rounding may make two frames coincide.
        if pts > before:
            media.add_audio(frame.data, pts)
            before = pts


def _last_duration(times: list[int], video: VideoStream, timescale: int) -> int:
    """How long the last picture is shown: as long as the one before it."""
    shown = sorted(times)
    if len(shown) > 1:
        return max(1, shown[-1] - shown[-2])
    return max(1, round(timescale / (video.average_rate or 1)))
