"""The cap holds, whatever comes in whichever pieces."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from nvr.recorder.rate_limit import TokenBucket

PIECES = st.lists(st.tuples(st.integers(0, 50_000), st.floats(0, 3)), max_size=40)


class Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@given(rate=st.integers(1000, 10_000), pieces=PIECES)
def test_no_more_than_the_cap_and_a_second_of_it(rate: int, pieces: list[tuple[int, float]]) -> None:
    clock = Clock()

    async def fetch() -> None:
        bucket = TokenBucket(rate, now_s=clock, sleep=clock.sleep)
        begin_s, taken = clock.now_s, 0
        for bits, work_s in pieces:
            clock.now_s += work_s
            await bucket.take(bits)
            taken += bits
            assert taken <= rate * (clock.now_s - begin_s + 1) + 0.01

    asyncio.run(fetch())


def test_what_fits_does_not_wait() -> None:
    clock = Clock()

    async def fetch() -> None:
        bucket = TokenBucket(1_000_000, now_s=clock, sleep=clock.sleep)
        for _ in range(10):
            clock.now_s += 1
            await bucket.take(1_000_000)

    asyncio.run(fetch())
    assert clock.now_s == 1010.0
