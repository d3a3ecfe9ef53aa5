"""What ffmpeg sends over each protocol is recorded as it is, bit for bit."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import av
import pytest

from nvr import nal
from nvr._core import Store
from nvr.sources.sound import from_adts
from tests.ingest.pictures import ALL_TIME, samples_of
from tests.sources.conftest import SourceRecorder
from tests.sources.senders import Sender, ffmpeg, sending, web_server
from tests.support.processes import free_port

T = TypeVar("T")
ENOUGH = 100
"""Pictures: nearly twice round the file."""


def units_of(codec: str, packet: bytes, record: bytes) -> list[bytes]:
    """NAL units of a packet but for parameter sets and delimiters.

    Muxers of ffmpeg add access unit delimiters where a format asks for them.
    """
    if nal.is_length_prefixed(record):
        units = nal.split_length_prefixed(packet, nal.length_bytes(codec, record))
    else:
        units = nal.split_annex_b(packet)
    delimiter = 9 if codec == "h264" else 35
    return [u for u in units if not nal.is_parameter_set(codec, u) and nal.kind(codec, u) != delimiter]


def sent_pictures(path: Path, codec: str) -> list[list[bytes]]:
    with av.open(path) as container:
        video = container.streams.video[0]
        record = bytes(video.codec_context.extradata or b"")
        return [units_of(codec, bytes(p), record) for p in container.demux(video) if p.size]


def sent_sound(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def recorded(root: Path, camera_id: str, codec: str) -> tuple[list[list[bytes]], list[int]]:
    """Units of each picture, in decoding order, and presentation times in 1/90,000 s."""
    samples = samples_of(root, camera_id)
    prefixed = bytes([1, 0, 0, 0, 0xFF, 0xE1, 0]) if codec == "h264" else bytes([1] * 21 + [3, 0])
    return [units_of(codec, data, prefixed) for data in samples.values()], list(samples)


def looped(file: Path, folder: Path) -> Path:
    """A file over and over, as ffmpeg sends it: it has its own way where an end meets the beginning."""
    sent = folder / "sent.ts"
    if not sent.exists():
        ffmpeg("-stream_loop", "15", "-i", file, "-c", "copy", sent)
    return sent


def is_part(got: list[T], sent: list[T]) -> bool:
    """Whether ``got`` is somewhere in ``sent``, with nothing missing and nothing between."""
    return any(sent[start : start + len(got)] == got for start in range(len(sent)))


def source(protocol: str, file: Path, folder: Path, stack: ExitStack) -> str:
    """Starts a sender; the address to record."""
    port = free_port()
    match protocol:
        case "file":
            return f"file:{file}?loop=1"
        case "udp":
            stack.enter_context(sending(file, "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"))
            return f"udp://127.0.0.1:{port}"
        case "tcp":
            stack.enter_context(sending(file, "-f", "mpegts", f"tcp://127.0.0.1:{port}?listen=1"))
            return f"tcp://127.0.0.1:{port}"
        case "http":
            address = f"http://127.0.0.1:{port}/live.ts"
            stack.enter_context(sending(file, "-f", "mpegts", "-listen", "1", address))
            return address
        case "rtmp":
            address = f"rtmp://127.0.0.1:{port}/live/gate"
            stack.enter_context(sending(file, "-f", "flv", "-listen", "1", address))
            return address
        case _:
            hls = folder / "hls"
            hls.mkdir()
            # Not longer than two groups, so that several are there soon.
            options = ["-hls_time", "1", "-hls_list_size", "5", "-hls_flags", "delete_segments"]
            if protocol == "hls-mp4":
                options += ["-hls_segment_type", "fmp4"]
            stack.enter_context(sending(file, "-f", "hls", *options, hls / "live.m3u8"))
            web_port, _ = stack.enter_context(web_server(hls))
            return f"http://127.0.0.1:{web_port}/live.m3u8"


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("file", "h264"),
        ("file", "h265-open-gop"),
        ("udp", "h264"),
        ("udp", "h264-b-frames"),
        ("udp", "h265-open-gop"),
        ("tcp", "h265-open-gop"),
        ("http", "h264"),
        ("rtmp", "h264"),
        ("rtmp", "h264-b-frames"),
        ("hls", "h264"),
        ("hls-mp4", "h264-b-frames"),
    ],
)
def test_pictures_and_sound_are_what_was_sent(
    protocol: str, name: str, scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    codec = "h265" if name.startswith("h265") else "h264"
    with ExitStack() as stack:
        recorder.record(source(protocol, scenes[name], tmp_path, stack))
        status = recorder.wait_until("many pictures", lambda s: s.frames >= ENOUGH)
        assert (status.state, status.width, status.height) == ("recording", 320, 180)
        assert status.video_codec.startswith("avc1." if codec == "h264" else "hvc1.")
        assert status.audio_codec == ("mp4a.40.2" if name == "h264" else "")
        recorder.stop()
    pictures, times = recorded(recorder.root, recorder.camera_id, codec)
    assert len(pictures) >= ENOUGH - 30
    if protocol == "file":
        sent = sent_pictures(scenes[name], codec) * 5
    else:
        sent = sent_pictures(looped(scenes[name], tmp_path), codec)
    if name == "h265-open-gop":
        # Pictures that are shown before the first keyframe and refer past it are not recorded.
        second = [n for n, units in enumerate(pictures) if nal.is_random_access(codec, units[-1])][1]
        pictures = pictures[second:]
    assert is_part(pictures, sent)
    assert len(set(times)) == len(times)


def test_sound_is_what_was_sent(scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path) -> None:
    with ExitStack() as stack:
        recorder.record(source("udp", scenes["h264"], tmp_path, stack))
        recorder.wait_until("many pictures", lambda s: s.frames >= ENOUGH)
        recorder.stop()
    # Sound of MPEG-TS has headers, those of MP4 has none.
    files = sorted((recorder.root / recorder.camera_id / "main").glob("*/*.mp4"))
    got = [packet for file in files for packet in sent_sound(file)]
    with_headers = sent_sound(looped(scenes["h264"], tmp_path))
    sent = [frame for _, frame in filter(None, map(from_adts, with_headers))]
    assert len(got) > 50
    assert is_part(got, sent)


@pytest.mark.parametrize("protocol", ["file", "hls", "rtmp", "udp"])
def test_times_are_those_of_the_wall(
    protocol: str, scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    """One run, as long as it took, also where seconds of pictures come at once."""
    with ExitStack() as stack:
        recorder.record(source(protocol, scenes["h264"], tmp_path, stack))
        recorder.wait_until("the first picture", lambda s: s.frames > 0)
        began_us = time.time_ns() // 1000
        recorder.wait_until("many pictures", lambda s: s.frames >= 150)
        ended_us = time.time_ns() // 1000
        recorder.stop()
    store = Store([str(recorder.root)], read_only=True)
    (run,) = store.runs(recorder.camera_id, "main", *ALL_TIME)
    store.close()
    # Within a second: the joining group, and a machine that is busy with other things.
    assert run.start_us == pytest.approx(began_us, abs=1_500_000)
    assert run.end_us == pytest.approx(ended_us, abs=1_500_000)


def test_another_resolution_is_a_new_part(
    scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    """Parameter sets that change in the stream, as a night switch does."""
    large = tmp_path / "large.mp4"
    ffmpeg("-i", scenes["h264"], "-vf", "scale=640:360", "-an", "-t", "2", "-c:v", "libx264", large)
    both = tmp_path / "both.ts"
    parts = (scenes["h264"], large)
    streams = [ffmpeg("-i", part, "-an", "-c", "copy", "-f", "mpegts", "-") for part in parts]
    both.write_bytes(b"".join(streams))
    recorder.record(f"file:{both}")
    recorder.wait_until("the larger picture", lambda s: s.width == 640)
    recorder.wait_until("its end", lambda s: s.state == "waiting")
    recorder.stop()
    store = Store([str(recorder.root)], read_only=True)
    sizes = {
        (config.width, config.height)
        for start_us in store.gops(recorder.camera_id, "main", *ALL_TIME)
        for config in [store.gop_samples(recorder.camera_id, "main", start_us).config]
    }
    store.close()
    assert sizes == {(320, 180), (640, 360)}


def test_jpeg_and_opus(recorder: SourceRecorder, tmp_path: Path) -> None:
    """Of a camera that is no RTSP camera: MPEG-TS has no JPEG, so Matroska over HTTP."""
    file = tmp_path / "source.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=6"),
        *("-f", "lavfi", "-i", "sine=duration=6", "-c:v", "mjpeg", "-c:a", "libopus", "-ac", "2", file),
    )
    recorder.record(f"file:{file}?loop=1")
    status = recorder.wait_until("many pictures", lambda s: s.frames >= 50)
    assert (status.video_codec, status.audio_codec, status.detail) == ("mp4v.6C", "opus", "")
    assert (status.width, status.height) == (320, 240)
    recorder.stop()
    with av.open(file) as container:
        jpegs = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    pictures = list(samples_of(recorder.root, recorder.camera_id).values())
    assert len(pictures) >= 45
    assert is_part(pictures, jpegs * 2)
    files = sorted((recorder.root / recorder.camera_id / "main").glob("*/*.mp4"))
    packets = [packet for each in files for packet in sent_sound(each)]
    assert len(packets) > 150
    assert is_part(packets, sent_sound(file) * 2)
    with av.open(files[0]) as container:
        sound = container.streams.audio[0].codec_context
        assert (sound.name, sound.sample_rate, sound.channels) == ("opus", 48_000, 2)
        assert sum(frame.samples for frame in container.decode(audio=0)) > 150 * 900


def test_a_camera_that_sends_jpegs_one_after_the_other(recorder: SourceRecorder, tmp_path: Path) -> None:
    """``multipart/x-mixed-replace``, as cameras of all ages have it: without any times."""
    port = free_port()
    arguments = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10", "-c:v", "mjpeg", "-f", "mpjpeg"]
    sender = Sender([*arguments, "-listen", "1", f"http://127.0.0.1:{port}/video.mjpg"])
    try:
        recorder.record(f"http://127.0.0.1:{port}/video.mjpg")
        status = recorder.wait_until("pictures", lambda s: s.frames >= 30)
    finally:
        sender.stop()
    assert (status.video_codec, status.width) == ("mp4v.6C", 320)
    recorder.stop()
    times = list(samples_of(recorder.root, recorder.camera_id))
    # At the pace at which they came: 10 a second.
    assert len(times) >= 25
    assert len(set(times)) == len(times)
    assert times == sorted(times)


def test_sound_in_mp3_is_left_out_and_named(
    scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    file = tmp_path / "mp3.ts"
    ffmpeg("-i", scenes["h264"], "-c:v", "copy", "-c:a", "libmp3lame", "-f", "mpegts", file)
    recorder.record(f"file:{file}?loop=1")
    status = recorder.wait_until("pictures", lambda s: s.frames >= 10)
    assert (status.state, status.audio_codec) == ("recording", "")
    assert "audio MP3" in status.detail
