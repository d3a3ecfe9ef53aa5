"""How long it takes to find the fragment that shows an instant."""

import random
import time

from benches import stores
from benches.harness import Row, Settings, percentile
from nvr._core import Store

MAX_P50_US = 5.0


def measure(settings: Settings) -> list[Row]:
    """Random instants of several days, one call from Python each."""
    settings.say(f"  writing {settings.seek_days} days of keyframes")
    written = stores.days_of_keyframes(settings.work, settings.seek_days)
    instants = random.Random(1).choices(range(written.start_us, written.end_us), k=settings.seeks)
    store = Store([str(written.root)], read_only=True)
    try:
        for at_us in instants[:2000]:
            store.locate(stores.CAMERA, "main", at_us)
        taken_us = []
        for at_us in instants:
            start = time.perf_counter_ns()
            found = store.locate(stores.CAMERA, "main", at_us)
            taken_us.append((time.perf_counter_ns() - start) / 1000)
            if found is None or not found.start_us <= at_us < found.start_us + found.duration_us:
                raise RuntimeError(f"locate({at_us}) gave {found}")
    finally:
        store.close()
    p50 = percentile(taken_us, 50)
    settings.conditions.append(
        f"Seek: `Store.locate` called from Python, {settings.seeks:,} random instants over "
        f"{settings.seek_days} days ({settings.seek_days * 43_200:,} fragments of one stream), page cache "
        "warm; each answer is checked."
    )
    return [
        Row("seek p50, from Python", p50, "µs", floor=f"≤ {MAX_P50_US:g} µs", met=p50 <= MAX_P50_US),
        Row("seek p99, from Python", percentile(taken_us, 99), "µs"),
    ]
