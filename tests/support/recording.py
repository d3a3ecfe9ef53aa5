"""Recording a file's packets through the Rust core, as if a camera sent them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from nvr import _core, nal

_TICKS = 90_000
_SECOND_US = 1_000_000


@dataclass(frozen=True)
class Sample:
    """A picture as length-prefixed NAL units, or a frame of sound."""

    data: bytes
    time: Fraction
    """Media time in seconds, 0 at the first picture shown."""


@dataclass(frozen=True)
class Media:
    codec: str
    record: bytes
    width: int
    height: int
    step: Fraction
    """Seconds between pictures."""
    pictures: list[Sample]
    """In decoding order."""
    sound: list[Sample]
    audio_config: bytes
    sample_rate_hz: int

    @property
    def delay(self) -> Fraction:
        """A camera sends a picture when those shown before it, but sent later, have been taken."""
        return max(picture.time - index * self.step for index, picture in enumerate(self.pictures))

    @property
    def arrivals(self) -> list[tuple[Fraction, Sample]]:
        """What arrives, pictures and sound, in order: seconds since media time zero, and what."""
        pictures = [(n * self.step + self.delay, picture) for n, picture in enumerate(self.pictures)]
        sound = [(frame.time, frame) for frame in self.sound]
        return sorted(pictures + sound, key=lambda arrival: arrival[0])


def read_media(path: Path, *, sound: bool = False) -> Media:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        codec = "h265" if video.codec.name == "hevc" else "h264"
        record = bytes(video.codec_context.extradata or b"")
        length_bytes = nal.length_bytes(codec, record)
        audio = container.streams.audio[0] if sound else None
        packets = [
            (packet.stream.index, bytes(packet), Fraction(packet.pts or 0) * (packet.time_base or 1))
            for packet in container.demux([stream for stream in (video, audio) if stream is not None])
            if packet.size
        ]
        zero = min(time for index, _, time in packets if index == video.index)
        pictures = [
            Sample(
                nal.join(
                    unit
                    for unit in nal.split_length_prefixed(data, length_bytes)
                    if not nal.is_parameter_set(codec, unit)
                ),
                time - zero,
            )
            for index, data, time in packets
            if index == video.index
        ]
        # The encoder's priming lies before zero.
        frames = [
            Sample(data, time - zero)
            for index, data, time in packets
            if index != video.index and time >= zero
        ]
        return Media(
            codec=codec,
            record=record,
            width=video.width,
            height=video.height,
            step=1 / Fraction(video.average_rate or 1),
            pictures=pictures,
            sound=frames,
            audio_config=bytes(audio.codec_context.extradata or b"") if audio else b"",
            sample_rate_hz=audio.codec_context.sample_rate if audio else 0,
        )


def begin(writer: _core.StreamWriter, media: Media, *, metadata: bool = False) -> _core.StreamWriter:
    writer.begin(
        codec=media.codec,
        extra_data=media.record,
        width=media.width,
        height=media.height,
        audio_extra_data=media.audio_config,
        audio_sample_rate_hz=media.sample_rate_hz,
        audio_channels=1 if media.sample_rate_hz else 0,
        metadata=metadata,
    )
    return writer


def send(writer: _core.StreamWriter, media: Media, start_us: int, part: slice | None = None) -> None:
    """Writes what arrives (or a part of it); media time zero is shown at ``start_us``."""
    sound = {id(frame) for frame in media.sound}
    for at, sample in media.arrivals[part or slice(None)]:
        arrival_us = start_us + int(at * _SECOND_US)
        if id(sample) in sound:
            # A raw AAC frame has 1024 samples (ISO/IEC 14496-3, 4.5.1.1).
            writer.audio(sample.data, round(sample.time * media.sample_rate_hz), 1024, arrival_us)
        else:
            writer.video(sample.data, int(sample.time * _TICKS), arrival_us)
