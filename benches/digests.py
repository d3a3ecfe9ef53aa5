"""What the digests of fragments cost: SHA-256 of all that is recorded."""

from benches.days import days_bench
from benches.harness import Row, Settings
from benches.recipe import BITS_PER_SECOND

S_PER_HOUR = 3600
MEGABYTES = 512
MAX_PART = 0.3
RECORDING_CPU_S = 3.0
"""CPU seconds of a camera-hour of recording, digests and all (measured by :mod:`benches.recording`)."""


def measure(settings: Settings) -> list[Row]:
    """Digests of fragments as a camera's hour has them, by the recorder's own code."""
    found = days_bench("digest", MEGABYTES)
    cpu_s = found["seconds"] / (MEGABYTES * 1e6) * BITS_PER_SECOND / 8 * S_PER_HOUR
    part = cpu_s / (RECORDING_CPU_S - cpu_s)
    settings.conditions.append(
        f"Digests: {MEGABYTES} MB in fragments of 500 kB by the recorder's own code, a thread alone; beside "
        f"{RECORDING_CPU_S:g} CPU-s a camera-hour of recording, of which they are a part."
    )
    return [
        Row("digests of all fragments", cpu_s, "CPU-s per camera-hour"),
        Row("the same, on top of recording", part, "of it", floor=f"≤ {MAX_PART}", met=part <= MAX_PART),
    ]
