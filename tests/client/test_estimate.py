"""How long a pull over slow lines takes."""

from nvr.client._estimate import estimate_text, rate_text, seconds_for
from nvr.footage.types import ClipPart, LineSpeed, TimeRange


def part(size_bytes: int, line: LineSpeed | None) -> ClipPart:
    range_ = TimeRange(0, 1)
    return ClipPart(0, range_, size_bytes, "", "avc1.4d401f", "", "house", range_, line)


def test_no_slow_line_no_estimate() -> None:
    assert seconds_for([part(10**9, None), part(10**9, LineSpeed("house"))]) is None
    assert estimate_text([part(10**9, None)]) == ""


def test_a_line_is_as_slow_as_its_cap_or_what_it_carried() -> None:
    assert LineSpeed("a", 4_000_000, 0).bits_per_s == 4_000_000
    assert LineSpeed("a", 4_000_000, 1_000_000).bits_per_s == 1_000_000
    assert LineSpeed("a", 0, 1_000_000).bits_per_s == 1_000_000
    assert LineSpeed("a").bits_per_s == 0


def test_parts_of_one_line_come_one_after_another_and_lines_at_once() -> None:
    slow, fast = LineSpeed("slow", 1_000_000), LineSpeed("fast", 8_000_000, 20_000_000)
    parts = [part(1_000_000, slow), part(500_000, slow), part(3_000_000, fast), part(10**9, None)]
    assert seconds_for(parts) == 12.0
    assert estimate_text(parts) == "about 12s over the line of slow (cap 1 Mbit/s)"
    lately = [part(75_000_000, LineSpeed("a", 9_000_000, 1_000_000))]
    assert estimate_text(lately) == "about 10m over the line of a (lately 1 Mbit/s)"


def test_rates_for_people() -> None:
    assert [rate_text(rate) for rate in (999, 500_000, 1_500_000, 10**9)] == [
        "999 bit/s",
        "500 kbit/s",
        "1.5 Mbit/s",
        "1 Gbit/s",
    ]
