"""What the digests of fragments cost: SHA-256 of all that is recorded."""

from functools import partial

from benches import recipe
from benches.days import days_bench
from benches.harness import Row, Settings, cpu_per_camera_hour, wait_until
from benches.node import recorder
from benches.recording import records
from benches.simulator import simulated_cameras

S_PER_HOUR = 3600
MEGABYTES = 512
MAX_PART = 0.3


def recording_cpu_s(settings: Settings) -> float:
    """CPU seconds of a camera-hour of recording, digests and all."""
    count = settings.cameras
    file = recipe.make(settings.work)
    with (
        simulated_cameras(file, count, settings.work) as cameras,
        recorder(settings.work / "store-digests", cameras.addresses, settings.work) as node,
    ):
        wait_until(partial(records, node.address, count), f"{count} cameras are recorded", within_s=180)
        return cpu_per_camera_hour([node.pid], count, settings.window_s)[0]


def measure(settings: Settings) -> list[Row]:
    """Digests of fragments as a camera's hour has them, by the recorder's own code."""
    recorded = recording_cpu_s(settings)
    found = days_bench("digest", MEGABYTES)
    cpu_s = found["cpu_seconds"] / (MEGABYTES * 1e6) * recipe.BITS_PER_SECOND / 8 * S_PER_HOUR
    part = cpu_s / (recorded - cpu_s)
    settings.conditions.append(
        f"Digests: {MEGABYTES} MB in fragments of 500 kB by the recorder's own code, a thread alone; beside "
        f"{recorded:.2g} CPU-s a camera-hour of recording, of which they are a part: {settings.cameras} "
        f"cameras of our simulator, {settings.window_s:g} s, just before."
    )
    return [
        Row("digests of all fragments", cpu_s, "CPU-s per camera-hour"),
        Row("the same, on top of recording", part, "of it", floor=f"≤ {MAX_PART}", met=part <= MAX_PART),
    ]
