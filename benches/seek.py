"""How long it takes to find the fragment that shows an instant."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from benches import stores
from benches.harness import Row, Settings, percentile
from nvr._core import Store

DAY_US = 86_400_000_000
MAX_P50_US = 3.0


def from_python(root: Path, cameras: Sequence[str], questions: int) -> list[float]:
    """Microseconds of ``stream.locate_us(t)`` on resolved handles, at random instants of random cameras."""
    store = Store([str(root)], read_only=True)
    chance = random.Random(1)
    try:
        handles = [(store.stream(camera, "main"), store.range(camera, "main")) for camera in cameras]
        ranges = [(stream, found) for stream, found in handles if found is not None]
        asked = []
        for _ in range(questions):
            stream, (start_us, end_us) = chance.choice(ranges)
            asked.append((stream, chance.randrange(start_us, end_us)))
        # Every day of every stream is open.
        for stream, (start_us, end_us) in ranges:
            for at_us in range(start_us, end_us, DAY_US // 2):
                stream.locate_us(at_us)
        for stream, at_us in asked[: questions // 10]:
            stream.locate_us(at_us)
        taken_us = []
        for stream, at_us in asked:
            start = time.perf_counter_ns()
            found = stream.locate_us(at_us)
            taken_us.append((time.perf_counter_ns() - start) / 1000)
            if found is None or not found.start_us <= at_us < found.start_us + found.duration_us:
                raise RuntimeError(f"locate_us({at_us}) gave {found}")
    finally:
        store.close()
    return taken_us


def by_name(root: Path, questions: int, start_us: int, end_us: int) -> list[float]:
    """Microseconds of ``Store.locate``, which is told the camera with each call."""
    instants = random.Random(1).choices(range(start_us, end_us), k=questions)
    store = Store([str(root)], read_only=True)
    taken_us = []
    try:
        for at_us in instants:
            start = time.perf_counter_ns()
            store.locate(stores.CAMERA, "main", at_us)
            taken_us.append((time.perf_counter_ns() - start) / 1000)
    finally:
        store.close()
    return taken_us


def measure(settings: Settings) -> list[Row]:
    """Random instants of several days, one call from Python each."""
    settings.say(f"  writing {settings.seek_days} days of keyframes")
    written = stores.days_of_keyframes(settings.work, settings.seek_days)
    taken_us = from_python(written.root, [stores.CAMERA], settings.seeks)
    named_us = by_name(written.root, settings.seeks, written.start_us, written.end_us)
    p50 = percentile(taken_us, 50)
    settings.conditions.append(
        f"Seek: from Python, {settings.seeks:,} random instants over {settings.seek_days} days "
        f"({settings.seek_days * 43_200:,} fragments of one stream), page cache warm; each answer is "
        "checked. On a handle: `store.stream(camera, kind)` once, then `stream.locate_us(t)`; by name: "
        "`store.locate`."
    )
    return [
        Row(
            "seek p50, from Python, on a handle",
            p50,
            "µs",
            floor=f"≤ {MAX_P50_US:g} µs",
            met=p50 <= MAX_P50_US,
        ),
        Row("seek p99, from Python, on a handle", percentile(taken_us, 99), "µs"),
        Row("seek p50, from Python, by name", percentile(named_us, 50), "µs"),
    ]
