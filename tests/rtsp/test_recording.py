"""Our own recorder records from our own server, as from a camera: the pictures are the same, bit for bit."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from nvr import _core
from nvr.footage.types import TimeRange
from tests.rtsp.running import WAYS
from tests.rtsp.station import SCENES, SECOND, Station
from tests.support.processes import wait_for

MILLISECOND = 1_000


def pictures(store: _core.Store, camera_id: str) -> list[tuple[int, bytes]]:
    """Wall time and NAL units of all pictures on disk, in decoding order."""
    found = []
    for start_us in store.gops(camera_id, "main", 0, time.time_ns() // 1000):
        group = store.gop_samples(camera_id, "main", start_us)
        found += [(wall_us, data) for data, _, wall_us in group.samples if wall_us < group.end_us]
    return found


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("way", WAYS)
def test_a_recorder_gets_the_same_pictures(name: str, way: str, station: Station, tmp_path: Path) -> None:
    store = _core.Store([str(tmp_path)])
    ingest = _core.Ingest(store)
    copy_id = str(uuid.UUID(int=0x0193_143F_0000_7000_8000_0000_0000_0042))
    try:
        ingest.add(copy_id, "main", station.outs[way].url(name))
        wait_for(
            lambda: any(
                status.recorded_us > 3 * SECOND and status.camera_clock_offset_us is not None
                for status in ingest.status()
            ),
            f"{name} is recorded from RTSP out, with its clock",
        )
        (status,) = ingest.status()
        # Its clock is that of the pictures: the camera's, as far as the recorder knows it.
        assert abs(status.camera_clock_offset_us or 0) < 500 * MILLISECOND
    finally:
        ingest.close()
        copied = pictures(store, copy_id)
        store.close()
    assert len(copied) >= 30
    originals = originals_of(name, station, copied)
    at = originals.index(copied[0][1])
    assert [data for _, data in copied] == originals[at : at + len(copied)]


def originals_of(name: str, station: Station, copied: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """The recorder's own pictures, from before the copy began until after it ended."""
    range_ = TimeRange(copied[0][0] - 10 * SECOND, copied[-1][0] + SECOND)
    station.recorded_until(name, range_.end_us)
    return station.pictures(name, range_)
