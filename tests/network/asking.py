"""Questions to the uppermost node while things break: each answer is true, or says what it lacks."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from nvr.errors import NvrError
from nvr.footage.places import FindRequest, Found
from nvr.footage.types import End, Fragment, FragmentsRequest, Notice, Span, TimeRange
from nvr.gateway.trouble import omissions
from tests.network.ledger import Ledger, check_covered, check_once, shown
from tests.network.ward import CITY, CONTEXT, SECOND, Ward

_EVERY_S = 0.25
# What a caller's own deadline would be.
_WAIT_S = 8.0


@dataclass
class Asked:
    """How many answers there were, of each kind, and codes of warnings."""

    complete: int = 0
    partial: int = 0
    failed: int = 0
    warned: set[str] = field(default_factory=set)


async def ask(ward: Ward, ledger: Ledger, ids: list[str], seed: int, asked: Asked) -> None:
    """Asks one question after another, for ever."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        now_us = time.time_ns() // 1000
        end_us = now_us - chance.choice((0, 1, 4)) * SECOND
        if end_us > ledger.start_us:
            range_ = TimeRange(ledger.start_us, end_us)
            question = chance.choice((_find, _coverage, _fragments))
            answer = f"answer {number} ({question.__name__.strip('_')})"
            try:
                async with asyncio.timeout(_WAIT_S):
                    steps = await question(ward, ledger, chance.choice(ids), range_, answer)
            except (NvrError, TimeoutError):
                asked.failed += 1
            else:
                _count(steps, answer, asked)
        await asyncio.sleep(_EVERY_S)


def _count(steps: list[Notice | End], answer: str, asked: Asked) -> None:
    end = steps[-1]
    assert isinstance(end, End), f"{answer} has no end"
    notices = [step for step in steps if isinstance(step, Notice)]
    missing = omissions(notices)
    asked.warned |= {notice.code for notice in notices}
    if end.complete:
        asked.complete += 1
        assert not missing, f"{answer} is complete, it says, and warns of {missing}"
    else:
        asked.partial += 1
        assert missing, f"{answer} is not complete, and does not say what it lacks"
        assert all(notice.node for notice in missing), f"{answer} does not say who failed: {missing}"


async def _find(
    ward: Ward, ledger: Ledger, _camera: str, range_: TimeRange, answer: str
) -> list[Notice | End]:
    before_s = time.monotonic()
    steps = [step async for step in ward.footage(CITY).find(CONTEXT, FindRequest(range=range_))]
    rest = [step for step in steps if not isinstance(step, Found)]
    for found in steps:
        if isinstance(found, Found):
            spans = [item for item in found.coverage if isinstance(item, Span)]
            ledger.spans += ((found.camera.id, span, answer) for span in spans)
            if isinstance(rest[-1], End) and rest[-1].complete:
                entries = ledger.of(found.camera.id, before_s=before_s)
                check_covered(entries, (span.range for span in spans), range_, answer)
    return rest


async def _coverage(
    ward: Ward, ledger: Ledger, camera: str, range_: TimeRange, answer: str
) -> list[Notice | End]:
    before_s = time.monotonic()
    steps = [step async for step in ward.footage(CITY).coverage(CONTEXT, camera, "main", range_)]
    rest = [step for step in steps if isinstance(step, Notice | End)]
    spans = [step for step in steps if isinstance(step, Span)]
    ledger.spans += ((camera, span, answer) for span in spans)
    if isinstance(rest[-1], End) and rest[-1].complete:
        entries = ledger.of(camera, before_s=before_s)
        check_covered(entries, (span.range for span in spans), range_, answer)
    return rest


async def _fragments(
    ward: Ward, ledger: Ledger, camera: str, range_: TimeRange, answer: str
) -> list[Notice | End]:
    before_s = time.monotonic()
    request = FragmentsRequest(camera, range_, refs_only=True)
    steps = [step async for step in ward.footage(CITY).read_fragments(CONTEXT, request)]
    rest = [step for step in steps if isinstance(step, Notice | End)]
    given = [step for step in steps if isinstance(step, Fragment)]
    check_once([each.ref for each in given], answer)
    for each in given:
        ledger.claim(camera, each, answer)
    if isinstance(rest[-1], End) and rest[-1].complete:
        entries = ledger.of(camera, before_s=before_s)
        check_covered(entries, (shown(each.ref) for each in given), range_, answer)
    return rest
