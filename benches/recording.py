"""What recording costs: CPU for each camera and hour, and resident memory, beside ffmpeg."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benches import recipe
from benches.harness import Row, Settings, cpu_per_camera_hour, process, program, wait_until
from benches.node import recorder, recording
from benches.simulator import Cameras, simulated_cameras

MIB = 2**20
MAX_CPU_RATIO = 0.5
MAX_RESIDENT_MIB = 150


@contextmanager
def ffmpeg_recorders(cameras: Cameras, folder: Path) -> Iterator[list[int]]:
    """One ffmpeg for each camera, which is how it is run; gives their process ids."""
    folder.mkdir()
    with ExitStack() as running:
        pids = []
        for name, url in cameras.addresses.items():
            command = [
                *(program("ffmpeg"), "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url),
                *("-c", "copy", "-f", "segment", "-segment_time", "60", "-segment_format", "mp4"),
                *("-reset_timestamps", "1", str(folder / f"{name}_%d.mp4")),
            ]
            started = running.enter_context(process(command, folder / "ffmpeg.log"))
            pids.append(started.pid)
        wait_until(
            lambda: sum(path.stat().st_size > 0 for path in folder.glob("*_0.mp4")) == len(pids),
            "every ffmpeg writes",
        )
        yield pids


def records(address: str, count: int) -> bool:
    """Whether a node records so many cameras."""
    return recording(address) == count


def measure(settings: Settings) -> list[Row]:
    """Ours and ffmpeg by turns, from the same simulated cameras."""
    file = recipe.make(settings.work)
    count = settings.cameras
    our_cpu, our_bytes, their_cpu, their_bytes = [], [], [], []
    with simulated_cameras(file, count, settings.work) as cameras:
        for turn in range(settings.rounds):
            with recorder(settings.work / f"store-{turn}", cameras.addresses, settings.work) as node:
                wait_until(partial(records, node.address, count), f"{count} cameras are recorded")
                cpu, resident = cpu_per_camera_hour([node.pid], count, settings.window_s)
                missing = count - recording(node.address)
                if missing:
                    raise RuntimeError(f"{missing} of {count} cameras were lost while measured")
            our_cpu.append(cpu)
            our_bytes.append(resident)
            settings.say(f"  nvr: {cpu:.2f} CPU-s per camera-hour, {resident / MIB:.0f} MiB")
            with ffmpeg_recorders(cameras, settings.work / f"ffmpeg-{turn}") as pids:
                cpu, resident = cpu_per_camera_hour(pids, count, settings.window_s)
            their_cpu.append(cpu)
            their_bytes.append(resident)
            settings.say(f"  ffmpeg: {cpu:.2f} CPU-s per camera-hour, {resident / MIB:.0f} MiB")
    settings.conditions.append(
        f"Recording: {count} simulated cameras (H.264 720p, 2 Mbit/s, 15 fps, a keyframe every 2 s; "
        f"`benches/recipe.py`) over RTSP/TCP on loopback from a process that is not counted; "
        f"{settings.rounds} turns of {settings.window_s:g} s each, mean; user and system time of the "
        "whole process tree; resident memory summed over processes. ffmpeg: one process a camera."
    )
    ours, theirs = statistics.mean(our_cpu), statistics.mean(their_cpu)
    resident_mib = max(our_bytes) / MIB
    peer = "ffmpeg -c copy -f segment"
    return [
        Row(
            f"recording, {count} cameras", ours, "CPU-s per camera-hour", peer, theirs,
            f"≤ {MAX_CPU_RATIO} × ffmpeg", ours <= MAX_CPU_RATIO * theirs,
        ),
        Row(
            f"resident memory, {count} cameras", resident_mib, "MiB", peer, max(their_bytes) / MIB,
            f"≤ {MAX_RESIDENT_MIB} MiB", resident_mib <= MAX_RESIDENT_MIB,
        ),
    ]  # fmt: skip
