"""Simulated cameras in a process of their own, so that their cost is not the recorder's.

``python -m benches.simulator FILE COUNT STATE``: plays a file as COUNT cameras at
``rtsp://127.0.0.1:PORT/0`` and on, until SIGTERM. When ready it writes PORT and the wall time of
media time zero into the file STATE.

Every access unit carries its media time in an SEI message (user data unregistered, ITU-T H.264
D.2.6): a reader far down the line sees from the bytes alone how old they are.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benches import recipe
from benches.harness import process, wait_until
from benches.marks import sei_with_time, us_of

STAGGER_US = 1_370_000
"""Each camera is so much further in the file than the one before, as with ``nvr simulate``."""


class Cameras(NamedTuple):
    """Simulated cameras that run."""

    addresses: dict[str, str]
    """By name."""
    zero_us: int
    loop_us: int
    pid: int


@contextmanager
def simulated_cameras(file: Path, count: int, work: Path) -> Iterator[Cameras]:
    """Cameras in a process of their own, ready to be connected to."""
    state = work / "simulator.json"
    state.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benches.simulator", str(file), str(count), str(state)]
    with process(command, work / "simulator.log") as running:

        def ready() -> bool:
            if running.poll() is not None:
                raise RuntimeError(f"the simulator did not start; see {work / 'simulator.log'}")
            return state.exists()

        wait_until(ready, "the simulator is ready")
        told = json.loads(state.read_text())
        addresses = {
            f"camera-{number}": f"rtsp://127.0.0.1:{told['port']}/{number}" for number in range(count)
        }
        yield Cameras(addresses, told["zero_us"], told["loop_us"], running.pid)


def main(file: Path, count: int, state: Path) -> None:
    """Plays until SIGTERM."""
    # Only this process plays; whoever starts it needs no more than its address.
    from nvr._core import CameraSim, SimMedia

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    loaded = recipe.load(file)
    media = SimMedia(
        codec="h264", extra_data=loaded.extra_data, width=loaded.width, height=loaded.height, timescale=90_000
    )
    for packet in loaded.packets:
        media.add_video(sei_with_time(us_of(packet.pts_90k)) + packet.data, packet.pts_90k, packet.keyframe)
    before, last = (packet.pts_90k for packet in loaded.packets[-2:])
    loop_90k = last + (last - before)
    media.finish(loop_90k)
    server = CameraSim("127.0.0.1:0")
    zero_us = server.add("0", media)
    for number in range(1, count):
        server.add(str(number), media, zero_us=zero_us - number * STAGGER_US)
    unfinished = state.with_suffix(".part")
    unfinished.write_text(json.dumps({"port": server.port, "zero_us": zero_us, "loop_us": us_of(loop_90k)}))
    unfinished.rename(state)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
