"""Reads one source until it ends, and says what comes."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from nvr.errors import InvalidArgument
from nvr.sources.failure import SourceError, classify
from nvr.sources.opening import READ_LIMIT_S, Opening
from nvr.sources.pace import Pacer
from nvr.sources.pictures import JpegPictures, Pictures
from nvr.sources.sound import FRAME_SAMPLES, OPUS_RATE_HZ, from_adts, opus_samples
from nvr.sources.wire import RecorderGoneError, Sound, Writer

__all__ = ["Reader"]

_Packet: TypeAlias = "Packet[Stream]"

_CODECS = {"h264": "h264", "hevc": "h265", "mjpeg": "jpeg"}
_SOUND = ("aac", "opus")
_OPEN_LIMIT_S = 20.0
_TICKS = 90_000
_WAIT_FOR_SOUND = 100
"""Packets that may come before the first of sound, where only that says what sound it is."""
_AT_ONCE_S = 0.008
"""A packet that took longer was waited for: those after it come as they are taken."""
_MOST_PAST = 2000
"""Packets since a random-access point."""
_SAME_TIME_S = 0.02
"""Containers round times of sound: so much off is still where the frame before ends."""
_MAX_MEDIA_S = 1 << 31
_AHEAD = {"analyzeduration": "3000000", "probesize": "5000000", "fpsprobesize": "0"}
"""How much libav reads to find out what there is: microseconds, bytes, and no pictures to guess their
rate from: what it keeps back until then comes at once, and looks late."""


class Reader:
    """One session with a source."""

    def __init__(
        self,
        source: Opening,
        writer: Writer,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._writer = writer
        self._sleep = sleep
        self._now = now
        self._pacer: Pacer | None = None
        self._codec = ""
        self._told_sets: list[bytes] = []
        self._left_out: list[str] = []
        self._sound: Sound | None = None
        self._next_sound: int | None = None
        self._shift_s = Fraction(0)
        """What is added to media times: looped, they go on."""
        self._end_s = Fraction(0)

    def run(self) -> SourceError:
        """Until the source ends; why it did. Raises :exc:`RecorderGoneError`."""
        while True:
            failure = self._play()
            # Only its end is a reason to play it anew at once.
            if not (self._source.loop and failure.reason == "disconnected" and self._end_s > self._shift_s):
                return failure
            self._shift_s = self._end_s

    def _play(self) -> SourceError:
        opened = False
        try:
            with av.open(
                self._source.name,
                "r",
                format=self._source.format,
                options=_AHEAD | self._source.options,
                metadata_errors="replace",
                timeout=(_OPEN_LIMIT_S, READ_LIMIT_S),
            ) as container:
                opened = True
                self._demux(container)
        except RecorderGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - the recorder gets it as a reason; a defect of ours as well
            return classify(error, opened=opened, scheme=self._source.scheme)
        return SourceError("disconnected", "the source has ended")

    def _demux(self, container: InputContainer) -> None:
        video = _video(container)
        self._codec = _CODECS[_codec(video)]
        audio = next((each for each in container.streams.audio if _codec(each) in _SOUND), None)
        for stream in container.streams:
            if stream not in (video, audio):
                # HLS fetches all qualities otherwise.
                stream.discard = Discard.all
        live = not (self._source.recorded or container.format.name == "hls" or container.duration)
        if self._pacer is None:
            others = [each for each in container.streams.audio if each is not audio]
            self._left_out = [f"audio {_codec(each).upper()}" for each in others]
            self._pacer = Pacer(live=live)
        pictures: Pictures | JpegPictures = JpegPictures()
        if self._codec != "jpeg":
            pictures = Pictures(self._codec, bytes(video.codec_context.extradata or b""))
        # Pictures in a multipart answer have no times.
        by_arrival = container.format.name == "mpjpeg"
        packets = container.demux([stream for stream in (video, audio) if stream is not None])
        # Looped, times count from zero; else they stay the source's own.
        zero_s = Fraction(container.start_time or 0, av.time_base) if self._source.loop else Fraction(0)
        packets = self._know_sound(packets, audio)
        if live and not self._told_sets:
            packets = self._from_the_newest(packets, video.index)
        for packet in packets:
            base = packet.time_base
            time_at = packet.pts if packet.pts is not None else packet.dts
            if by_arrival and time_at is None:
                time_at = 0
            if not packet.size or time_at is None or base is None:
                continue
            media_s = Fraction(self._now()) if by_arrival else time_at * base - zero_s + self._shift_s
            if abs(media_s) > _MAX_MEDIA_S:
                raise SourceError("protocol_error", "its times are out of any range")
            if packet.stream.index == video.index:
                late_s = (time_at - packet.dts) * base if packet.dts is not None else Fraction(0)
                if (hold_s := self._pacer.hold(float(media_s - late_s), self._now())) > 0:
                    self._sleep(hold_s)
                self._picture(pictures, packet, media_s)
                self._end_s = max(self._end_s, media_s + (packet.duration or 0) * base)
            elif self._told_sets:
                self._frame(bytes(packet), media_s)

    def _know_sound(self, packets: Iterator[_Packet], audio: AudioStream | None) -> Iterator[_Packet]:
        """The packets, when it is known what sound there is."""
        if audio is None or self._sound is not None:
            return packets
        context = audio.codec_context
        if _codec(audio) == "opus":
            self._sound = Sound(b"", OPUS_RATE_HZ, min(context.channels, 2), "opus")
            return packets
        if config := bytes(context.extradata or b""):
            self._sound = Sound(config, context.sample_rate, context.channels)
            return packets
        ahead = []
        for packet in packets:
            ahead.append(packet)
            if packet.stream.index == audio.index and (found := from_adts(bytes(packet))):
                self._sound, _ = found
                break
            if len(ahead) == _WAIT_FOR_SOUND:
                self._left_out.append("audio AAC (none came)")
                break
        return chain(ahead, packets)

    def _from_the_newest(self, packets: Iterator[_Packet], video: int) -> Iterator[_Packet]:
        """The packets, without those at the beginning that are past: servers and libav keep some back.

        They come all at once, and would be taken for pictures of now. Of these, what
        comes before the newest random-access point is left out.
        """
        past: list[_Packet] = []
        asked_s = self._now()
        for packet in packets:
            now_s = self._now()
            if packet.stream.index == video and packet.is_keyframe:
                past.clear()
            past.append(packet)
            if now_s - asked_s > _AT_ONCE_S or len(past) == _MOST_PAST:
                break
            asked_s = now_s
        return chain(past, packets)

    def _picture(self, pictures: Pictures | JpegPictures, packet: _Packet, media_s: Fraction) -> None:
        try:
            if packet.has_sidedata("new_extradata"):
                pictures.new_record(bytes(packet.get_sidedata("new_extradata")))
            units = pictures.units(bytes(packet))
        except InvalidArgument as error:
            raise SourceError("protocol_error", error.message) from error
        sets = pictures.parameter_sets
        if not sets or not units:
            return
        if not self._told_sets:
            self._writer.begin(self._codec, sets, self._sound, ", ".join(self._left_out))
        elif sets != self._told_sets:
            self._writer.parameters(self._codec, sets)
        self._told_sets = sets
        self._writer.picture(round(media_s * _TICKS), units)

    def _frame(self, data: bytes, media_s: Fraction) -> None:
        if self._sound is None:
            return
        lasts = FRAME_SAMPLES
        if self._sound.codec == "opus":
            lasts = opus_samples(data)
            if not lasts:
                return
        elif found := from_adts(data):
            _, data = found
        rate_hz = self._sound.sample_rate_hz
        at = round(media_s * rate_hz)
        if self._next_sound is not None and abs(at - self._next_sound) <= rate_hz * _SAME_TIME_S:
            at = self._next_sound
        self._next_sound = at + lasts
        self._writer.sound(at, lasts, data)


def _codec(stream: Stream) -> str:
    # There is no context for what libav has no decoder for; PyAV's types do not know.
    context: CodecContext | None = stream.codec_context
    return "unknown" if context is None else context.codec.name


def _video(container: InputContainer) -> VideoStream:
    """The largest picture that can be recorded."""
    known = [stream for stream in container.streams.video if _codec(stream) in _CODECS]
    if not known:
        offered = ", ".join(f"{each.type} {_codec(each).upper()}" for each in container.streams) or "nothing"
        raise SourceError(
            "codec_not_supported",
            f"the source offers {offered}; only video in H.264, H.265 or JPEG can be recorded",
        )

    def rank(stream: VideoStream) -> tuple[bool, int]:
        # A JPEG beside other video is a film's cover.
        return _codec(stream) != "mjpeg", stream.codec_context.width * stream.codec_context.height

    return max(known, key=rank)
