"""A province's day: every extraction of a ledger, on 300 real recorders and 1,700 simulated ones."""

import asyncio
import re
import resource
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benches import recipe
from benches.communes import CAMERAS
from benches.harness import Row, Settings, cost_of, percentile
from benches.ledger import DAY_US, SECOND_US, Ledger, ledger
from benches.province_nodes import (
    DISTRICTS_A_PROCESS,
    FULL,
    QUICK,
    RECORDERS_A_PROCESS,
    Running,
    Size,
    addresses_of,
    make_recorders,
    start_gateways,
    start_recorders,
    start_telling,
)
from benches.province_replay import (
    AT_ONCE,
    COMPARED_EVERY,
    WHOLE_EVERY,
    Officers,
    Service,
    Taken,
    service_times,
)
from benches.province_simulation import Simulated, simulate
from benches.simulator import simulated_cameras
from nvr.security.node_key import NodeKey

_KEPT_DAYS = 31


class Replayed(NamedTuple):
    """What the real part gave. ``cpu_s``: by kind of process, while the day was replayed."""

    taken: Taken
    service: Service
    cpu_s: dict[str, float]
    sync_s: float


async def replay(
    running: Running, addresses: dict[str, str], size: Size, day: Ledger, day_us: int, seconds: float
) -> Replayed:
    """The day on the tree that runs."""
    officers = Officers(addresses, day_us)
    try:
        started = time.monotonic()
        await officers.knows(size.communes * CAMERAS + size.districts)
        sync_s = time.monotonic() - started
        before = {kind: cost_of(pids).cpu_s for kind, pids in running.pids.items()}
        used_s = time.process_time()
        taken = await officers.replay(day, size.is_real, seconds)
        cpu_s = {kind: cost_of(pids).cpu_s - before[kind] for kind, pids in running.pids.items()}
        cpu_s["officers"] = time.process_time() - used_s
        service = await service_times(officers, day, size.is_real, size.districts)
    finally:
        await officers.close()
    return Replayed(taken, service, cpu_s, sync_s)


def measure(settings: Settings) -> list[Row]:
    """The real part first, then the simulated one with the times that the real one took."""
    size = FULL if settings.full else QUICK
    seconds = settings.day_s
    work = settings.work / "province-day"
    work.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = size.made()
    day = ledger(made, share=size.share)
    # Yesterday, so that all of it is over.
    day_us = (time.time_ns() // 1000 // DAY_US - 1) * DAY_US
    try:
        with ExitStack() as stack:
            running = Running(stack, work)
            told = start_telling(running, work, size, day_us - _KEPT_DAYS * DAY_US)
            cameras = stack.enter_context(simulated_cameras(recipe.make_small(work), size.districts, work))
            settings.say(f"  writing the footage of {size.towns} recorders")
            live = dict(enumerate(cameras.addresses.values()))
            make_recorders(work, size, day, day_us, live)
            settings.say("  starting the tree")
            addresses = addresses_of([*told, *start_recorders(running, work, size)])
            province_id = start_gateways(running, work, size, addresses)
            real = asyncio.run(replay(running, addresses, size, day, day_us, seconds))
            peak_mib = most_resident_mib(*running.pids["province"])
            ids = district_ids(work, size)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    settings.say(f"  simulating the other {size.communes - size.towns} recorders")
    simulated = simulate(work, province_id, ids, day, size, real.service, day_us, DAY_US / SECOND_US)
    taken = real.taken
    failures = [*taken.failures, *simulated.failures]
    for failure in failures[:10]:
        settings.say(f"  failure: {failure}")
    clips = taken.clips + len(simulated.head_ms)
    if clips + len(failures) < len(day.extractions):
        raise RuntimeError(f"{clips} of {len(day.extractions)} extractions were replayed")
    settings.conditions.append(conditions(size, day, real, simulated, seconds))
    what = "a province's day"
    return [
        Row(f"{what}: extractions", clips, "clips"),
        Row(f"{what}: failures", len(failures), "of all", floor="no failure", met=not failures),
        *_times(f"{what}: place query through two gateways", taken.find_ms),
        *_times(f"{what}: head of a clip", taken.head_ms),
        *_times(f"{what}: first byte of a clip", taken.first_byte_ms),
        *_times(f"{what}: live, to the first picture", taken.live_ms),
        *_times(f"{what}, simulated recorders: place query", simulated.find_ms),
        *_times(f"{what}, simulated recorders: head of a clip", simulated.head_ms),
        Row(f"{what}: most resident memory of the province's gateway", peak_mib, "MiB"),
        *(Row(f"{what}: CPU of {kind}", used, "CPU-s") for kind, used in real.cpu_s.items()),
    ]


def most_resident_mib(pid: int) -> float:
    """The most memory that a process has had so far."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def district_ids(work: Path, size: Size) -> dict[int, str]:
    """Their keys' ids."""
    return {
        district: NodeKey.load_or_create(work / f"district-{district}").id
        for district in range(size.districts)
    }


def conditions(size: Size, day: Ledger, real: Replayed, simulated: Simulated, seconds: float) -> str:
    """What was measured, to be read beside the figures."""
    taken, service = real.taken, real.service
    finds, cases = len(taken.find_ms), len({each.case for each in day.extractions})
    calls = finds + taken.clips + len(taken.live_ms)
    return (
        f"A province's day: {len(day.extractions):,} extractions for {cases:,} cases (published totals of "
        "four years; what is assumed of the rest is in `benches/ledger.py`), "
        f"{len(day.places):,} more questions by place and {len(day.live_views):,} live views, all on one "
        f"day, replayed within {seconds:g} s, at most {AT_ONCE} steps at once (a step waited for its turn "
        f"{percentile(taken.late_ms, 99):,.0f} ms at most in 99 of 100 cases, which is not part of the "
        f"times). Real: {size.towns} recorders with a store each ({RECORDERS_A_PROCESS} in a process of "
        f"`nvr up`), {size.districts} district gateways ({DISTRICTS_A_PROCESS} in a process) and the "
        "province's, over gRPC on loopback without TLS, on this machine together with the officers who "
        f"ask: {taken.clips:,} extractions, {finds:,} questions that found "
        f"{taken.cameras / finds:.0f} cameras on {taken.recorders / finds:.1f} recorders each, "
        f"{calls / taken.seconds:.0f} calls a second. The recorders hold what the ledger asks for (two "
        "pictures a second, 8 kbit/s; nothing is recorded meanwhile but one camera a district). Of "
        f"{taken.whole:,} clips, one in {WHOLE_EVERY}, all bytes are read ({taken.bytes / 1e6:,.0f} MB), of "
        f"the others the head; {taken.compared:,}, one in {COMPARED_EVERY}, are compared with the "
        f"recorder's own, ETag and digest. The directories know {size.communes * CAMERAS:,} cameras; the "
        f"province had them {real.sync_s:.0f} s after it began to serve. Simulated: "
        f"{simulated.recorders:,} recorders and {len(simulated.head_ms):,} extractions, by the gateways' "
        "own code (directories, plans, questions) in simulated time, a day within a day; each node answers "
        f"one call after another, in times drawn from {len(service.recorder_find)} that real ones took "
        "with nothing else to do; the province's gateway was at work for "
        f"{simulated.province_busy:.2%} of the time."
    )


def _times(what: str, taken_ms: list[float]) -> list[Row]:
    return [Row(f"{what}, p{percent}", percentile(taken_ms, percent), "ms") for percent in (50, 95, 99)]
