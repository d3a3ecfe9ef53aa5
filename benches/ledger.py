"""A ledger of extractions with the published totals of one real province, the same for the same seed.

Published (four years of a province): 12,293 extractions for 2,160 cases, and how many cases were
theft, injury, collision, disorder or other. Assumed, because nobody has published it: a case has few
extractions or many (lognormal), happens mostly in the evening and at hot spots, is asked about some
hours to some weeks later and in office hours, and begins with questions by place; a clip is 1 to 30
minutes long. Here all of it comes on one day.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from benches.communes import Commune
from nvr.footage.types import Place, TimeRange

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
CASES = {"theft": 505, "injury": 406, "collision": 664, "disorder": 171, "other": 414}
EXTRACTIONS = 12_293
NEAREST = 4
"""An extraction is from one of so many cameras that are nearest to its place."""
_MINUTE_US = 60 * SECOND_US
_KEPT_DAYS = 29
_LIVE_VIEWS_A_CASE = 0.5
_AT_HOT_SPOT, _IN_TOWN = 0.7, 0.2
# Weights of the hours of a day.
_ASKED = (*[1] * 7, 8, 20, 24, 24, 14, 6, 14, 24, 24, 18, 8, *[3] * 6)
_HAPPENED = (6, 4, 3, 2, 2, 3, 6, 8, 6, 5, 5, 6, 6, 5, 5, 6, 8, 12, 14, 16, 18, 18, 14, 10)


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody asks what there is around a place. ``at_us``: since the day began."""

    at_us: int
    case: int
    commune: int
    place: Place
    radius_m: float
    range: TimeRange
    """Since the day began: before it, nearly always."""


@dataclass(frozen=True, slots=True)
class Extraction(Question):
    """A question, and a clip of the same range from the camera that is ``nth`` nearest."""

    number: int
    category: str
    nth: int


@dataclass(frozen=True, slots=True)
class LiveView:
    """Somebody looks at a district's pictures as they come."""

    at_us: int
    district: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """One day, each list in order of time. ``places``: questions that no extraction follows at once."""

    extractions: Sequence[Extraction]
    places: Sequence[Question]
    live_views: Sequence[LiveView]


def ledger(communes: Sequence[Commune], *, share: float = 1.0, seed: int = 1) -> Ledger:
    """The day; ``share`` of its cases and extractions, for a try."""
    chance = random.Random(seed)
    counts = [max(1, round(count * share)) for count in CASES.values()]
    categories = [name for name, count in zip(CASES, counts, strict=True) for _ in range(count)]
    chance.shuffle(categories)
    cases = len(categories)
    weights = [chance.lognormvariate(0, 0.8) for _ in range(cases)]
    more = apportioned(max(cases, round(EXTRACTIONS * share)) - cases, weights)
    spots = _hot_spots(communes, chance)
    extractions: list[Extraction] = []
    places: list[Question] = []
    for case, category in enumerate(categories):
        # One after another has its spot from the hottest down; who comes first at a spot is chance.
        if chance.random() < _AT_HOT_SPOT:
            commune, place = chance.choices(spots, [1 / (rank + 10) for rank in range(len(spots))])[0]
        else:
            commune, place = _spot(communes, chance)
        asks = chance.randint(1, 3)
        times = _asked(asks + 1 + more[case], chance)
        happened_us = _happened(times[0], chance)
        around = TimeRange(happened_us - 15 * _MINUTE_US, happened_us + 15 * _MINUTE_US)
        places += [Question(at_us, case, commune.number, place, 400.0, around) for at_us in times[:asks]]
        for at_us in times[asks:]:
            extractions.append(
                Extraction(
                    at_us,
                    case,
                    commune.number,
                    place,
                    radius_m=chance.choice((200.0, 250.0, 300.0)),
                    range=_clip(happened_us, chance),
                    number=len(extractions),
                    category=category,
                    nth=chance.choices(range(NEAREST), range(NEAREST, 0, -1))[0],
                )
            )
    districts = 1 + max(commune.district for commune in communes)
    views = [
        LiveView(_asked(1, chance)[0], chance.randrange(districts))
        for _ in range(round(cases * _LIVE_VIEWS_A_CASE))
    ]
    return Ledger(
        sorted(extractions, key=lambda each: (each.at_us, each.number)),
        sorted(places, key=lambda each: (each.at_us, each.case)),
        sorted(views, key=lambda each: (each.at_us, each.district)),
    )


def apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """A total in whole shares by weights; what is left of rounding goes to the largest remainders."""
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [math.floor(each) for each in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: shares[at] - exact[at])
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _hot_spots(communes: Sequence[Commune], chance: random.Random) -> list[tuple[Commune, Place]]:
    return [_spot(communes, chance) for _ in range(max(1, len(communes) // 5))]


def _spot(communes: Sequence[Commune], chance: random.Random) -> tuple[Commune, Place]:
    in_town = chance.random() < _IN_TOWN
    commune = chance.choice([each for each in communes if each.town == in_town])
    return commune, commune.spot(chance)


def _asked(count: int, chance: random.Random) -> list[int]:
    """Instants at which one case's questions are asked: within two hours, on the same day."""
    hour = chance.choices(range(24), _ASKED)[0]
    first_us = int(chance.uniform(hour, hour + 1) * 3600) * SECOND_US
    last_us = min(first_us + 7200 * SECOND_US, DAY_US - 1)
    return [first_us, *sorted(chance.randint(first_us, last_us) for _ in range(count - 1))]


def _happened(asked_us: int, chance: random.Random) -> int:
    """Before it was asked about, by an hour at least, and kept still."""
    days = min(chance.lognormvariate(math.log(1.5), 1.0), _KEPT_DAYS - 1)
    hour = chance.choices(range(24), _HAPPENED)[0]
    happened_us = math.floor(asked_us / DAY_US - days) * DAY_US
    happened_us += int(chance.uniform(hour, hour + 1) * 3600) * SECOND_US
    return happened_us if happened_us < asked_us - 60 * _MINUTE_US else happened_us - DAY_US


def _clip(happened_us: int, chance: random.Random) -> TimeRange:
    length_s = min(max(chance.lognormvariate(math.log(360), 0.8), 60), 1800)
    off_s = min(max(chance.gauss(0, 300), -900), 900)
    start_us = happened_us + int(off_s - length_s / 2) * SECOND_US
    return TimeRange(start_us, start_us + int(length_s) * SECOND_US)
