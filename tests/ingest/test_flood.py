"""A camera that sends far more than it should."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from nvr import nal
from nvr._core import CameraSim, SimMedia
from tests.ingest import pictures
from tests.ingest.conftest import Recorder

FPS = 15
FLOOD_BYTES = 100_000_000 // 8 // FPS
"""Of each picture: 100 Mbit/s."""
# By x264 from a picture of 322 by 182, Baseline.
PARAMETERS = bytes.fromhex("0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83cb20")


def media(picture_bytes: int) -> SimMedia:
    """Two seconds that are played again and again."""
    made = SimMedia(codec="h264", extra_data=PARAMETERS, width=322, height=182, timescale=FPS)
    random_bytes = random.Random(picture_bytes)
    for number in range(2 * FPS):
        keyframe = number % FPS == 0
        # Without zeros there is no start code among them.
        body = bytes(byte or 1 for byte in random_bytes.randbytes(picture_bytes))
        unit = (b"\x65\x88" if keyframe else b"\x41\x9a") + body
        made.add_video(nal.join([unit]), number, keyframe)
    made.finish(2 * FPS)
    return made


@contextmanager
def simulator() -> Iterator[CameraSim]:
    cameras = CameraSim()
    try:
        yield cameras
    finally:
        cameras.close()


def test_100_mbit_a_second_are_recorded_and_the_neighbour_too(recorder: Recorder) -> None:
    neighbour = str(uuid.uuid4())
    with simulator() as cameras:
        cameras.add("flood", media(FLOOD_BYTES))
        cameras.add("quiet", media(2000))
        address = f"rtsp://127.0.0.1:{cameras.port}"
        recorder.ingest.add(neighbour, "main", f"{address}/quiet")
        recorder.record(f"{address}/flood")
        recorder.wait_until("5 s of it", lambda s: s.frames >= 5 * FPS)
        recorder.stop()
    for camera_id, least in ((recorder.camera_id, FLOOD_BYTES), (neighbour, 2000)):
        found = pictures.of_recording(recorder.root, camera_id, "h264")
        assert len(found) >= 4 * FPS
        # None is missing, and each has all of its bytes.
        assert [t for t, _ in found] == [number * 90_000 // FPS for number in range(len(found))]
        assert all(len(unit) == least + 2 for _, units in found for unit in units)
