"""What simulated cameras cost: 200 streams are to be played by one core, or less."""

from functools import partial

from benches import recipe
from benches.harness import Row, Settings, cpu_per_camera_hour, wait_until
from benches.node import recorder, recording
from benches.recording import records
from benches.simulator import simulated_cameras

STREAMS = 200
S_PER_HOUR = 3600.0


def measure(settings: Settings) -> list[Row]:
    """The simulator's own time while a node records all that it plays."""
    file = recipe.make(settings.work)
    count = min(STREAMS, settings.cameras * 4)
    with (
        simulated_cameras(file, count, settings.work) as cameras,
        recorder(settings.work / "store-simulated", cameras.addresses, settings.work) as node,
    ):
        wait_until(partial(records, node.address, count), f"{count} cameras are recorded", within_s=180)
        cpu, _ = cpu_per_camera_hour([cameras.pid], count, settings.window_s)
        missing = count - recording(node.address)
    if missing:
        raise RuntimeError(f"{missing} of {count} cameras were lost while measured")
    cores = cpu * count / S_PER_HOUR
    settings.conditions.append(
        f"Simulator: {count} streams of the same recipe from one process, all recorded by a node on the same "
        f"machine, {settings.window_s:g} s; user and system time of the simulator alone."
    )
    return [Row(f"simulator, {count} streams", cores, "cores", floor="≤ 1 core", met=cores <= 1)]
