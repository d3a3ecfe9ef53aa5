"""One timeline of several nodes, against a look at every microsecond."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nvr.footage.types import Gap, Span, TimeRange
from nvr.gateway.merge import Told, fills, merge_coverage, stretches

RANGE = TimeRange(0, 24)
RUNS = ("a", "b", "c")


@st.composite
def tellings(draw: st.DrawFn, node: str) -> list[Span | Gap]:
    """What a node tells of the range: spans and gaps that fill it."""
    edges = sorted({0, 24, *draw(st.lists(st.integers(1, 23), max_size=5))})
    items: list[Span | Gap] = []
    for start, end in itertools.pairwise(edges):
        of = TimeRange(start, end)
        if draw(st.booleans()):
            items.append(Span(of, draw(st.sampled_from(RUNS)) + node, draw(st.integers(0, 2)), node))
        else:
            items.append(Gap(of, draw(st.sampled_from(["not_recorded", "silent", "removed", "expired"]))))
    return items


told_by_all = st.tuples(tellings("x"), tellings("y"), tellings("z")).flatmap(
    lambda three: st.integers(1, 3).map(lambda count: three[:count])
)


def naive(told: tuple[list[Span | Gap], ...], at: int) -> tuple[str, str]:
    """Who is shown at an instant, or why nobody."""
    here = [item for items in told for item in items if item.range.start_us <= at < item.range.end_us]
    spans = [item for item in here if isinstance(item, Span)]
    if spans:
        best = max(spans, key=lambda span: (span.epoch, span.run_id, span.node))
        return "span", best.run_id
    gaps = [
        (item.reason in ("not_recorded", "removed", "disabled"), rank, item.reason)
        for rank, items in enumerate(told)
        for item in items
        if isinstance(item, Gap) and item.range.start_us <= at < item.range.end_us
    ]
    return "gap", min(gaps, key=lambda gap: gap[:2])[2]


@given(told_by_all)
def test_it_is_what_a_look_at_every_instant_gives(told: tuple[list[Span | Gap], ...]) -> None:
    merged = merge_coverage(RANGE, [Told(items, rank) for rank, items in enumerate(told)], all_answered=True)
    assert fills(merged, RANGE)
    for item in merged:
        for at in range(item.range.start_us, item.range.end_us):
            expected = ("span", item.run_id) if isinstance(item, Span) else ("gap", item.reason)
            assert naive(told, at) == expected


@given(told_by_all)
def test_it_does_not_depend_on_who_answers_first(told: tuple[list[Span | Gap], ...]) -> None:
    ranked = [Told(items, rank) for rank, items in enumerate(told)]
    assert merge_coverage(RANGE, ranked, all_answered=True) == merge_coverage(
        RANGE, ranked[::-1], all_answered=True
    )


@given(told_by_all)
def test_what_was_not_answered_is_no_gap(told: tuple[list[Span | Gap], ...]) -> None:
    ranked = [Told(items, rank) for rank, items in enumerate(told)]
    known = merge_coverage(RANGE, ranked, all_answered=False)
    assert all(isinstance(item, Span) for item in known)
    assert known == [
        item for item in merge_coverage(RANGE, ranked, all_answered=True) if isinstance(item, Span)
    ]


@given(told_by_all)
def test_each_stretch_is_of_one_node_and_holds_all_its_spans(told: tuple[list[Span | Gap], ...]) -> None:
    merged = merge_coverage(RANGE, [Told(items, rank) for rank, items in enumerate(told)], all_answered=True)
    found = stretches(merged)
    for before, after in itertools.pairwise(found):
        assert before.range.end_us <= after.range.start_us
        assert before.node != after.node
    for span in merged:
        if isinstance(span, Span):
            (of,) = [
                each
                for each in found
                if each.range.start_us <= span.range.start_us and span.range.end_us <= each.range.end_us
            ]
            assert of.node == span.node


def test_one_telling_is_passed_on_as_it_is() -> None:
    items: list[Span | Gap] = [
        Span(TimeRange(0, 10), "a", 0, "x"),
        Gap(TimeRange(10, 20), "silent", "for 10 s"),
        Span(TimeRange(20, 24), "b", 0, "x"),
    ]
    assert merge_coverage(RANGE, [Told(items)], all_answered=True) == items


def test_what_does_not_fill_is_seen() -> None:
    span = Span(TimeRange(0, 10), "a")
    assert not fills([], RANGE)
    assert not fills([span], RANGE)
    assert not fills([span, Gap(TimeRange(11, 24), "silent")], RANGE)
    assert fills([span, Gap(TimeRange(10, 24), "silent")], RANGE)
