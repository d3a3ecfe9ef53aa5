"""What is missing: all of it, nothing else, the newest run first."""

import dataclasses
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nvr.footage.types import FragmentRef, Gap, Span, TimeRange
from nvr.recorder.backfill_plan import missing_fragments, missing_runs, untold_gaps

RUNS = st.sampled_from(["a", "b", "c"])
RANGES = st.tuples(st.integers(0, 60), st.integers(1, 25)).map(lambda t: TimeRange(t[0], t[0] + t[1]))


def separate(spans: list[Span]) -> list[Span]:
    """As a node gives them: of one run, no two overlap."""
    kept: list[Span] = []
    for span in spans:
        if all(span.run_id != other.run_id or not instants([span]) & instants([other]) for other in kept):
            kept.append(span)
    return kept


SPANS = st.lists(st.builds(Span, RANGES, RUNS), max_size=12).map(separate)


def instants(spans: list[Span]) -> set[tuple[str, int]]:
    return {(span.run_id, at) for span in spans for at in range(span.range.start_us, span.range.end_us)}


@given(theirs=SPANS, ours=SPANS, without=st.lists(RANGES, max_size=3))
def test_the_missing_is_theirs_without_ours(
    theirs: list[Span], ours: list[Span], without: list[TimeRange]
) -> None:
    runs = missing_runs(theirs, ours, without)
    unwanted = {at for each in without for at in range(each.start_us, each.end_us)}
    found = [
        (run.run_id, at) for run in runs for each in run.ranges for at in range(each.start_us, each.end_us)
    ]
    assert len(found) == len(set(found))
    assert set(found) == {(r, at) for r, at in instants(theirs) - instants(ours) if at not in unwanted}
    assert sum(run.duration_us for run in runs) == len(found)


@given(theirs=SPANS, ours=SPANS)
def test_the_newest_run_comes_first_and_each_goes_forward(theirs: list[Span], ours: list[Span]) -> None:
    runs = missing_runs(theirs, ours)
    assert len({run.run_id for run in runs}) == len(runs)
    for newer, older in pairwise(runs):
        assert newer.ranges[-1].end_us >= older.ranges[-1].end_us
    for run in runs:
        assert all(a.end_us <= b.start_us for a, b in pairwise(run.ranges))


@given(spans=SPANS)
def test_what_is_held_is_not_missing(spans: list[Span]) -> None:
    assert missing_runs(spans, spans) == []


def reference(run_id: str, sequence: int) -> FragmentRef:
    return FragmentRef(
        camera_id="c",
        stream="main",
        run_id=run_id,
        epoch=0,
        sequence=sequence,
        start_us=sequence,
        duration_us=1,
        random_access=True,
        random_access_distance=0,
        size_bytes=1,
        pictures=1,
        activity_bytes=0,
    )


NAMES = st.tuples(RUNS, st.integers(0, 30))


@given(listed=st.lists(NAMES, unique=True, max_size=40), held=st.sets(NAMES))
def test_stretches_of_fragments(listed: list[tuple[str, int]], held: set[tuple[str, int]]) -> None:
    page = [reference(*each) for each in sorted(listed, key=lambda each: each[1])]
    stretches = missing_fragments(page, held)
    flat = [(ref.run_id, ref.sequence) for stretch in stretches for ref in stretch]
    assert len(flat) == len(set(flat))
    assert set(flat) == set(listed) - held
    assert all(len({ref.run_id for ref in stretch}) == 1 for stretch in stretches)
    for run_id in "abc":
        # Between two stretches of a run lies one that is held.
        own = [stretch for stretch in stretches if stretch[0].run_id == run_id]
        between = sorted(sequence for run, sequence in set(listed) & held if run == run_id)
        for before, after in pairwise(own):
            assert any(before[-1].sequence < each < after[0].sequence for each in between)


def test_which_gaps_are_told() -> None:
    whole = TimeRange(0, 100)
    theirs = [
        Gap(TimeRange(0, 10), "not_recorded"),
        Gap(TimeRange(20, 30), "unreachable", "no route"),
        Gap(TimeRange(40, 50), "silent"),
        Gap(TimeRange(60, 70), "pending"),
        Gap(TimeRange(90, 100), "refused"),
    ]
    ours = [dataclasses.replace(gap, reason="not_copied") for gap in theirs]
    ours[2] = theirs[2]
    assert untold_gaps(theirs, ours, whole) == [theirs[1]]
