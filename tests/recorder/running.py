"""A recorder as a process of its own, and simulated cameras that it records."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nvr.simulate.scenes import Scene
from nvr.simulate.server import SimulatedCameras

T = TypeVar("T")

# Small and with short groups: footage reaches the disk within a second or two.
SCENE = Scene(width=320, height=180, fps=10, duration_s=10, gop_s=1, b_frames=2)
PASSWORD = "geheim%40strasse"
_READY_S = 60
_WAIT_S = 90


@dataclass
class Node:
    """A running recorder."""

    process: "subprocess.Popen[str]"
    grpc: str
    metrics: str
    id: str
    log: Path

    def stop(self) -> int:
        """Asks it to end, and waits."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_WAIT_S)

    def scrape(self) -> str:
        """Its metrics."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as answer:
            return bytes(answer.read()).decode()

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait(_WAIT_S)


def write_settings(folder: Path, cameras: dict[str, str], more: str = "") -> Path:
    """Settings of a node whose store is in the folder; addresses by name."""
    lines = [
        "[node]",
        'name = "station-1"',
        f'stores = ["{folder / "store"}"]',
        'grpc = "127.0.0.1:0"',
        'metrics = "127.0.0.1:0"',
        more,
    ]
    for name, url in cameras.items():
        lines += ["[[camera]]", f'name = "{name}"', f'main = "{url}"']
    path = folder / "nvr.toml"
    path.write_text("\n".join(lines))
    return path


@contextmanager
def running(settings: Path) -> Iterator[Node]:
    """The node, once it serves; killed at the end if it still runs."""
    log = settings.with_suffix(".log")
    command = [sys.executable, "-m", "nvr", "recorder", "--config", str(settings), "--json"]
    with (
        log.open("a") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(os.environ)
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the node did not start: {log.read_text()}"
            facts = json.loads(line)
            yield Node(process, facts["grpc"], facts["metrics"], facts["id"], log)
        finally:
            if process.poll() is None:
                process.kill()
            process.stdout.close()


@contextmanager
def simulated(cache: Path, *names: str) -> Iterator[SimulatedCameras]:
    """Cameras with a login, playing the scene."""
    with SimulatedCameras(user="admin", password="geheim@strasse", cache=cache) as cameras:
        for name in names:
            cameras.add(name, SCENE)
        yield cameras


async def until(what: Callable[[], Awaitable[T | None]]) -> T:
    """The first result that is not None (or false)."""
    give_up_s = time.monotonic() + _WAIT_S
    while not (result := await what()):
        assert time.monotonic() < give_up_s, "waited in vain"
        await asyncio.sleep(0.1)
    return result
