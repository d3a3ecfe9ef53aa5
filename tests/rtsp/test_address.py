"""Addresses and ranges: which camera and which instants a client means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import NvrError
from nvr.footage.time import parse_instant
from nvr.footage.types import StreamName, TimeRange
from nvr.rtsp.address import (
    RefusedError,
    Target,
    format_clock,
    parse_play_range,
    parse_scale,
    parse_target,
)

NOW_US = parse_instant("2026-11-10T00:00:00Z")
START_US = parse_instant("2026-11-09T13:00:00Z")
RANGE = TimeRange(START_US, START_US + 600_000_000)

instants = st.integers(0, 4_000_000_000_000_000)
ranges = st.tuples(instants, st.integers(1, 10**12)).map(lambda drawn: TimeRange(drawn[0], sum(drawn)))
cameras = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=40).filter(
    lambda text: text.strip("/") == text and "//" not in text
)


@given(camera=cameras, stream=st.sampled_from(("main", "sub")), range_=st.none() | ranges)
def test_a_path_means_what_it_was_made_of(camera: str, stream: StreamName, range_: TimeRange | None) -> None:
    target = Target(camera, stream, range_)
    assert parse_target(target.path, "", NOW_US) == target


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("gate/main", "", Target("gate", "main")),
        ("/station-1/gate/sub/", "", Target("station-1/gate", "sub")),
        (
            "gate/main",
            "start=2026-11-09T20:00:00+07:00&end=2026-11-09T13:10:00Z",
            Target("gate", "main", RANGE),
        ),
        (
            "gate/main",
            "start=2026-11-09T20%3A00%3A00%2B07%3A00&end=2026-11-09T20:10:00%2B07:00&other=1",
            Target("gate", "main", RANGE),
        ),
        ("gate/main", "start=2026-11-09T13:00:00Z", Target("gate", "main", TimeRange(START_US, NOW_US))),
        ("gate/main/clock=20261109T130000Z-20261109T131000Z", "", Target("gate", "main", RANGE)),
        ("gate/main/clock=20261109T130000Z-", "", Target("gate", "main", TimeRange(START_US, NOW_US))),
    ],
)
def test_addresses(path: str, query: str, target: Target) -> None:
    assert parse_target(path, query, NOW_US) == target


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("", ""),
        ("main", ""),
        ("gate", ""),
        ("gate/third", ""),
        ("%00/main", ""),
        ("x" * 201 + "/main", ""),
        ("gate/main/clock=yesterday", ""),
        ("gate/main", "start=2026-11-09T13:00:00"),
        ("gate/main", "start=2026-11-09T13:00:00Z&end=2026-11-09T12:00:00Z"),
        ("gate/main", "end=2026-11-09T13:00:00Z"),
    ],
)
def test_addresses_of_nothing(path: str, query: str) -> None:
    with pytest.raises(NvrError):
        parse_target(path, query, NOW_US)


@given(path=st.text(max_size=300), query=st.text(max_size=300))
def test_any_address_is_understood_or_refused(path: str, query: str) -> None:
    try:
        target = parse_target(path, query, NOW_US)
    except NvrError:
        return
    assert target.stream in ("main", "sub")


@given(at_us=instants)
def test_clock_times_come_back(at_us: int) -> None:
    header = f"clock={format_clock(at_us)}-{format_clock(at_us + 1)}"
    assert parse_play_range(header, None, NOW_US) == TimeRange(at_us, at_us + 1)


@pytest.mark.parametrize(
    ("header", "of", "wanted"),
    [
        ("", None, None),
        ("npt=now-", None, None),
        ("npt=0.000-", None, None),
        ("", RANGE, RANGE),
        ("npt=0.000-", RANGE, RANGE),
        ("npt=0-600", RANGE, RANGE),
        ("npt=1.5-0:01:00.25", RANGE, TimeRange(START_US + 1_500_000, START_US + 60_250_000)),
        ("clock=20261109T130000Z-20261109T131000Z;time=19970123T143720Z", None, RANGE),
        ("clock=20261109T130000.5Z-", RANGE, TimeRange(START_US + 500_000, RANGE.end_us)),
    ],
)
def test_ranges_of_play(header: str, of: TimeRange | None, wanted: TimeRange | None) -> None:
    assert parse_play_range(header, of, NOW_US) == wanted


@given(header=st.text(max_size=100) | st.from_regex(r"(npt|clock)=[0-9TZ:.-]{0,40}"))
def test_any_range_is_understood_or_refused(header: str) -> None:
    try:
        found = parse_play_range(header, RANGE, NOW_US)
    except RefusedError as error:
        status = error.status
    else:
        assert found is not None
        assert found.start_us < found.end_us
        return
    assert status == 457


@pytest.mark.parametrize(("header", "scale"), [("", 1), ("1", 1), ("1.0", 1), (" 64.000 ", 64)])
def test_scales(header: str, scale: int) -> None:
    assert parse_scale(header) == scale


@given(header=st.text(max_size=20))
def test_any_scale_is_understood_or_refused(header: str) -> None:
    try:
        scale = parse_scale(header)
    except RefusedError as error:
        status = error.status
    else:
        assert 1 <= scale <= 64
        return
    assert status == 456
