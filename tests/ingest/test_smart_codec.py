"""A camera with "smart codec": keyframes 20 s apart, and as many pictures as there is to be seen."""

from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from nvr._core import Store
from nvr.footage.types import PictureFormat, PictureOptions
from nvr.recorder.pictures import decode_pictures
from nvr.simulate import timecode
from tests.e2e.media import assert_decodes, frame_digests
from tests.ingest import pictures
from tests.ingest.conftest import Recorder
from tests.peers.gstreamer import Camera

GOP_MS = 20_000
# Milliseconds between pictures: 25, 2, 10 and 25 a second, five seconds each, again and again.
STEPS_MS = (40, 500, 100, 40)
FRAGMENT_S = 2.5


def times_ms(end_ms: int) -> list[int]:
    """When pictures are taken."""
    found = [0]
    while (at := found[-1]) < end_ms:
        found.append(at + STEPS_MS[at // 5000 % len(STEPS_MS)])
    return found[:-1]


def coded(path: Path, end_ms: int) -> Path:
    """Pictures that carry their time, by x264."""
    with av.open(str(path), "w") as made:
        video = made.add_stream("libx264", rate=25, options={"preset": "ultrafast", "forced-idr": "1"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        video.codec_context.options |= {"x264-params": "keyint=infinite:scenecut=0:bframes=0"}
        for at_ms in times_ms(end_ms):
            pixels = np.full((180, 320, 3), 90, np.uint8)
            timecode.draw(pixels, at_ms)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at_ms, Fraction(1, 1000)
            frame.pict_type = PictureType.I if at_ms % GOP_MS == 0 else PictureType.P
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
    return path


def read(pixels: np.ndarray) -> int | None:
    return timecode.read(pixels.astype(np.uint8, copy=False))


def test_a_gop_of_20_s_with_a_frame_rate_that_changes(
    gst_camera: Callable[..., Camera], recorder: Recorder, tmp_path: Path
) -> None:
    file = coded(tmp_path / "smart.mp4", GOP_MS + 3000)
    expected = pictures.of_file(file, "h264")
    assert [round(time_90k / 90) for time_90k, _ in expected] == times_ms(GOP_MS + 3000)
    recorder.record(gst_camera(file=file).url)
    recorder.wait_until("all of it", lambda s: s.frames >= len(expected))
    recorder.stop()

    found = pictures.of_recording(recorder.root, recorder.camera_id, "h264")[: len(expected)]
    assert [units for _, units in found] == [units for _, units in expected]
    assert [t for t, _ in found] == pytest.approx([t for t, _ in expected], abs=2)
    (segment,) = recorder.segments()
    assert_decodes(segment)
    assert frame_digests(segment)[: len(expected)] == frame_digests(file)

    store = Store([str(recorder.root)], read_only=True)
    try:
        (span,) = store.coverage(recorder.camera_id, "main", *pictures.ALL_TIME)[0]
        check_fragments(store, recorder.camera_id)
        first_us, second_us = store.gops(recorder.camera_id, "main", span.start_us, span.end_us - 1)
        group = store.gop_samples(recorder.camera_id, "main", first_us)
        assert group.end_us == second_us
        zero_90k = group.samples[0][1]
        shown = [
            (at_us, round((pts - zero_90k) / 90)) for _, pts, at_us in group.samples if at_us < second_us
        ]
        assert [media_ms for _, media_ms in shown] == times_ms(GOP_MS)
        # Wall time is media time, but for what the way of the first packets took longer.
        assert all(abs(at_us - first_us - media_ms * 1000) < 1_000_000 for at_us, media_ms in shown)
        check_snapshots(store, recorder.camera_id, shown)
        check_clips(store, recorder.camera_id, shown, tmp_path)
    finally:
        store.close()


def check_fragments(store: Store, camera_id: str) -> None:
    """They end once their pictures last 2.5 s, in the middle of the GOP: no more is lost at once."""
    fragments = store.fragments(camera_id, "main", *pictures.ALL_TIME)
    longest_s = max(STEPS_MS) / 1000
    assert all(each.duration_us <= (FRAGMENT_S + longest_s) * 1_000_000 for each in fragments)
    keyframes = [each.sequence for each in fragments if each.random_access]
    assert len(keyframes) == 2
    assert keyframes[1] >= GOP_MS / 1000 / (FRAGMENT_S + longest_s)
    assert [each.random_access_distance for each in fragments[: keyframes[1]]] == list(range(keyframes[1]))


def check_snapshots(store: Store, camera_id: str, shown: list[tuple[int, int]]) -> None:
    """An instant within the GOP shows the picture of that instant."""
    starts = [at_us for at_us, _ in shown]
    for at in range(3, len(shown), 17):
        for at_us in (starts[at] - 1, starts[at]):
            found = store.frame_samples(camera_id, "main", at_us)
            assert found is not None
            options = PictureOptions(format=PictureFormat.RGB24)
            config = found.config
            ((_, image),) = decode_pictures(
                config.video_codec, config.video_extra_data, found.samples, [found.target_pts_90k], options
            )
            pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
            picture_us, media_ms = shown[bisect_right(starts, at_us) - 1]
            assert (found.frame_us, read(pixels)) == (picture_us, media_ms)


def check_clips(store: Store, camera_id: str, shown: list[tuple[int, int]], folder: Path) -> None:
    """A clip from within the GOP shows what was seen from its start to its end, and nothing else."""
    for first, last in ((7, 60), (126, 128), (len(shown) - 100, len(shown) - 3)):
        start_us, end_us = shown[first][0] + 1000, shown[last][0] + 1000
        (part,) = store.clip(camera_id, "main", start_us, end_us).parts
        path = folder / f"clip-{first}.mp4"
        part.save(path)
        assert_decodes(path)
        with av.open(str(path)) as container:
            seen = [read(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        assert seen == [media_ms for _, media_ms in shown[first : last + 1]]
