"""What lies on disk and what is taken out, under the eyes of ffmpeg; and that it is what cameras sent."""

import random
from collections.abc import Callable, Sequence
from itertools import chain, cycle, dropwhile, islice, takewhile
from pathlib import Path
from typing import TypeVar

import pytest

from nvr.footage.time import to_datetime
from tests.e2e.media import assert_decodes, frame_digests, has_sei, payload
from tests.e2e.recorder import SECOND, recorded_range, wait_recorded
from tests.e2e.station import SCENES, Station
from tests.support.skips import needs_program

T = TypeVar("T")
# A sealed segment, the camera's file more than once, and its loop.
RECORDED_US = 66 * SECOND
LONGEST_US = 15 * SECOND
"""Of a clip here."""

pytestmark = needs_program("ffmpeg", "ffprobe")


@pytest.fixture(scope="module", autouse=True)
def _recorded(station: Station) -> None:
    for name in station.played:
        wait_recorded(station.camera(name), RECORDED_US)


def sealed_segments(station: Station, name: str) -> list[Path]:
    """The camera's segments, but for the one that is being written."""
    files = station.recorder.segments(station.camera(name).info().id)[:-1]
    assert files
    return files


def assert_sent(what: str, found: Sequence[T], played: Sequence[T], left_out: Callable[[T], bool]) -> None:
    """What was found is what a camera sends that plays something again and again.

    ``left_out``: what may be missing after the first, where the recording begins in the middle.
    """
    right = 0
    for first in (n for n, each in enumerate(played) if each == found[0]):
        others = dropwhile(left_out, islice(cycle(played), first + 1, None))
        sent = chain([played[first]], others)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(found, sent, strict=False))
        right = max(right, sum(1 for _ in same))
    assert right == len(found), f"{what}: number {right} of {len(found)} is not what the camera sent"


def is_leading(units: Sequence[bytes]) -> bool:
    """H.265 (7.4.2.2): a picture that is shown before the random-access point that it follows."""
    return 6 <= units[0][0] >> 1 & 0x3F <= 9


def nothing(_: object) -> bool:
    return False


def test_all_segments_decode_without_a_word(station: Station) -> None:
    for name in station.played:
        assert_decodes(*sealed_segments(station, name))


def test_payloads_on_disk_are_the_cameras(station: Station) -> None:
    with_sei = set()
    for name, played in station.played.items():
        stored = payload(sealed_segments(station, name), played.codec)
        sent = payload([played.file], played.codec, until_last_picture=True)
        # What is shown before the first picture refers to what was sent before it.
        leading = is_leading if played.codec == "h265" else nothing
        assert_sent(f"pictures of {name}", stored.pictures, sent.pictures, leading)
        if sent.sound:
            assert_sent(f"sound of {name}", stored.sound, sent.sound, nothing)
        if has_sei(played.codec, stored.pictures):
            with_sei.add(played.codec)
    assert with_sei == {"h264", "h265"}


def test_clips_decode_without_a_word(station: Station, tmp_path: Path) -> None:
    choose = random.Random(42)
    for name in station.played:
        start_us, end_us = recorded_range(station.camera(name))
        for number in range(4):
            first_us = choose.randrange(start_us, end_us - LONGEST_US)
            last_us = first_us + choose.randint(1, LONGEST_US)
            path = tmp_path / f"{name}-{number}.mp4"
            station.camera(name).clip(to_datetime(first_us), to_datetime(last_us)).save(path)
            assert_decodes(path)


@pytest.mark.parametrize("name", SCENES)
def test_pictures_of_a_clip_are_the_sources(station: Station, name: str, tmp_path: Path) -> None:
    recorded = station.recorded(name, RECORDED_US)
    clock, pictures = recorded.clock, recorded.pictures
    source = frame_digests(station.played[name].file)
    assert len(set(source)) > len(source) // 2
    choose = random.Random(name)
    for number in range(4):
        first = choose.choice(pictures[:-150])
        last = first + choose.randint(0, 149)
        path = tmp_path / f"{number}.mp4"
        start, end = to_datetime(clock.middle_us(first)), to_datetime(clock.middle_us(last))
        recorded.camera.clip(start, end).save(path)
        assert frame_digests(path) == [source[n % len(source)] for n in range(first, last + 1)]
