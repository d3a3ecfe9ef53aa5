"""The cap, its hours, the order of classes, and how much may be under way."""

from datetime import time

from hypothesis import given
from hypothesis import strategies as st

from nvr.uplink.meter import LineMeter
from nvr.uplink.priority import Picker, Priority, priority_of
from nvr.uplink.shaper import CapHours, CapSchedule, Shaper, wire_bytes
from nvr.v1.common_pb2 import ReadContext
from nvr.v1.footage_pb2 import ReadClipRequest, ReadFragmentsRequest


@given(
    st.integers(1_000, 10_000_000),
    st.lists(st.tuples(st.integers(1, 70_000), st.floats(0, 2)), min_size=1, max_size=60),
)
def test_no_more_goes_than_the_cap(rate: int, steps: list[tuple[int, float]]) -> None:
    now_s = 0.0
    shaper = Shaper(now_s)
    shaper.set_rate(rate, now_s)
    sent: list[tuple[float, int]] = []
    for size, idle_s in steps:
        now_s += idle_s
        # Whoever waits as told may send.
        now_s += shaper.wait_s(now_s)
        assert shaper.wait_s(now_s) < 1e-6
        shaper.sent(size, now_s)
        sent.append((now_s, size * 8))
    # From any instant on: the cap, 20 ms of it at once, and one frame beyond.
    for first in range(len(sent)):
        bits = 0
        for at_s, size_bits in sent[first:]:
            assert bits <= rate * (at_s - sent[first][0] + 0.02) + sent[first][1] + 70_000 * 8
            bits += size_bits
    total = sum(bits for _, bits in sent[:-1])
    assert total <= rate * (now_s + 0.02) + 1


def test_a_cap_that_is_lifted_or_changed_holds_from_then_on() -> None:
    shaper = Shaper(0.0)
    assert shaper.wait_s(0.0) == 0
    shaper.sent(10**9, 0.0)
    assert shaper.wait_s(0.0) == 0
    shaper.set_rate(8000, 1.0)
    shaper.sent(1000, 1.0)
    assert shaper.wait_s(1.0) == 1.0
    shaper.set_rate(4000, 1.0)
    assert shaper.wait_s(1.0) == 2.0
    shaper.set_rate(None, 1.0)
    assert shaper.wait_s(1.0) == 0
    assert shaper.frame_bytes(65536, 4096) == 65536
    shaper.set_rate(5_000_000, 1.0)
    assert shaper.frame_bytes(65536, 4096) == 12_500


times = st.times().map(lambda at: at.replace(tzinfo=None))


@given(st.lists(st.tuples(times, times, st.none() | st.integers(1, 9)), max_size=4), times)
def test_the_first_hours_that_hold_give_the_cap(hours: list[tuple[time, time, int | None]], at: time) -> None:
    schedule = CapSchedule(100, [CapHours(*each) for each in hours])
    for start, end, cap in hours:
        within = start <= at < end if start < end else not end <= at < start
        if within:
            assert schedule.at(at) == cap
            return
    assert schedule.at(at) == 100


def test_hours_over_midnight() -> None:
    night = CapSchedule(1, [CapHours(time(22), time(6), None)])
    assert [night.at(time(hour)) for hour in (21, 22, 0, 5, 6)] == [1, None, None, None, 1]


def test_what_a_frame_takes_on_the_line_is_more_than_its_bytes() -> None:
    assert wire_bytes(0) > 0
    assert 1.04 * 65536 < wire_bytes(65536) < 1.06 * 65536


@given(st.lists(st.sets(st.sampled_from(list(Priority)), min_size=1), min_size=1, max_size=300))
def test_only_who_waits_is_picked(rounds: list[set[Priority]]) -> None:
    picker = Picker()
    for waiting in rounds:
        picked = picker.pick(waiting)
        assert picked in waiting
        picker.sent(picked, 10_000, waiting)


def test_all_classes_go_on_and_the_urgent_one_hardly_notices() -> None:
    picker = Picker()
    sent = dict.fromkeys(Priority, 0)
    for _ in range(10_000):
        picked = picker.pick(list(Priority))
        sent[picked] += 1
        picker.sent(picked, 1000, list(Priority))
    assert sent[Priority.CONTROL] > 8000
    assert min(sent.values()) > 200
    # Who was not waiting has nothing owed.
    assert picker.pick([Priority.CONTROL]) is Priority.CONTROL
    assert picker.pick(list(Priority)) is Priority.CONTROL


def test_the_class_of_a_call() -> None:
    service = "/nvr.v1.FootageService"
    assert priority_of("/nvr.v1.DirectoryService/WatchDirectory", None) is Priority.CONTROL
    assert priority_of(f"{service}/Find", None) is Priority.CONTROL
    assert priority_of(f"{service}/WatchLive", None) is Priority.LIVE
    assert priority_of(f"{service}/ReadClip", ReadClipRequest()) is Priority.CLIPS
    copy = ReadFragmentsRequest(context=ReadContext(purpose="copy"))
    assert priority_of(f"{service}/ReadFragments", copy) is Priority.BULK
    assert Priority.from_pb(0) is Priority.from_pb(77) is Priority.CLIPS


def on_a_line(bytes_per_s: float, round_trip_s: float, seconds: float, frame: int = 16_000) -> LineMeter:
    """A line with a queue of any length before it, used as much as the meter allows."""
    meter = LineMeter(0.0)
    now_s, free_s = 0.0, 0.0
    arrivals: list[tuple[float, int]] = []
    total = 0
    while now_s < seconds:
        while meter.room > 0:
            total += frame
            meter.sent(frame, now_s)
            free_s = max(free_s, now_s) + frame / bytes_per_s
            arrivals.append((free_s + round_trip_s, total))
        now_s, arrived = arrivals.pop(0)
        meter.arrived(arrived, now_s)
    return meter


@given(st.floats(20_000, 50_000_000), st.floats(0.001, 0.3))
def test_a_line_is_used_up_and_its_queue_stays_short(bytes_per_s: float, round_trip_s: float) -> None:
    meter = on_a_line(bytes_per_s, round_trip_s, 40 * (round_trip_s + 0.05))
    if bytes_per_s * (round_trip_s + 0.05) * 1.25 < 32 << 20:
        assert 0.8 * bytes_per_s < meter.bytes_per_s < 1.3 * bytes_per_s + 16_000 / round_trip_s
    queue = meter.under_way - bytes_per_s * round_trip_s
    assert queue < max(64 << 10, bytes_per_s * (0.5 * round_trip_s + 0.3)) + 16_000


def test_a_meter_refuses_what_was_not_sent() -> None:
    meter = LineMeter(0.0)
    meter.sent(100, 0.0)
    meter.arrived(50, 0.1)
    for wrong in (101, 49):
        try:
            meter.arrived(wrong, 0.2)
        except ValueError:
            continue
        raise AssertionError(wrong)
    assert meter.under_way == 50
