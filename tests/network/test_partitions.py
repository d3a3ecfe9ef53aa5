"""Partition and heal: random kills, cuts and slow lines, and what queries say meanwhile and afterwards.

One seed, one history of steps, written out where the test fails. ``NVR_HISTORY=SEED:SECONDS``
runs one again; ``make soak`` runs many.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from nvr import _core
from nvr.errors import NvrError
from nvr.footage.places import FindRequest
from nvr.footage.types import End, Fragment, FragmentRef, FragmentsRequest, Notice, TimeRange
from tests.network.asking import Asked, ask
from tests.network.history import Step, history, told
from tests.network.ledger import Ledger, check_once, look, name_of, same, shown, union, witness
from tests.network.ward import CITY, CONTEXT, KEEPER, SPARE, Layout, Ward, until, ward
from tests.support.skips import needs_program

pytestmark = [needs_program("ip", "tc"), pytest.mark.timeout(900)]
SECONDS = 30.0
SOAK_SECONDS = 150.0
SOAK_SEEDS = range(100, 120)
LAYOUT = Layout({"alpha": (1, 2), "beta": (3,), SPARE: ()}, keeper_of="alpha", city=True)
RECORDERS = ("alpha", "beta", SPARE, KEEPER)

Own = dict[tuple[str, str], list[FragmentRef]]


def histories() -> list[object]:
    named = os.environ.get("NVR_HISTORY", "")
    if named:
        seed, _, seconds = named.partition(":")
        return [(int(seed), float(seconds or SECONDS))]
    longer = (pytest.param(seed, SOAK_SECONDS, marks=pytest.mark.soak) for seed in SOAK_SEEDS)
    return [(1, SECONDS), *longer]


@pytest.mark.parametrize(("seed", "seconds"), histories())
async def test_a_history_of_kills_and_cuts(tmp_path: Path, seed: int, seconds: float) -> None:
    steps = history(seed, seconds)
    print("\n".join(told(seed, seconds, steps)))
    async with ward(tmp_path, LAYOUT) as made:
        ids = await made.ids()
        ledger, asked = Ledger(time.time_ns() // 1000), Asked()
        await live(made, ledger, list(ids.values()), steps, seed, asked)
        print(asked)
        end_us = await settled(made, ledger)
        range_ = TimeRange(ledger.start_us, end_us)
        own = await on_disk(made, range_)
        check_nothing_is_lost(ledger, own, range_)
        ledger.check_claims()
        await check_each_source(made, own, range_)
        for camera_id in ids.values():
            await check_timeline(made, own, camera_id, range_)
        await check_copies(made, own, range_)
        codes = made.stop()
    hung = [name for name, code in codes.items() if code]
    assert not hung, [line for line in made.written if line.partition(":")[0] in hung][-200:]
    for node in RECORDERS:
        assert _core.Store.check([str(made.store(node))], digests=True).problems == []
    if (seed, seconds) == (1, SECONDS):
        check_the_short_one(ledger, asked)


async def live(
    made: Ward, ledger: Ledger, ids: list[str], steps: Sequence[Step], seed: int, asked: Asked
) -> None:
    """The history, with witnesses and questions beside it. Fails as soon as one of them does."""
    began_s = time.monotonic()

    async def act() -> None:
        for step in steps:
            await asyncio.sleep(max(0.0, began_s + step.at_s - time.monotonic()))
            print(f"{time.monotonic() - began_s:6.2f}  {step}")
            await asyncio.to_thread(step.apply, made)

    beside = [asyncio.create_task(witness(made, node, ledger)) for node in RECORDERS]
    beside.append(asyncio.create_task(ask(made, ledger, ids, seed, asked)))
    acting = asyncio.create_task(act())
    try:
        done, _ = await asyncio.wait([acting, *beside], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (acting, *beside):
            task.cancel()
        await asyncio.gather(acting, *beside, return_exceptions=True)


async def settled(made: Ward, ledger: Ledger) -> int:
    """Returns an instant up to which everything is on disk, told and copied."""
    end_us = time.time_ns() // 1000
    range_ = TimeRange(ledger.start_us, end_us)

    async def whole() -> bool:
        with suppress(NvrError):
            steps = [step async for step in made.footage(CITY).find(CONTEXT, FindRequest(range=range_))]
            if [step for step in steps if isinstance(step, Notice)] or not isinstance(steps[-1], End):
                return False
            own = await on_disk(made, range_, settled=False)
            alphas = {key[1]: list(map(name_of, refs)) for key, refs in own.items() if key[0] == "alpha"}
            kept = {key[1]: list(map(name_of, refs)) for key, refs in own.items() if key[0] == KEEPER}
            return steps[-1].complete and alphas == kept
        return False

    await until(whole, "all is told and copied", within_s=180)
    for node in RECORDERS:
        await look(made, node, ledger)
    return end_us


async def on_disk(made: Ward, range_: TimeRange, *, settled: bool = True) -> Own:
    """What each recorder has, by its own word. ``settled``: fails where something is in memory still."""
    own: Own = {}
    for node in RECORDERS:
        for camera in await made.cameras(node):
            if any(stream.oldest_us for stream in camera.streams):
                request = FragmentsRequest(camera.id, range_, refs_only=True)
                steps = [step async for step in made.footage(node).read_fragments(CONTEXT, request)]
                refs = [step.ref for step in steps if isinstance(step, Fragment)]
                if not settled and steps[-1] != End(complete=True):
                    return {("alpha", ""): []}
                assert steps[-1] == End(complete=True), [s for s in steps if isinstance(s, Notice)]
                own[node, camera.id] = refs
    return own


def check_nothing_is_lost(ledger: Ledger, own: Own, range_: TimeRange) -> None:
    """What was acknowledged once is there for ever."""
    has = {(node, camera, name_of(ref)) for (node, camera), refs in own.items() for ref in refs}
    for key, entry in ledger.entries.items():
        if entry.ref.start_us < range_.end_us:
            assert key in has, f"{key} was acknowledged, and is gone: {entry.ref}"


async def check_each_source(made: Ward, own: Own, range_: TimeRange) -> None:
    """Each recorder's footage by a query at the top: all of it, in order, nothing twice or invented."""
    for (node, camera), refs in own.items():
        for limit in (0, 7):
            asked = await made.refs(CITY, camera, range_, source=node, limit=limit)
            assert list(map(name_of, asked)) == list(map(name_of, refs)), (node, camera, limit)


async def check_timeline(made: Ward, own: Own, camera: str, range_: TimeRange) -> None:
    """All recorders' footage together: no instant is missing that one of them has."""
    has = {name_of(ref): ref for (_, of), refs in own.items() if of == camera for ref in refs}
    whole = await made.refs(CITY, camera, range_)
    check_once(whole, "the timeline")
    for ref in whole:
        assert same(has[name_of(ref)], ref)
    assert union(map(shown, whole), range_) == union(map(shown, has.values()), range_)
    paged = await made.refs(CITY, camera, range_, limit=5)
    assert list(map(name_of, paged)) == list(map(name_of, whole))


async def check_copies(made: Ward, own: Own, range_: TimeRange) -> None:
    """Copies have all that their source has, byte for byte, through the top."""
    for (node, camera), refs in own.items():
        if node != "alpha":
            continue
        data = []
        for source in (node, KEEPER):
            request = FragmentsRequest(camera, range_, source=source)
            steps = [step async for step in made.footage(CITY).read_fragments(CONTEXT, request)]
            assert steps[-1] == End(complete=True), (source, [s for s in steps if isinstance(s, Notice)])
            data.append({name_of(step.ref): step for step in steps if isinstance(step, Fragment)})
        assert list(data[0]) == list(data[1]) == list(map(name_of, refs))
        for name, one in data[0].items():
            assert (one.ref, one.data) == (data[1][name].ref, data[1][name].data)


def check_the_short_one(ledger: Ledger, asked: Asked) -> None:
    """It is worth its time: something was taken over, copied late, and questions were cut short."""
    nodes = {entry.node for entry in ledger.entries.values()}
    assert nodes == set(RECORDERS)
    assert any(entry.ref.epoch > 0 for entry in ledger.entries.values())
    assert asked.complete
    assert asked.partial
