"""A store whose indexes are gone answers as before, once they are made anew."""

from pathlib import Path

import nvr
from nvr.footage.time import to_datetime
from tests.e2e.media import assert_decodes
from tests.e2e.recorder import SECOND, Recorder, bytes_under, recorded_range, wait_recorded
from tests.e2e.station import Station
from tests.support.skips import needs_program

CAMERAS = ("h264", "h264-b-frames", "h265-open-gop")
Answers = list[tuple[object, ...]]


def answers(recorder: Recorder, ranges_us: dict[str, tuple[int, int]]) -> Answers:
    """What the node says of fixed ranges, and gives of them."""
    found: Answers = []
    with nvr.connect(recorder.address) as net:
        for name, (start_us, end_us) in ranges_us.items():
            camera, start, end = net.camera(name), to_datetime(start_us), to_datetime(end_us)
            found += [(name, item) for item in camera.coverage(start, end)]
            found += [(name, each.ref, each.config, each.data) for each in camera.fragments(start, end)]
            found.append((name, camera.locate(to_datetime((start_us + end_us) // 2), mode="next")))
            found.append((name, camera.clip(start, end).plan().parts))
    return found


@needs_program("ffmpeg", "ffprobe")
def test_a_rebuilt_index_gives_the_same_answers(station: Station, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {name: station.cameras.url(name) for name in CAMERAS})
    ranges_us = {}
    try:
        # Two runs of each camera, with a gap between them.
        for _ in range(2):
            recorder.start()
            with nvr.connect(recorder.address) as net:
                for name in CAMERAS:
                    camera = net.camera(name)
                    start_us, end_us = wait_recorded(camera, 2 * SECOND, since_us=recorded_range(camera)[1])
                    ranges_us[name] = (start_us - SECOND, end_us)
            recorder.stop()
        # Asked of what is finished: the end of what is being recorded still moves by the clocks' jitter.
        recorder.start()
        before = answers(recorder, ranges_us)
        recorder.stop()
        assert_decodes(*recorder.store.glob("*/main/*/*.mp4"))

        indexes = list(recorder.store.rglob("*.index"))
        assert len(indexes) >= 2 * len(CAMERAS)
        # The lock names who holds it, or did last.
        others = {*indexes, recorder.store / ".lock"}
        files = {path: data for path, data in bytes_under(recorder.store) if path not in others}
        old = {path: path.read_bytes() for path in indexes}
        for path in indexes:
            path.unlink()
        recorder.nvr("store", "check", str(recorder.store), code=7)
        (report,) = recorder.records("store", "rebuild", str(recorder.store))
        assert report["problems"] == []
        recorder.check_store()
        assert {path: path.read_bytes() for path in recorder.store.rglob("*.index")} == old
        assert {path: data for path, data in bytes_under(recorder.store) if path not in others} == files

        recorder.start()
        assert answers(recorder, ranges_us) == before
    finally:
        recorder.stop()
