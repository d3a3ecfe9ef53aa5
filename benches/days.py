"""A node with a month of 200 streams: seek, opening, coverage, restart after kill -9, rebuild.

The store is made by ``rust/nvr-core/benches/days.rs``: real names, real indexes (a record every 2 s, 259
million for 200 streams and 30 days), segments whose media are holes. Reads are counted by a file system
that counts, not guessed from times.
"""

import json
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
from grpc.experimental import ChannelOptions

from benches import recipe
from benches.harness import Row, Settings, percentile, wait_until
from benches.node import cameras_of, recorder, recording
from benches.recording import records
from benches.seek import from_python
from benches.simulator import simulated_cameras
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc

DAY_US = 86_400_000_000
COLD_READS = 4
QUESTIONS = 200_000
MS = 1000.0


def days_bench(*words: object) -> dict[str, Any]:
    """Runs ``days.rs``; gives what it prints."""
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "nvr-core", "--bench", "days", "--"]
    done = subprocess.run([*command, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return cast(dict[str, Any], json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def many_files() -> Iterator[None]:
    """Every index of the store stays open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def in_process(settings: Settings, root: Path, cameras: list[str], size: str) -> list[Row]:
    """Seek and opening, in Rust and from Python."""
    cold = days_bench("cold", root)
    found = days_bench("seek", root, QUESTIONS)
    p50, p99 = found["p50_ns"] / 1000, found["p99_ns"] / 1000
    python = from_python(root, cameras, settings.seeks)
    python_p50 = percentile(python, 50)
    settings.say(f"  {found['records']:,} records; {cold}")
    first = cold["first_seek"]
    open_ms = cold["open_us"] / MS
    return [
        Row(f"seek p50, in Rust, {size}", p50, "µs", floor="≤ 2.5 µs", met=p50 <= 2.5),
        Row(f"seek p99, in Rust, {size}", p99, "µs", floor="≤ 10 µs", met=p99 <= 10),
        Row(
            f"seek p50, from Python, resolved handle, {size}", python_p50, "µs", floor="≤ 3 µs",
            met=python_p50 <= 3,
        ),
        Row(f"seek p99, from Python, resolved handle, {size}", percentile(python, 99), "µs"),
        Row(f"opening, names cached, {size}", open_ms, "ms", floor="≤ 50 ms", met=open_ms <= 50),
        Row(
            "first seek in a cold day: reads", first["reads"], "reads", floor=f"≤ {COLD_READS}",
            met=first["reads"] <= COLD_READS,
        ),
        Row("first seek in a cold day: files opened", first["opens"], "files"),
    ]  # fmt: skip


def coverage(address: str, camera: str, days: int, repeats: int) -> float:
    """Median milliseconds of a coverage question over gRPC."""
    end_us = time.time_ns() // 1000 // DAY_US * DAY_US
    request = footage_pb2.CoverageRequest(
        camera=camera,
        stream=common_pb2.STREAM_KIND_MAIN,
        range=common_pb2.TimeRange(start_us=end_us - days * DAY_US, end_us=end_us),
        joined=True,
    )
    taken = []
    # The node is to be measured: no thread of the client's own stands between it and who asks.
    options = [(ChannelOptions.SingleThreadedUnaryStream, 1)]
    with grpc.insecure_channel(address, options) as channel:
        # The stubs are typed for grpc.aio; they serve a blocking channel as well.
        service: Any = footage_pb2_grpc.FootageServiceStub(cast(Any, channel))
        for _ in range(repeats + 10):
            start = time.perf_counter()
            answer = [item for step in service.Coverage(request, timeout=30) for item in step.items]
            taken.append((time.perf_counter() - start) * MS)
            if not any(item.HasField("span") for item in answer):
                raise RuntimeError(f"no span in {days} days of coverage: {answer}")
    return statistics.median(taken[10:])


def restart(settings: Settings) -> list[Row]:
    """A node that was killed with a month of footage: until it answers, until all is recorded again."""
    count, days = settings.streams, settings.store_days
    file = recipe.make(settings.work)
    root = settings.work / "store-month"
    with simulated_cameras(file, count, settings.work) as cameras:
        # Scrub would find, within seconds, that most segments have a name and nothing else.
        unscrubbed = ["", "[limits]", 'scrub = "0B"']
        node = partial(recorder, root, cameras.addresses, settings.work, settings=unscrubbed)
        with node(by_force=True) as first:
            wait_until(partial(records, first.address, count), f"{count} cameras are recorded", within_s=180)
            ids = [camera.id for camera in cameras_of(first.address)]
            # Without it, opening puts all of the month right, whose segments are not there.
            wait_until((root / ".synced").exists, "a sync pass has ended", within_s=120)
        # What is noted stays: since when all is durable, which machine wrote it, and who the cameras are.
        for camera in root.iterdir():
            if camera.is_dir() and not camera.name.startswith("."):
                shutil.rmtree(camera)
        made = days_bench("make", root, days, *ids)
        settings.say(f"  a store of {count} streams × {days} days, made in {made['seconds']:.0f} s")
        size = f"{count} streams × {days} days"
        # Before a node has been there: it would open what it needs, and seal what was open.
        rows = in_process(settings, root, ids, size)
        with node(by_force=True) as second:
            wait_until(partial(records, second.address, count), f"{count} cameras are recorded", within_s=180)
            time.sleep(max(3.0, settings.window_s / 2))
        start = time.monotonic()
        with node() as third:
            serving_s = time.monotonic() - start
            while recording(third.address) < count:
                if time.monotonic() - start > 180:
                    raise TimeoutError(f"{recording(third.address)} of {count} cameras are recorded again")
                time.sleep(0.1)
            recording_s = time.monotonic() - start
            day_ms = coverage(third.address, ids[0], 1, 200)
            month_ms = coverage(third.address, ids[0], days, 100)
    shutil.rmtree(root)
    settings.conditions.append(
        f"A month: {size}, a record every 2 s, real names and indexes; the newest two days with the names of "
        "all segments, the last 20 minutes and the last of each day with their footers. Seek: random "
        "instants over all streams, on handles, each index open and in the page cache, each answer checked. "
        "Cold: a day that nobody has asked for; calls of the file system, counted. Coverage: one camera over "
        "gRPC, while the others are recorded, asked by a client that waits on its own thread. Restart: "
        "kill -9 while all cameras are recorded; from the start of the process until it answers, and until "
        "every camera is recorded again."
    )
    return [
        *rows,
        Row("coverage of a day over gRPC, p50", day_ms, "ms", floor="≤ 1.5 ms", met=day_ms <= 1.5),
        Row(f"coverage of {days} days over gRPC, p50", month_ms, "ms", floor="≤ 8 ms", met=month_ms <= 8),
        Row(f"restart after kill -9, {size}: serving", serving_s, "s", floor="≤ 1 s", met=serving_s <= 1),
        Row("the same: all cameras recording", recording_s, "s", floor="≤ 10 s", met=recording_s <= 10),
    ]


def rebuild(settings: Settings) -> list[Row]:
    """The index of one camera-day, from its 1,440 segments."""
    root = settings.work / "store-day"
    days_bench("day", root)
    days_bench("rebuild", root)
    found = days_bench("rebuild", root)
    shutil.rmtree(root)
    each, seconds = found["reads"] / found["segments"], found["seconds"]
    settings.conditions.append(
        f"Rebuild: {found['segments']} sealed segments of {found['fragments']:,} fragments, media as holes, "
        "page cache warm; reads counted by the file system."
    )
    return [
        Row("rebuild of a camera-day's index", seconds, "s", floor="≤ 2 s", met=seconds <= 2),
        Row("the same: reads a segment", each, "reads", floor="1", met=each <= 1.01),
    ]


def measure(settings: Settings) -> list[Row]:
    """All that a month of footage asks of a node."""
    with many_files():
        return restart(settings) + rebuild(settings)
