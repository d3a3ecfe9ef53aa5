"""What coverage says is recorded can be had, also the newest of it."""

import time
from itertools import pairwise

import pytest

import nvr
from nvr.footage.time import to_datetime
from tests.e2e.recorder import SECOND, wait_recorded
from tests.e2e.station import SCENES, Station


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENES)
def test_a_clip_of_what_coverage_names_is_whole(station: Station, name: str) -> None:
    with nvr.connect(station.recorder.address) as net:
        camera = net.camera(name)
        wait_recorded(camera, 5 * SECOND)
        ends: set[int] = set()
        while len(ends) < 6:
            now_us = time.time_ns() // 1000
            covered = camera.coverage(to_datetime(now_us - 5 * SECOND), to_datetime(now_us)).spans
            for span in covered:
                if span.range.end_us in ends:
                    continue
                ends.add(span.range.end_us)
                plan = camera.clip(span.range.start, span.range.end).plan()
                assert plan.complete, plan.warnings
                assert not plan.gaps
                shown = [part.range for part in plan.parts]
                assert shown[0].start_us == span.range.start_us
                assert shown[-1].end_us == span.range.end_us
                assert all(a.end_us == b.start_us for a, b in pairwise(shown))
                fragments = camera.fragments(span.range.start, span.range.end, refs_only=True)
                refs = fragments.all()
                assert fragments.complete, fragments.warnings
                assert refs[-1].ref.start_us + refs[-1].ref.duration_us >= span.range.end_us
