"""Recorded pictures are played at their own pace, live ones let through."""

from hypothesis import given
from hypothesis import strategies as st

from nvr.sources.pace import Pacer

STEPS = st.lists(st.floats(0.001, 1.0), min_size=2, max_size=100)


def play(pacer: Pacer, media: list[float], work: list[float]) -> list[float]:
    """When each picture is let go, if there is so much to do before it."""
    now, out = 1000.0, []
    for at, busy in zip(media, work, strict=True):
        now += busy
        now += pacer.hold(at, now)
        out.append(now)
    return out


def times(steps: list[float]) -> list[float]:
    at, media = 0.0, []
    for step in steps:
        media.append(at)
        at += step
    return media


@given(STEPS, st.floats(-1e6, 1e6))
def test_what_is_there_at_once_takes_its_own_time(steps: list[float], origin: float) -> None:
    media = [origin + at for at in times(steps)]
    out = play(Pacer(live=False), media, [0.0] * len(media))
    for at, when in zip(media, out, strict=True):
        took, should = when - out[0], at - media[0]
        # A little faster than time, so that what waits gets less.
        assert should * 0.997 - 1e-6 <= took <= should + 1e-6


@given(STEPS, st.data())
def test_a_live_source_is_never_held(steps: list[float], data: st.DataObject) -> None:
    media = times(steps)
    jitter = data.draw(st.lists(st.floats(0, 4), min_size=len(media), max_size=len(media)))
    pacer, last = Pacer(live=True), 0.0
    for at, late in zip(media, jitter, strict=True):
        last = max(last, at + late)
        assert pacer.hold(at, last) == 0.0


def test_a_flood_that_says_it_is_live_is_slowed_down() -> None:
    media = [n * 0.04 for n in range(2500)]
    out = play(Pacer(live=True), media, [0.0] * len(media))
    assert 85 < out[-1] - out[0] < 91


@given(st.floats(5.1, 1e9) | st.floats(-1e9, -1.1))
def test_a_jump_is_not_waited_for(jump: float) -> None:
    pacer = Pacer(live=False)
    assert play(pacer, [0.0, 0.1, 0.1 + jump], [0.0] * 3)[-1] < 1000.2
