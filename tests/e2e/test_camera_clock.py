"""What cameras say of their clocks: it is told and kept, and moves no footage."""

from collections.abc import Callable
from itertools import groupby

import pytest

from nvr.footage.types import FragmentRef
from tests.e2e.newcomer import Newcomer, follows_script
from tests.e2e.recorder import SECOND, pieces, recorded_range, references, runs, wait_recorded
from tests.e2e.station import Station
from tests.ingest import hostile
from tests.support.processes import wait_for

METRIC = "nvr_stream_camera_clock_offset_seconds"
HOUR_US = 3600 * SECOND
NEAR_US = 60 * SECOND
"""A report's way, however busy the machine is."""

pytestmark = pytest.mark.usefixtures("others_are_not_touched")


def told_us(newcomer: Newcomer) -> int | None:
    """The offset that the API tells."""
    return newcomer.camera.info().streams[0].camera_clock_offset_us


def kept(newcomer: Newcomer) -> list[FragmentRef]:
    """The fragments on disk, with the offset that the index has of each."""
    return references(newcomer.camera, recorded_range(newcomer.camera))


def wait_told(newcomer: Newcomer, what: str, condition: Callable[[int | None], bool]) -> None:
    """Waits for an offset, and then for more footage than a fragment has."""
    wait_for(lambda: condition(told_us(newcomer)), what, every_s=0.1)
    wait_recorded(newcomer.camera, 3 * SECOND, since_us=recorded_range(newcomer.camera)[1])


def test_a_camera_without_sender_reports(station: Station) -> None:
    camera = hostile.ClockedCamera()
    camera.offset_us = None
    with follows_script(station, "clockless", camera.media) as clockless:
        wait_recorded(clockless.camera, 4 * SECOND)
        assert len(pieces(clockless.camera)) == 1
        assert told_us(clockless) is None
        assert {ref.camera_clock_offset_us for ref in kept(clockless)} == {None}
        assert f'{METRIC}{{camera="clockless"' not in station.recorder.metrics()
        # It is there for a camera that sends some.
        assert f'{METRIC}{{camera="h264"' in station.recorder.metrics()


def test_a_clock_that_jumps(station: Station) -> None:
    camera = hostile.ClockedCamera()
    with follows_script(station, "jumps", camera.media) as jumps:
        wait_recorded(jumps.camera, 2 * SECOND)
        # Set forward an hour, then back by two; and a clock that was never set, in 1970.
        for offset_us in (0, HOUR_US, -HOUR_US, -(camera.sent_us[0])):
            camera.offset_us = offset_us

            def is_so(told: int | None, offset_us: int = offset_us) -> bool:
                return told is not None and abs(told - offset_us) < NEAR_US

            wait_told(jumps, f"{offset_us / SECOND} s", is_so)
            assert abs(jumps.counted(station, METRIC) * SECOND - offset_us) < NEAR_US
        refs = kept(jumps)
        # One run without a gap, every picture where it was.
        assert len(pieces(jumps.camera)) == 1
        assert [ref.start_us for ref in refs[1:]] == [ref.start_us + ref.duration_us for ref in refs[:-1]]
        for ref, sent_us in zip(refs, camera.sent_us, strict=False):
            assert abs(ref.start_us - sent_us) < NEAR_US
        # Each fragment has what was true then. Of a clock that is off by years the index has the direction.
        stages = [0, HOUR_US, -HOUR_US, -(2**31 - 1) * 1000]
        offsets = [ref.camera_clock_offset_us for ref in refs]
        assert None not in offsets[1:]
        found = [
            next(stage for stage in stages if abs(stage - offset) < NEAR_US)
            for offset in offsets
            if offset is not None
        ]
        assert [stage for stage, _ in groupby(found)] == stages


def test_reports_that_end_with_their_session(station: Station) -> None:
    """A camera sends reports, starts anew and sends none: what its clock was is not told any more."""
    camera = hostile.ClockedCamera()
    camera.offset_us = HOUR_US
    with follows_script(station, "silenced", camera.media) as silenced:
        wait_told(silenced, "an hour", lambda told: told is not None)
        camera.offset_us, camera.hang_up = None, True
        wait_for(lambda: len(runs(silenced.camera)) == 2, "another session", every_s=0.1)
        assert told_us(silenced) is None
        assert f'{METRIC}{{camera="silenced"' not in station.recorder.metrics()
        _, last = runs(silenced.camera)
        refs = kept(silenced)
        assert {ref.camera_clock_offset_us for ref in refs if ref.run_id == last} == {None}
        assert any(ref.camera_clock_offset_us is not None for ref in refs)
