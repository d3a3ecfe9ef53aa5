"""A disk that does nothing for a while: recording goes first, and who reads is told so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import nvr
from nvr.errors import LimitExceeded
from nvr.footage.time import to_datetime
from nvr.footage.types import Span, TimeRange
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from nvr.v1 import common_pb2, footage_pb2
from tests.e2e.disks import ext4_disk, frozen
from tests.e2e.recorder import SECOND, Recorder, recorded_range, wait_recorded
from tests.support.processes import wait_for
from tests.support.skips import needs_program

pytestmark = needs_program("mkfs.ext4", "fsfreeze")

NAMES = tuple(f"fast-{number}" for number in range(6))
"""Together 6 MB a second: in ten seconds more waits to be written than readers leave alone (64 MiB)."""
MORE = """
[retention]
min_free = "1B"
[limits]
scrub = "0B"
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with ext4_disk(tmp_path / "disk", 2 << 30) as folder:
        yield folder


def read_clip(channel: grpc.Channel, camera_id: str, range_: TimeRange) -> tuple[grpc.StatusCode, str]:
    """What a call for a clip ends with, and the limit that its problem names."""
    span = common_pb2.TimeRange(start_us=range_.start_us, end_us=range_.end_us)
    call: Any = channel.unary_stream(
        "/nvr.v1.FootageService/ReadClip",
        footage_pb2.ReadClipRequest.SerializeToString,
        footage_pb2.ReadClipResponse.FromString,
    )
    answer = call(footage_pb2.ReadClipRequest(camera=camera_id, range=span), timeout=60)
    try:
        assert sum(len(step.item.data.data) for step in answer) > 100_000
    except grpc.RpcError:
        trailers = dict(answer.trailing_metadata())
        problem = common_pb2.Problem.FromString(trailers["nvr-problem-bin"])
        return answer.code(), problem.facts["limit"]
    return grpc.StatusCode.OK, ""


@pytest.mark.timeout(600)
def test_who_reads_gives_way_to_recording_and_is_told(tmp_path: Path, disk: Path) -> None:
    scene = Scene(width=640, height=360, fps=10, duration_s=10, gop_s=1, bit_rate=8_000_000)
    file = generate(scene, tmp_path / "scenes")
    with SimulatedCameras() as cameras:
        for name in NAMES:
            cameras.add(name, file)
        addresses = {name: cameras.url(name) for name in NAMES}
        recorder = Recorder(tmp_path / "node", addresses, stores=[disk / "store"], more=MORE)
        try:
            recorder.start()
            with nvr.connect(recorder.address) as net, grpc.insecure_channel(recorder.address) as channel:
                camera = net.camera(NAMES[0])
                camera_id = camera.info().id
                asked = TimeRange(*wait_recorded(camera, 5 * SECOND))
                # The newest may be given from memory.
                asked = TimeRange(asked.start_us, asked.start_us + 2 * SECOND)
                assert read_clip(channel, camera_id, asked) == (grpc.StatusCode.OK, "")
                clip = camera.clip(asked.start, asked.end)
                with frozen(disk):
                    refused: list[tuple[grpc.StatusCode, str]] = []

                    def is_refused() -> bool:
                        refused.append(read_clip(channel, camera_id, asked))
                        return refused[-1][0] is not grpc.StatusCode.OK

                    wait_for(is_refused, "a clip is refused", within_s=120, every_s=0.2)
                    assert refused[-1] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "disk_bandwidth")
                    with pytest.raises(
                        LimitExceeded, match="too slow for reading beside recording"
                    ) as caught:
                        clip.save(tmp_path / "clip.mp4")
                    assert caught.value.facts["limit"] == "disk_bandwidth"
                    assert not list(tmp_path.glob("clip*")), "half a clip is left behind"
                    # Indexes are not behind that gate.
                    (span,) = camera.coverage(asked.start, asked.end)
                    assert isinstance(span, Span)
                    assert camera.locate(asked.start).start_us <= asked.start_us
                # It has time again.
                wait_for(
                    lambda: read_clip(channel, camera_id, asked)[0] is grpc.StatusCode.OK, "a clip is given"
                )
                assert clip.save(tmp_path / "clip.mp4").complete
                for name in NAMES:
                    each = net.camera(name)
                    start_us, end_us = wait_recorded(each, 5 * SECOND, since_us=recorded_range(each)[1])
                    found = each.coverage(to_datetime(start_us), to_datetime(end_us))
                    # As long as it stood still there was room for what waited, or it was told.
                    assert {gap.reason for gap in found.gaps} <= {"overload"}, found
                    if found.gaps:
                        assert "footage is being given up" in recorder.written()
            recorder.stop()
            recorder.check_store()
        finally:
            recorder.stop()
