"""Cameras that change how they code, and their sound."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from nvr._core import Store
from nvr.footage.types import PictureOptions
from nvr.recorder.pictures import decode_pictures
from tests.e2e.media import assert_decodes, frame_digests
from tests.ingest import pictures, streams
from tests.ingest.conftest import Recorder
from tests.peers.gstreamer import Camera, serve


def clip(recorder: Recorder, folder: Path) -> list[Path]:
    """All that was recorded as a clip: the file of each of its parts."""
    store = Store([str(recorder.root)], read_only=True)
    try:
        spans, _ = store.coverage(recorder.camera_id, "main", *pictures.ALL_TIME)
        plan = store.clip(recorder.camera_id, "main", spans[0].start_us, spans[-1].end_us)
        paths = [folder / f"part-{number}.mp4" for number in range(len(plan.parts))]
        for part, path in zip(plan.parts, paths, strict=True):
            part.save(path)
    finally:
        store.close()
    return paths


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_parameters_that_change(
    codec: str, gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path
) -> None:
    """A camera switches to night: another size in mid-stream, then the day's again."""
    kind = streams.Kind(codec, "keyint=15:bframes=0:scenecut=0", seconds=3)
    day = streams.encode(kind, tmp_path / "1.ts")
    night = streams.encode(kind, tmp_path / "2.ts", size="192x144")
    joined = tmp_path / "joined.ts"
    sources = f"concat:{day}|{night}|{day}"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", sources, "-c", "copy", "-fflags", "+genpts", str(joined)],
        check=False,
        timeout=60,
    )
    recorder.record(gst_camera(codec=codec, file=joined).url)
    recorder.wait_until("all three", lambda s: s.frames >= 9 * streams.FPS - 1)
    recorder.stop()

    store = Store([str(recorder.root)], read_only=True)
    try:
        spans, _ = store.coverage(recorder.camera_id, "main", *pictures.ALL_TIME)
    finally:
        store.close()
    segments = [path for path in recorder.segments() if spans[0].run_id in path.name]
    assert [size(path) for path in segments] == [(320, 240), (192, 144), (320, 240)]
    parts = clip(recorder, tmp_path)[:3]
    assert [size(path) for path in parts] == [(320, 240), (192, 144), (320, 240)]
    assert_decodes(*parts)
    for part, source in zip(parts, (day, night, day), strict=True):
        # The last picture of all comes with whatever GStreamer sends after it.
        found, expected = frame_digests(part), frame_digests(source)
        assert found == expected[: len(found)]
        assert len(found) >= len(expected) - 1


@pytest.mark.usefixtures("gst_camera")  # which asks whether there is a server here
def test_another_codec_after_a_reconnect(recorder: Recorder, tmp_path: Path) -> None:
    """A camera is set to H.265 and starts anew, where it was."""
    # Each ends in the middle: without B-frames nothing that is shown earlier is missing then.
    kinds = {
        "h264": streams.Kind("h264", "keyint=15:bframes=0:scenecut=0", seconds=8),
        "h265": streams.Kind("h265", "keyint=15:bframes=0:scenecut=0", seconds=6),
    }
    sources = {name: streams.encode(kind, tmp_path / f"{name}.mp4") for name, kind in kinds.items()}
    with serve(codec="h264", file=sources["h264"]) as camera:
        recorder.record(camera.url)
        recorder.wait_until("H.264", lambda s: s.frames >= 4 * streams.FPS)
    recorder.wait_until("nobody listens", lambda s: s.reason == "refused")
    with serve(codec="h265", file=sources["h265"], options=(f"--port={camera.port}",)):
        before = recorder.status().frames
        status = recorder.wait_until("H.265", lambda s: s.frames >= before + 4 * streams.FPS)
        assert (status.state, status.video_codec[:5]) == ("recording", "hvc1.")
        recorder.stop()

    def kept() -> tuple[list[tuple[int, int, str]], list[tuple[str, int, int]], list[tuple[str, str]]]:
        """Runs, gaps, and of each fragment its run and what decodes it."""
        store = Store([str(recorder.root)], read_only=True)
        try:
            spans, gaps = store.coverage(recorder.camera_id, "main", *pictures.ALL_TIME)
            within = [gap for gap in gaps if spans[0].end_us <= gap.start_us < spans[-1].start_us]
            fragments = store.fragments(recorder.camera_id, "main", *pictures.ALL_TIME)
            return (
                [(span.start_us, span.end_us, span.run_id) for span in spans],
                [(gap.reason, gap.start_us, gap.end_us) for gap in within],
                [(each.run_id, store.config(each).video_codec[:5]) for each in fragments],
            )
        finally:
            store.close()

    spans, gaps, fragments = found = kept()
    (first, second) = [run for _, _, run in spans]
    assert first != second
    # All of what is missing has its reason. (What happens within 2 s of a gap's start is told as one.)
    assert [reason for reason, _, _ in gaps] in (["refused"], ["disconnected", "refused"])
    assert [spans[0][1], *(end for _, _, end in gaps)] == [*(start for _, start, _ in gaps), spans[1][0]]
    assert list(dict.fromkeys(fragments)) == [(first, "avc1."), (second, "hvc1.")]
    report = Store.check([str(recorder.root)], digests=True)
    assert (report.problems, report.fragments) == ([], len(fragments))

    parts = clip(recorder, tmp_path)
    assert len(parts) == 2
    assert_decodes(*parts)
    for (name, source), part in zip(sources.items(), parts, strict=True):
        with av.open(str(part)) as container:
            assert container.streams.video[0].codec.name == {"h264": "h264", "h265": "hevc"}[name]
        decoded = frame_digests(part)
        assert decoded == frame_digests(source)[: len(decoded)]
        assert len(decoded) >= 3 * streams.FPS

    # The files alone say the same.
    Store.rebuild([str(recorder.root)])
    assert kept() == found


def size(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height


def sound_of(path: Path) -> bytes:
    """The coded bytes of a file's sound."""
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0))


def sound_packets(path: Path) -> list[bytes]:
    """The coded packets of a file's sound."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("name", "decoder"), [("ulaw", "mulawdec"), ("alaw", "alawdec")])
def test_g711(
    name: str, decoder: str, gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path
) -> None:
    source = tmp_path / "source.mov"
    sound = "sine=frequency=440:sample_rate=8000:duration=4,tremolo=f=5,volume=0.7"
    coder = f"pcm_{'mulaw' if name == 'ulaw' else 'alaw'}"
    streams.encode(
        streams.Kind("h264", "keyint=15:bframes=0:scenecut=0"),
        source,
        inputs=("-f", "lavfi", "-i", sound),
        arguments=("-c:a", coder, "-ac", "1"),
    )
    camera = gst_camera(file=source, audio=True, options=(f"--audio-codec={name}",))
    recorder.record(camera.url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= 4 * streams.FPS)
    assert (status.audio_codec, status.detail) == (name, "")
    recorder.stop()

    sent = sound_of(source)
    (part,) = clip(recorder, tmp_path)[:1]
    for path in (recorder.segments()[0], part):
        assert len(frame_digests(path)) > 3 * streams.FPS
        recorded = sound_of(path)
        # It ends with the last picture, and begins with the first.
        assert len(recorded) > 3 * 8000
        assert recorded in sent
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            assert (stream.codec_context.name, stream.codec_context.sample_rate) == (coder, 8000)
            times = [
                p.pts * p.time_base for p in container.demux(stream) if p.pts is not None and p.time_base
            ]
        assert times == sorted(times)
        # Another player that we did not write.
        pipeline = f"filesrc location={path} ! qtdemux name=d d.audio_0 ! queue ! {decoder}"
        heard = tmp_path / "heard.raw"
        subprocess.run(
            ["gst-launch-1.0", "-q", *pipeline.split(), "!", "filesink", f"location={heard}"],
            check=True,
            timeout=60,
        )
        # It leaves out what comes before the first picture.
        assert heard.stat().st_size > 2 * 0.9 * len(recorded)


def test_opus(gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    sound = "sine=frequency=440:sample_rate=48000:duration=4,tremolo=f=5,volume=0.7"
    streams.encode(
        streams.Kind("h264", "keyint=15:bframes=0:scenecut=0"),
        source,
        inputs=("-f", "lavfi", "-i", sound),
        arguments=("-c:a", "libopus", "-ac", "2"),
    )
    camera = gst_camera(file=source, audio=True, options=("--audio-codec=opus",))
    recorder.record(camera.url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= 4 * streams.FPS)
    assert (status.audio_codec, status.detail) == ("opus", "")
    recorder.stop()
    sent = sound_packets(source)
    pictures_sent = frame_digests(source)
    (part,) = clip(recorder, tmp_path)[:1]
    for path in (recorder.segments()[0], part):
        assert_decodes(path)
        found = frame_digests(path)
        assert found == pictures_sent[: len(found)]
        recorded = sound_packets(path)
        # It ends with the last picture, and begins with the first.
        assert len(recorded) > 3 * 50
        start = sent.index(recorded[0])
        assert recorded == sent[start : start + len(recorded)]
        with av.open(str(path)) as container:
            context = container.streams.audio[0].codec_context
            assert (context.name, context.sample_rate, context.channels) == ("opus", 48_000, 2)
        # Another player that we did not write.
        pipeline = f"filesrc location={path} ! qtdemux name=d d.audio_0 ! queue ! opusparse ! opusdec"
        heard = tmp_path / "heard.raw"
        subprocess.run(
            ["gst-launch-1.0", "-q", *pipeline.split(), "!", "filesink", f"location={heard}"],
            check=True,
            timeout=60,
        )
        # 16 bits, stereo.
        assert heard.stat().st_size > 3 * 48_000 * 4 * 0.9


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 2), (16_000, 1)])
def test_aac(
    rate_hz: int, channels: int, gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path
) -> None:
    """Coded by ffmpeg, put into packets by GStreamer: frame by frame what was coded, and heard as such."""
    source = tmp_path / "source.mp4"
    streams.encode(
        streams.Kind("h264", "keyint=15:bframes=0:scenecut=0"),
        source,
        inputs=("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate={rate_hz}:duration=4,tremolo=f=5"),
        arguments=("-c:a", "aac", "-ac", str(channels)),
    )
    recorder.record(gst_camera(file=source, audio=True).url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= 4 * streams.FPS)
    assert (status.audio_codec, status.detail) == ("mp4a.40.2", "")
    recorder.stop()
    sent = sound_packets(source)
    with av.open(str(source)) as container:
        # AudioSpecificConfig; ffmpeg adds bytes that say "no SBR" (ISO/IEC 14496-3, 1.6.2.1).
        config = bytes(container.streams.audio[0].codec_context.extradata or b"")
    (part,) = clip(recorder, tmp_path)[:1]
    for path in (recorder.segments()[0], part):
        assert_decodes(path)
        recorded = sound_packets(path)
        # It ends with the last picture, and begins with the first.
        assert len(recorded) > 3 * rate_hz // 1024
        start = sent.index(recorded[0])
        assert recorded == sent[start : start + len(recorded)]
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            context = stream.codec_context
            assert (context.name, context.sample_rate, context.channels) == ("aac", rate_hz, channels)
            assert config.startswith(bytes(context.extradata or b"?")[:2])
            # It sounds as it did: the tone's frequency is the loudest one.
            heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        assert len(heard) >= 3 * rate_hz
        loudest = int(np.argmax(np.abs(np.fft.rfft(heard[:rate_hz]))))
        assert loudest == pytest.approx(440, abs=2)
        # Another player that we did not write.
        pipeline = f"filesrc location={path} ! qtdemux name=d d.audio_0 ! queue ! aacparse ! avdec_aac"
        raw = tmp_path / "heard.raw"
        subprocess.run(
            ["gst-launch-1.0", "-q", *pipeline.split(), "!", "filesink", f"location={raw}"],
            check=True,
            timeout=60,
        )
        # Samples of 32 bits.
        assert raw.stat().st_size > 3 * rate_hz * channels * 4 * 0.9


def test_sound_that_cannot_be_recorded_is_left_out_and_named(
    gst_camera: Callable[..., Camera], recorder: Recorder
) -> None:
    camera = gst_camera(audio=True, options=("--audio-codec=g722",))
    recorder.record(camera.url)
    status = recorder.wait_until("pictures", lambda s: s.frames > 5)
    assert (status.state, status.audio_codec) == ("recording", "")
    assert "audio G722" in status.detail


def test_jpeg(gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path) -> None:
    """GStreamer's JPEG encoder and its packets; every picture can be decoded alone."""
    source = tmp_path / "source.mov"
    size = "video/x-raw,format=I420,width=320,height=240,framerate=15/1"
    pipeline = f"videotestsrc num-buffers=45 ! {size} ! jpegenc ! qtmux ! filesink location={source}"
    subprocess.run(["gst-launch-1.0", "-q", *pipeline.split()], check=True, timeout=60)
    recorder.record(gst_camera(codec="jpeg", file=source).url)
    status = recorder.wait_until("the whole file", lambda s: s.frames >= 45)
    assert (status.video_codec, status.width, status.height) == ("mp4v.6C", 320, 240)
    recorder.stop()
    (part,) = clip(recorder, tmp_path)[:1]
    expected = frame_digests(source)
    for path in (recorder.segments()[0], part):
        assert_decodes(path)
        assert frame_digests(path)[:44] == expected[:44]
    store = Store([str(recorder.root)], read_only=True)
    try:
        spans, _ = store.coverage(recorder.camera_id, "main", *pictures.ALL_TIME)
        middle_us = (spans[0].start_us + spans[0].end_us) // 2
        found = store.frame_samples(recorder.camera_id, "main", middle_us)
    finally:
        store.close()
    assert found is not None
    assert len(found.samples) == 1
    config, wanted = found.config, [found.target_pts_90k]
    ((_, image),) = decode_pictures(config.video_codec, b"", found.samples, wanted, PictureOptions())
    assert (image.width, image.height) == (320, 240)
