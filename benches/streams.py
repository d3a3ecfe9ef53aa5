"""A commune's whole node: cameras with main and sub-stream from ``nvr simulate``, under retention."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import grpc

from benches import recipe
from benches.harness import Row, Settings, cost_of, process, slope, wait_until
from benches.node import cameras_of, recorder, streams_recording
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc

MB = 1e6
# A recorder's life is that footage goes as fast as it comes: both nodes reach that after six minutes.
RETENTION_MB_A_CAMERA = 100
SAMPLE_S = 5.0
WARM_UP_S = 600.0
FULL_S = 1800.0
# What is still in memory at the end of a range is no gap.
UNWRITTEN_US = 15_000_000
SHOWN_GAPS = 10
SHOWN_MEMORY_S = 120.0
EXPIRED = "expired"
FEW = 63
MAX_RESIDENT_MB = {63: 110, 200: 220}
MAX_CORES = 0.4
MAX_SLOPE_MB_PER_HOUR = 1.0


@contextmanager
def played(file: Path, count: int, log: Path) -> Iterator[tuple[list[str], int]]:
    """A file as so many cameras of ``nvr simulate``: their addresses, and its process id."""
    command = [
        *(str(Path(sys.executable).with_name("nvr")), "simulate", str(file), "--cameras", str(count)),
        *("--listen", "127.0.0.1:0", "--json"),
    ]
    log.unlink(missing_ok=True)
    with process(command, log) as running:

        def ready() -> bool:
            if running.poll() is not None:
                raise RuntimeError(f"nvr simulate ended; see {log}")
            return log.exists() and log.read_text().endswith("}\n")

        wait_until(ready, "nvr simulate plays", within_s=120)
        told = json.loads(log.read_text().splitlines()[-1])
        yield [camera["main_url"] for camera in told["cameras"]], running.pid


def gaps(address: str, start_us: int, end_us: int) -> list[str]:
    """The gaps that the streams of a node have in a range, in words; not what retention has deleted."""
    found = []
    with grpc.insecure_channel(address) as channel:
        # The stubs are typed for grpc.aio; they serve a blocking channel as well.
        service: Any = footage_pb2_grpc.FootageServiceStub(cast(Any, channel))
        for camera in cameras_of(address):
            for kind in (common_pb2.STREAM_KIND_MAIN, common_pb2.STREAM_KIND_SUB):
                request = footage_pb2.CoverageRequest(
                    camera=camera.id,
                    stream=kind,
                    range=common_pb2.TimeRange(start_us=start_us, end_us=end_us),
                )
                answer = service.Coverage(request, timeout=30)
                for step in answer:
                    gap = step.item.gap
                    if step.item.WhichOneof("kind") == "gap" and gap.reason != EXPIRED:
                        lasts_s = (gap.range.end_us - gap.range.start_us) / 1e6
                        after_s = (gap.range.start_us - start_us) / 1e6
                        name = common_pb2.StreamKind.Name(kind)
                        why = f"{gap.reason} {gap.detail}".strip()
                        found.append(f"{camera.name} {name}: {lasts_s:.1f} s after {after_s:.0f} s: {why}")
    return found


def soak(settings: Settings, count: int, seconds: float) -> list[Row]:
    """Records for a while, and says what it took."""
    main, sub = recipe.make(settings.work), recipe.make_sub(settings.work)
    store = settings.work / f"store-streams-{count}"
    retention = ["", "[retention]", f'max_bytes = "{RETENTION_MB_A_CAMERA * count}MB"']
    with (
        played(main, count, settings.work / "simulate-main.json") as (mains, _),
        played(sub, count, settings.work / "simulate-sub.json") as (subs, _),
        recorder(
            store,
            {f"camera-{number}": url for number, url in enumerate(mains)},
            settings.work,
            subs={f"camera-{number}": url for number, url in enumerate(subs)},
            settings=retention,
        ) as node,
    ):
        wait_until(
            lambda: streams_recording(node.address) == 2 * count, "all streams are recorded", within_s=180
        )
        time.sleep(5)
        start_us, start_s, before = time.time_ns() // 1000, time.monotonic(), cost_of([node.pid])
        memory: list[tuple[float, float]] = []
        while (elapsed := time.monotonic() - start_s) < seconds:
            time.sleep(min(SAMPLE_S, max(0.1, seconds - elapsed)))
            memory.append((time.monotonic() - start_s, cost_of([node.pid]).resident_bytes / MB))
        after, elapsed = cost_of([node.pid]), time.monotonic() - start_s
        found = gaps(node.address, start_us, time.time_ns() // 1000 - UNWRITTEN_US)
    shutil.rmtree(store)
    cores = (after.cpu_s - before.cpu_s) / elapsed
    warm_s = WARM_UP_S if elapsed > 1.5 * WARM_UP_S else elapsed / 2
    later = [point for point in memory if point[0] >= warm_s]
    growth = slope(later) * 3600
    full = elapsed >= FULL_S
    settings.say(
        f"  {count}: {cores:.3f} cores, {memory[-1][1]:.0f} MB, {growth:+.1f} MB an hour, {len(found)} gaps"
    )
    shown = memory[:: max(1, round(SHOWN_MEMORY_S / SAMPLE_S))]
    settings.say(
        "    MB by minute: " + " ".join(f"{at_s / 60:.0f}:{resident:.1f}" for at_s, resident in shown)
    )
    for gap in found[:SHOWN_GAPS]:
        settings.say(f"    {gap}")
    what = f"{count} cameras main + sub"
    most, limit = max(value for _, value in memory), MAX_RESIDENT_MB.get(count)
    return [
        Row(f"{what}: recorder", cores, "cores", floor=f"≤ {MAX_CORES}", met=cores <= MAX_CORES),
        Row(f"{what}: gaps in {elapsed / 60:.0f} min", len(found), "gaps", floor="0", met=not found),
        Row(
            f"{what}: resident memory", most, "MB",
            floor=f"≤ {limit} MB" if limit else "", met=most <= limit if limit else None,
        ),
        Row(
            f"{what}: growth of it after minute {warm_s / 60:.0f}", growth, "MB an hour",
            floor=f"≤ {MAX_SLOPE_MB_PER_HOUR:g} MB" if full else "",
            met=growth <= MAX_SLOPE_MB_PER_HOUR if full else None,
        ),
    ]  # fmt: skip


def measure(settings: Settings) -> list[Row]:
    """A village's node, and a commune's."""
    rows = []
    few = min(FEW, settings.streams)
    if few < settings.streams:
        rows += soak(settings, few, settings.soak_s)
    rows += soak(settings, settings.streams, settings.soak_s)
    settings.conditions.append(
        f"Whole node: cameras with main (2 Mbit/s, 15 fps) and sub-stream (300 kbit/s, 10 fps) from "
        f"`nvr simulate` in processes that are not counted; retention at {RETENTION_MB_A_CAMERA} MB a camera "
        f"({RETENTION_MB_A_CAMERA * settings.streams / 1000:g} GB with {settings.streams}); "
        f"{settings.soak_s:g} s with {few} cameras, then with {settings.streams} (`--soak 1800` for the half "
        "hour); gaps: of all streams, as Coverage names them, without what retention has deleted by then; "
        "growth: least squares over samples every 5 s."
    )
    return rows
