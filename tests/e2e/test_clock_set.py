"""A node whose wall clock is set back an hour, and forward again, while it records."""

from pathlib import Path

import av
import numpy as np
import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import Span
from nvr.simulate import timecode
from nvr.simulate.scenes import generate
from nvr.simulate.server import SimulatedCameras
from tests.e2e.media import assert_decodes
from tests.e2e.recorder import SECOND, recorded_range, running
from tests.e2e.station import SCENES, Clock
from tests.support.processes import wait_for
from tests.support.wall_clock import WallClock

HOUR_S = 3600


def spans(camera: nvr.Camera) -> list[Span]:
    """What is shown of all that is on disk, in order of time."""
    start_us, end_us = recorded_range(camera)
    if not start_us:
        return []
    found = camera.coverage(to_datetime(start_us), to_datetime(end_us))
    return [item for item in found if isinstance(item, Span)]


def lasting(camera: nvr.Camera, seconds: int, but: set[str]) -> Span:
    """A span of another run than these that is so long, once there is one."""
    found: list[Span] = []

    def there() -> bool:
        found[:] = [
            span
            for span in spans(camera)
            if span.run_id not in but and span.range.end_us - span.range.start_us >= seconds * SECOND
        ]
        return bool(found)

    wait_for(there, f"{seconds} s of another run", every_s=0.2)
    return found[0]


def shown(path: Path) -> list[int | None]:
    """The media times in a file's pictures."""
    with av.open(str(path)) as container:
        pixels = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return [timecode.read(each.astype(np.uint8, copy=False)) for each in pixels]


def test_the_clock_is_set_back_an_hour(tmp_path: Path) -> None:
    scene = SCENES["h264-b-frames"]
    wall_clock = WallClock(tmp_path)
    with SimulatedCameras() as cameras:
        clock = Clock(cameras.add("gate", generate(scene, tmp_path / "scenes")).zero_us, scene)
        addresses = {"gate": cameras.url("gate")}
        with (
            running(tmp_path / "node", addresses, wall_clock.environment) as recorder,
            nvr.connect(recorder.address) as net,
        ):
            camera = net.camera("gate")
            before = lasting(camera, 6, set())
            wall_clock.set(-HOUR_S)
            back = lasting(camera, 6, {before.run_id})
            assert HOUR_S / 2 < (before.range.start_us - back.range.start_us) / SECOND < HOUR_S
            before, back = spans(camera)[1], spans(camera)[0]

            def check_clip(span: Span, offset_s: int, name: str) -> None:
                """All pictures that were seen in a span, by a clock that was off by so much."""
                seen = clock if not offset_s else Clock(clock.zero_us + offset_s * SECOND, scene)
                first, last = seen.nearest(span.range.start_us) + 1, seen.nearest(span.range.end_us) - 2
                start_us, end_us = seen.middle_us(first), seen.middle_us(last)
                report = camera.clip(to_datetime(start_us), to_datetime(end_us)).save(tmp_path / name)
                assert (report.complete, report.gaps) == (True, ())
                assert_decodes(*report.paths)
                (path,) = report.paths
                assert shown(path) == [seen.media_ms(number) for number in range(first, last + 1)]

            check_clip(back, -HOUR_S, "back.mp4")
            # What it recorded an hour ahead of itself is in its future: it is shown when it is past.
            with pytest.raises(nvr.errors.RangeInFuture):
                check_clip(before, 0, "ahead.mp4")

            # Right again: nothing of either is lost.
            wall_clock.set(0)
            again = lasting(camera, 6, {before.run_id, back.run_id})
            assert again.range.start_us > before.range.end_us
            assert [span.run_id for span in spans(camera)] == [back.run_id, before.run_id, again.run_id]
            check_clip(before, 0, "before.mp4")
            check_clip(back, -HOUR_S, "back-later.mp4")
            check_clip(again, 0, "again.mp4")
            # All three in one file, and what is missing between them with its reason.
            whole = camera.clip(to_datetime(back.range.start_us), to_datetime(again.range.end_us))
            report = whole.save(tmp_path / "whole.mp4")
            assert [gap.reason for gap in report.gaps] == ["clock_step", "clock_step"]
            assert_decodes(*report.paths)
            (path,) = report.paths
            assert len(shown(path)) >= 3 * 6 * scene.fps
        recorder.check_store()
