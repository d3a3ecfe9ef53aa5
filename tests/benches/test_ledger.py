"""The ledger has the published totals, is the same for the same seed, and can be replayed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.communes import CAMERAS, Commune, communes
from benches.ledger import CASES, DAY_US, NEAREST, Ledger, apportioned, ledger
from nvr.directory.geometry import distance_m


@pytest.fixture(scope="module")
def province() -> list[Commune]:
    return communes(2_000, 26, 300)


@pytest.fixture(scope="module")
def day(province: list[Commune]) -> Ledger:
    return ledger(province)


def test_the_totals_are_the_published_ones(day: Ledger, province: list[Commune]) -> None:
    assert len(day.extractions) == 12_293
    category_of = {each.case: each.category for each in day.extractions}
    assert len(category_of) == 2_160
    assert Counter(category_of.values()) == CASES
    assert len(province) * CAMERAS == 136_000


def test_the_same_seed_gives_the_same_day(day: Ledger, province: list[Commune]) -> None:
    assert ledger(communes(2_000, 26, 300)) == day
    assert ledger(province, seed=2) != day


def test_places_are_asked_about_first_and_then_clips_of_what_is_over(day: Ledger) -> None:
    first_asked: dict[int, int] = {}
    for question in day.places:
        first_asked.setdefault(question.case, question.at_us)
    for each in day.extractions:
        assert first_asked[each.case] <= each.at_us < DAY_US
        assert each.range.end_us < each.at_us
        assert each.range.start_us > -30 * DAY_US
        assert 60_000_000 <= each.range.duration_us <= 1_800_000_000
        assert 0 <= each.nth < NEAREST


def test_cases_gather_at_hot_spots(day: Ledger) -> None:
    spots = Counter({each.case: each.place for each in day.extractions}.values())
    assert sum(count for _, count in spots.most_common(len(spots) // 10)) > 2_160 / 4


def test_towns_stand_apart_from_the_country_and_their_wards_side_by_side(province: list[Commune]) -> None:
    district = [each for each in province if each.district == 3]
    towns = [place for each in district if each.town for place in each.cameras]
    country = [place for each in district if not each.town for place in each.cameras]
    assert min(distance_m(one, other) for one in towns[::7] for other in country) > 800
    wards = [each for each in district if each.town][:2]
    assert min(distance_m(one, other) for one in wards[0].cameras for other in wards[1].cameras) < 300


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_shares_add_up_and_none_is_off_by_one(total: int, weights: list[float]) -> None:
    shares = apportioned(total, weights)
    assert sum(shares) == total
    exact = [total * weight / sum(weights) for weight in weights]
    assert all(abs(share - each) < 1 + 1e-6 for share, each in zip(shares, exact, strict=True))
