"""The instant asked for is the instant shown, to the frame.

The proof is in the picture: each carries its media time, and the simulator says which wall time its
media time zero is. The recorder knows when a picture arrived, which is a few milliseconds after it was due:
instants in the middle of a picture's interval leave no doubt which one it is. At the very border of two
pictures the recorder's own times say which, and the picture must agree with them.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr.footage.time import from_datetime, to_datetime
from nvr.simulate import timecode
from tests.e2e.recorder import SECOND, wait_recorded
from tests.e2e.station import SCENES, Recorded, Station

# More than the minute after which a segment ends.
RECORDED_US = 66 * SECOND
MILLISECOND = 1_000


@pytest.fixture(scope="module", params=SCENES)
def recorded(request: pytest.FixtureRequest, station: Station) -> Recorded:
    name = str(request.param)
    wait_recorded(station.camera(name), RECORDED_US)
    found = station.recorded(name, RECORDED_US)
    assert found.segments_us, "the footage crosses no border of segments"
    assert len(found.gops_us) >= 10
    if SCENES[name].gop_s > 2.5:
        assert len(found.starts_us) > len(found.gops_us), "no fragment ends within a GOP"
    return found


def borders(recorded: Recorded) -> list[int]:
    """The starts of all segments, some GOPs and some fragments."""
    choose = random.Random(4711)
    inner = (recorded.gops_us, recorded.starts_us)
    return [*recorded.segments_us, *chain.from_iterable(choose.sample(each, 5) for each in inner)]


def shown(recorded: Recorded, at_us: int) -> int | None:
    """The media time in the picture that a snapshot of an instant shows."""
    return timecode.read(recorded.camera.snapshot(to_datetime(at_us)).array())


def test_the_recorder_knows_when_its_pictures_were_sent(recorded: Recorded) -> None:
    clock = recorded.clock
    for start_us in recorded.gops_us:
        late_us = start_us - clock.zero_us - clock.nearest(start_us) * clock.step_us
        assert -MILLISECOND < late_us < clock.step_us // 2


@settings(max_examples=25)
@given(data=st.data())
def test_a_snapshot_shows_its_instant(recorded: Recorded, data: st.DataObject) -> None:
    pictures = recorded.pictures
    number = data.draw(st.integers(pictures.start, pictures.stop - 1))
    aside_us = data.draw(st.integers(-recorded.clock.step_us // 10, recorded.clock.step_us // 10))
    at_us = recorded.clock.middle_us(number) + aside_us
    assert shown(recorded, at_us) == recorded.clock.media_ms(number)


def test_pictures_change_at_borders_and_nowhere_else(recorded: Recorded) -> None:
    clock = recorded.clock
    for border_us in borders(recorded):
        first = clock.nearest(border_us)
        for aside_us, number in (
            (-MILLISECOND, first - 1),
            (-1, first - 1),
            (0, first),
            (MILLISECOND, first),
        ):
            assert shown(recorded, border_us + aside_us) == clock.media_ms(number), (border_us, aside_us)


@pytest.mark.parametrize("every", [3, 7, 13])
def test_frames_at_an_interval_show_their_instants(recorded: Recorded, every: int) -> None:
    clock, pictures = recorded.clock, recorded.pictures
    numbers = range(pictures.start, pictures.stop, every)
    found = recorded.camera.frames(
        to_datetime(clock.middle_us(pictures.start)),
        to_datetime(clock.middle_us(pictures.stop - 1) + 1),
        every=f"{every * clock.step_us}us",
    ).all()
    assert [timecode.read(frame.image) for frame in found] == [clock.media_ms(number) for number in numbers]
    assert [clock.nearest(from_datetime(frame.time)) for frame in found] == list(numbers)


def test_all_frames_come_once_and_in_order(recorded: Recorded) -> None:
    clock, pictures = recorded.clock, recorded.pictures
    start_us, end_us = recorded.start_us, clock.middle_us(pictures.stop - 1)
    found = recorded.camera.frames(to_datetime(start_us), to_datetime(end_us), max_width=160).all()
    assert [timecode.read(frame.image) for frame in found] == [clock.media_ms(number) for number in pictures]


def test_a_clip_shows_its_instants(recorded: Recorded, tmp_path: Path) -> None:
    """Movie time t shows what was seen at the clip's start + t."""
    clock, pictures = recorded.clock, recorded.pictures
    for number, (start_us, end_us) in enumerate(ranges(recorded)):
        path = tmp_path / f"{number}.mp4"
        report = recorded.camera.clip(to_datetime(start_us), to_datetime(end_us)).save(path)
        assert report.complete
        assert report.gaps == ()
        movie = list(decoded(path))
        times = [time_us for time_us, _ in movie]
        middles = (clock.middle_us(picture) for picture in pictures)
        for at_us in (start_us, *(at_us for at_us in middles if start_us < at_us < end_us), end_us - 1):
            at = bisect_right(times, at_us - start_us) - 1
            assert at >= 0, f"nothing is shown at the start of {start_us} to {end_us}"
            assert movie[at][1] == clock.media_ms(clock.picture_at(at_us)), (start_us, end_us, at_us)
        # Nothing more is in it than what is seen in its range.
        assert len(movie) == clock.picture_at(end_us) - clock.picture_at(start_us) + 1


def ranges(recorded: Recorded) -> Iterator[tuple[int, int]]:
    """Ranges with in and out points at 0.3 to 0.8 of a picture's interval: clear of when it changes."""
    choose = random.Random(815)
    clock, pictures = recorded.clock, recorded.pictures

    def aside_us() -> int:
        return choose.randint(-2 * clock.step_us // 10, 3 * clock.step_us // 10)

    for _ in range(3):
        first, last = sorted(choose.sample(pictures, 2))
        yield clock.middle_us(first) + aside_us(), clock.middle_us(last) + aside_us()
    for border_us in borders(recorded):
        first = clock.nearest(border_us) + choose.randint(-2, 1)
        last = min(first + choose.randint(1, 25), pictures[-1])
        yield clock.middle_us(first) + aside_us(), clock.middle_us(last) + aside_us()


def decoded(path: Path) -> Iterator[tuple[int, int | None]]:
    """Movie time and the media time in the picture, of each that is shown."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            yield round((frame.time or 0) * SECOND), timecode.read(pixels)
