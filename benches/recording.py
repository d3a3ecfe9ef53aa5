"""What recording costs: CPU for each camera and hour, and resident memory, beside ffmpeg.

Twice: from our own simulator, which hands over whole pictures, and from GStreamer's RTSP server,
which sends packets of 1,400 bytes one by one as cameras do. Moonfire NVR and MediaMTX record
the same cameras where somebody says where they are (see :mod:`benches.peers`).
"""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benches import peers, recipe
from benches.harness import Row, Settings, cpu_per_camera_hour, process, program, wait_until
from benches.independent import independent_cameras
from benches.node import recorder, recording
from benches.simulator import simulated_cameras

MIB = 2**20
MAX_CPU_RATIO = 0.35
# 110 MB.
MAX_RESIDENT_MIB = 105


@contextmanager
def ffmpeg_recorders(addresses: Mapping[str, str], folder: Path) -> Iterator[list[int]]:
    """One ffmpeg for each camera, which is how it is run; gives their process ids."""
    folder.mkdir()
    with ExitStack() as running:
        pids = []
        for name, url in addresses.items():
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
            within_s=180,
        )
        yield pids


def records(address: str, count: int) -> bool:
    """Whether a node records so many cameras."""
    return recording(address) == count


def costs(
    settings: Settings, addresses: Mapping[str, str], label: str, others: Mapping[str, peers.Recorder]
) -> dict[str, tuple[float, int]]:
    """CPU and resident bytes of us and of others, by turns, from the same cameras."""
    count = len(addresses)
    taken: dict[str, list[tuple[float, int]]] = {}
    for turn in range(settings.rounds):
        with recorder(settings.work / f"store-{label}-{turn}", addresses, settings.work) as node:
            wait_until(partial(records, node.address, count), f"{count} cameras are recorded", within_s=180)
            taken.setdefault("nvr", []).append(cpu_per_camera_hour([node.pid], count, settings.window_s))
            missing = count - recording(node.address)
            if missing:
                raise RuntimeError(f"{missing} of {count} cameras were lost while measured")
        for name, record in others.items():
            with record(addresses, settings.work / f"{name}-{label}-{turn}") as pids:
                taken.setdefault(name, []).append(cpu_per_camera_hour(pids, count, settings.window_s))
        for name, each in taken.items():
            cpu, resident = each[-1]
            settings.say(f"  {label}, {name}: {cpu:.2f} CPU-s per camera-hour, {resident / MIB:.0f} MiB")
    return {
        name: (statistics.mean(cpu for cpu, _ in each), max(resident for _, resident in each))
        for name, each in taken.items()
    }


def rows_of(found: Mapping[str, tuple[float, int]], what: str, floor: bool) -> list[Row]:
    """Ours beside ffmpeg, and beside Moonfire NVR where that was there."""
    cpu, resident = found["nvr"]
    theirs, their_bytes = found["ffmpeg"]
    peer, unit = "ffmpeg -c copy -f segment", "CPU-s per camera-hour"
    met = cpu <= MAX_CPU_RATIO * theirs if floor else None
    promised = f"≤ {MAX_CPU_RATIO} × ffmpeg" if floor else ""
    rows = [
        Row(f"recording, {what}", cpu, unit, peer, theirs, promised, met),
        Row(
            f"resident memory, {what}", resident / MIB, "MiB", peer, their_bytes / MIB,
            f"≤ {MAX_RESIDENT_MIB} MiB (110 MB)", resident / MIB <= MAX_RESIDENT_MIB,
        ),
    ]  # fmt: skip
    for name in peers.RECORDERS:
        other = found.get(name)
        rows.append(
            Row(f"recording, {what}", cpu, unit, name, other[0])
            if other
            else peers.not_measured(f"recording, {what}", cpu, unit, name)
        )
    return rows


def measure(settings: Settings) -> list[Row]:
    """Ours and the peers by turns, from the same cameras."""
    file = recipe.make(settings.work)
    count = settings.cameras
    others: dict[str, peers.Recorder] = {"ffmpeg": ffmpeg_recorders, **peers.there()}
    with simulated_cameras(file, count, settings.work) as cameras:
        rows = rows_of(
            costs(settings, cameras.addresses, "simulator", others), f"{count} cameras", floor=False
        )
    with independent_cameras(file, count) as addresses:
        what = f"{count} cameras, packets of 1,400 bytes from GStreamer"
        rows += rows_of(costs(settings, addresses, "gstreamer", others), what, floor=True)
    settings.conditions.append(
        f"Recording: {count} cameras (H.264 720p, 2 Mbit/s, 15 fps, a keyframe every 2 s; "
        f"`benches/recipe.py`) over RTSP/TCP on loopback from a process that is not counted, once our own "
        f"simulator, once GStreamer's RTSP server (a pipeline for each camera, packets of 1,400 bytes); "
        f"{settings.rounds} turns of {settings.window_s:g} s each, mean; user and system time of the whole "
        "process tree; resident memory summed over processes. ffmpeg: one process a camera. "
        "Moonfire NVR and MediaMTX (one process for all cameras): only where NVR_BENCH_MOONFIRE and "
        "NVR_BENCH_MEDIAMTX name them."
    )
    return rows
