"""The parts of a province's day that decide what is measured: footage, and simulated time."""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

from benches.harness import percentile
from benches.ledger import DAY_US, NEAREST, Ledger, ledger
from benches.province_nodes import QUICK, directory_file, fill, standing_in, wanted_footage
from benches.province_replay import Service
from benches.province_simulation import SimulatedLoop, simulate
from nvr.directory.directory import Directory
from nvr.directory.feed import DirectoryFeed
from nvr.directory.types import DirectoryBatch, NodeEntry
from nvr.footage.types import CAPABILITIES, NodeKind, ReadContext
from tests.directory.entries import node_id

DAY_START_US = 20_000 * DAY_US


def test_the_nearest_cameras_have_all_that_is_asked_of_a_place() -> None:
    made = QUICK.made()
    day = ledger(made, share=0.1)
    footage = wanted_footage(made, day, QUICK.towns)
    for (number, _), ranges in footage.items():
        assert number < QUICK.towns
        assert all(one.end_us < other.start_us for one, other in itertools.pairwise(ranges))
    for each in filter(QUICK.is_real, day.extractions):
        holding = [
            camera
            for camera, ranges in footage.items()
            if any(r.start_us < each.range.start_us and each.range.end_us < r.end_us for r in ranges)
        ]
        assert len(holding) >= NEAREST


def test_simulated_time_passes_while_all_wait_and_only_then() -> None:
    async def wait() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(86_400))
        return begun, loop.time()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        begun, ended = runner.run(wait())
    assert ended - begun == 86_400


async def _told(path: Path, district: int) -> Sequence[DirectoryBatch]:
    own = NodeEntry(standing_in(district), f"district-{district}", capabilities=CAPABILITIES)
    directory = Directory(path, own)
    batches: list[DirectoryBatch] = []
    async for step in DirectoryFeed(directory).watch_directory(ReadContext()):
        if isinstance(step, DirectoryBatch):
            batches.append(step)
            if step.current:
                break
    directory.close()
    return batches


def _day(tmp_path: Path) -> Ledger:
    """What is simulated, with the directories that it reads."""
    made = QUICK.made()
    (tmp_path / "province").mkdir()
    own = NodeEntry(node_id("province"), "province", kind=NodeKind.GATEWAY)
    top = Directory(tmp_path / "province" / "directory.sqlite", own)
    for district in range(QUICK.districts):
        path = directory_file(tmp_path, district)
        below = [each for each in made if each.district == district and not each.town]
        fill(path, district, below, DAY_START_US - 31 * DAY_US)
        for batch in asyncio.run(_told(path, district)):
            top.apply(standing_in(district), batch)
    top.close()
    return ledger(made, share=QUICK.share)


def test_the_gateways_own_code_answers_in_simulated_time(tmp_path: Path) -> None:
    day = _day(tmp_path)
    took_ms = [2.0]
    service = Service(took_ms, took_ms, took_ms, took_ms, took_ms, took_ms)
    ids = {district: standing_in(district) for district in range(QUICK.districts)}
    found = simulate(tmp_path, node_id("province"), ids, day, QUICK, service, DAY_START_US, 600.0)
    assert found.failures == []
    assert found.recorders == QUICK.communes - QUICK.towns
    assert len(found.head_ms) == sum(not QUICK.is_real(each) for each in day.extractions)
    # Three tiers of 2 ms, one after another; more where calls wait for one another.
    assert percentile(found.find_ms, 1) >= 6 - 1e-6
    assert percentile(found.head_ms, 1) >= 6 - 1e-6
