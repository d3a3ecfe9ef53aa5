from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import InvalidArgument, NaiveDatetime
from nvr.footage.time import (
    MAX_US,
    format_duration,
    format_instant,
    from_datetime,
    parse_duration,
    parse_instant,
    parse_range,
    to_datetime,
)
from nvr.footage.types import TimeRange

instants = st.integers(0, MAX_US)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(instants)
def test_instants_survive_text(at_us: int) -> None:
    assert parse_instant(format_instant(at_us)) == at_us


@given(st.integers(86_400_000_000, MAX_US - 86_400_000_000), offsets)
def test_instants_survive_any_offset(at_us: int, zone: timezone) -> None:
    local = to_datetime(at_us).astimezone(zone)
    assert from_datetime(local) == at_us
    assert parse_instant(local.isoformat()) == at_us


@given(st.integers(0, MAX_US))
def test_durations_survive_text(duration_us: int) -> None:
    assert parse_duration(format_duration(duration_us)) == duration_us


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365 * 7000)))
def test_timedeltas_are_exact(duration: timedelta) -> None:
    assert timedelta(microseconds=parse_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T14:05:00Z", 1_795_442_700_000_000),
        ("2026-11-23T21:05:00.25+07:00", 1_795_442_700_250_000),
        ("2026-11-23 14:05:00.123456Z", 1_795_442_700_123_456),
        ("  2026-11-23T14:05Z ", 1_795_442_700_000_000),
    ],
)
def test_iso_8601(text: str, at_us: int) -> None:
    assert parse_instant(text) == at_us


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("2026-11-23T14:05:00", "2026-11-23T14:05:00Z"),
        ("2026-11-23", "2026-11-23T00:00:00Z"),
        (datetime(2026, 11, 23, 14, 5), "timezone.utc"),  # noqa: DTZ001 - the point of the test
    ],
)
def test_naive_is_refused_with_help(value: str | datetime, hint: str) -> None:
    with pytest.raises(NaiveDatetime, match="no time zone") as caught:
        parse_instant(value, field="start")
    assert hint in caught.value.message
    assert caught.value.field == "start"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "14:05",
        "1969-12-31T23:59:59Z",
        "2026-13-01T00:00:00Z",
        "9" * 100_000,
        1_795_442_700,
        None,
    ],
)
def test_what_is_no_instant_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_instant(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "duration_us"),
    [
        ("1s", 1_000_000),
        ("500ms", 500_000),
        ("2m", 120_000_000),
        ("1h30m", 5_400_000_000),
        ("1h 30m", 5_400_000_000),
        ("1.5s", 1_500_000),
        ("0.000001s", 1),
        ("250us", 250),
        ("250µs", 250),
        ("1d", 86_400_000_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, duration_us: int) -> None:
    assert parse_duration(text) == duration_us


@pytest.mark.parametrize(
    "value",
    [
        *("", "1", "s", "-1s", "1x", "30m1h", "1s1s", "1ms1s", "0.0000001s", "1e3s", "٣s", "1s" * 50_000),
        *(5, None, timedelta(seconds=-1)),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_duration(value)  # type: ignore[arg-type]


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse in (parse_instant, parse_duration):
        with suppress(InvalidArgument):
            assert 0 <= parse(text) <= MAX_US


def test_ranges() -> None:
    start = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    assert parse_range(start, "2026-11-23T14:05:01Z") == TimeRange(
        1_795_442_700_000_000, 1_795_442_701_000_000
    )
    with pytest.raises(InvalidArgument, match="must come after"):
        parse_range(start, start)
    with pytest.raises(NaiveDatetime) as caught:
        parse_range(start, "2026-11-23T14:05:01")
    assert caught.value.field == "end"


def test_formats_are_as_short_as_exact() -> None:
    assert format_instant(1_795_442_700_000_000) == "2026-11-23T14:05:00Z"
    assert format_instant(1_795_442_700_120_000) == "2026-11-23T14:05:00.120Z"
    assert format_instant(1_795_442_700_000_001) == "2026-11-23T14:05:00.000001Z"
    assert format_duration(5_400_000_000) == "1h30m"
    assert format_duration(-1_500_000) == "-1s500ms"
