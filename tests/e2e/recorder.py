"""A recorder as an operator runs it: ``nvr recorder --config FILE``, and the command line beside it."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import nvr
from nvr.errors import Closed
from nvr.footage.time import to_datetime
from nvr.footage.types import Event, FragmentRef, Span, StreamState
from tests.support.processes import REPOSITORY, ChildProcess, wait_for

SECOND = 1_000_000


class Recorder:
    """A node with its settings and its store in one folder; it can be started again and again."""

    def __init__(
        self,
        folder: Path,
        cameras: Mapping[str, str],
        *,
        stores: Sequence[Path] = (),
        more: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``cameras``: addresses by name, imported when it first starts.

        ``stores``: instead of the folder's; what the node itself writes lies in the folder all the same.
        ``more``: settings beside ``[node]`` and cameras. ``environment``: more of it.
        """
        self.folder = folder
        self.stores = list(stores) or [folder / "store"]
        self.environment = environment
        self.settings = folder / "nvr.toml"
        self.output: list[str] = []
        """All that its processes wrote, those that have ended too."""
        self._process: ChildProcess | None = None
        self._facts: dict[str, Any] = {}
        lines = ["[node]", 'name = "station-1"', f"stores = {[str(store) for store in self.stores]}"]
        lines += ['grpc = "127.0.0.1:0"', 'metrics = "127.0.0.1:0"']
        lines += [f'data = "{folder / "data"}"'] if stores else []
        lines.append(more)
        for name, url in cameras.items():
            lines += ["[[camera]]", f'name = "{name}"', f'main = "{url}"']
        folder.mkdir(parents=True, exist_ok=True)
        self.settings.write_text("\n".join(lines))

    @property
    def store(self) -> Path:
        """Its only store, or the first."""
        return self.stores[0]

    @property
    def address(self) -> str:
        """Where gRPC is served."""
        return str(self._facts["grpc"])

    @property
    def process(self) -> ChildProcess:
        assert self._process is not None, "it does not run"
        return self._process

    def start(self) -> float:
        """Starts it; returns the seconds from exec until its health is SERVING."""
        started_s = time.monotonic()
        command = ["-m", "nvr", "recorder", "--config", str(self.settings), "--json"]
        self._process = ChildProcess(command, environment=self.environment)
        self._facts = json.loads(self.process.wait_line(lambda line: line.startswith("{")))
        with grpc.insecure_channel(self.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs know no methods
            request = health_pb2.HealthCheckRequest()
            wait_for(
                lambda: health.Check(request, timeout=60).status == health_pb2.HealthCheckResponse.SERVING,
                "the node serves",
            )
        return time.monotonic() - started_s

    def stop(self) -> None:
        """Asks it to end, as an operator does, and waits until it has."""
        process, self._process = self._process, None
        if process is not None:
            code = process.stop()
            self.output += process.lines + process.errors
            assert code == 0, process.errors

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        process, self._process = self.process, None
        process.process.kill()
        process.stop()
        self.output += process.lines + process.errors

    def written(self) -> str:
        """All that it has written to standard output and error."""
        running = self._process.lines + self._process.errors if self._process else []
        return "\n".join(self.output + running)

    def nvr(self, *arguments: str, code: int = 0) -> str:
        """What ``nvr …`` prints; fails unless it ends with this exit code."""
        paths = os.pathsep.join((str(REPOSITORY / "python"), os.environ.get("PYTHONPATH", "")))
        environment = {**os.environ, "PYTHONPATH": paths}
        if self._process is not None:
            environment["NVR_NODE"] = self.address
        done = subprocess.run(
            [sys.executable, "-m", "nvr", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout

    def records(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON Lines that ``nvr … --json`` prints."""
        return [json.loads(line) for line in self.nvr(*arguments, "--json").splitlines()]

    def check_store(self) -> None:
        """``nvr store check --digests`` finds nothing wrong."""
        (report,) = self.records("store", "check", "--digests", str(self.store))
        assert report["problems"] == []
        assert report["fragments"] > 0

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://{self._facts['metrics']}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def segments(self, camera_id: str) -> list[Path]:
        """Segment files of a camera's main stream in its only store, or the first; oldest first."""
        return sorted((self.store / camera_id / "main").glob("*/*.mp4"))


@contextmanager
def running(
    folder: Path, cameras: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Iterator[Recorder]:
    """A recorder that runs, and is stopped in good order at the end."""
    recorder = Recorder(folder, cameras, environment=environment)
    try:
        recorder.start()
        yield recorder
    finally:
        recorder.stop()


def recorded_range(camera: nvr.Camera) -> tuple[int, int]:
    """Start of the oldest and end of the newest footage on disk; zeros without."""
    main = camera.info().streams[0]
    return main.oldest_us, main.newest_us


def wait_recorded(camera: nvr.Camera, duration_us: int, since_us: int = 0) -> tuple[int, int]:
    """Waits for so much footage on disk (from an instant on); the range that is recorded then."""

    def enough() -> bool:
        oldest_us, newest_us = recorded_range(camera)
        return oldest_us > 0 and newest_us - max(oldest_us, since_us) >= duration_us

    wait_for(
        enough,
        f"{duration_us / SECOND} s of footage of {camera.name}",
        within_s=60 + 2 * duration_us / SECOND,
        every_s=0.1,
    )
    return recorded_range(camera)


def wait_state(camera: nvr.Camera, state: StreamState, reason: str = "") -> None:
    """Waits until the main stream is in a state, for a reason."""

    def reached() -> bool:
        main = camera.info().streams[0]
        return main.state is state and main.reason == reason

    wait_for(reached, f"{camera.name}: {state.value} {reason}", every_s=0.1)


def references(camera: nvr.Camera, range_us: tuple[int, int]) -> list[FragmentRef]:
    """Names of the fragments that show any instant of a range."""
    start, end = map(to_datetime, range_us)
    return [stored.ref for stored in camera.fragments(start, end, refs_only=True).all()]


def runs(camera: nvr.Camera) -> list[str]:
    """The runs that the camera's footage consists of, in order of time."""
    start, end = map(to_datetime, recorded_range(camera))
    return [item.run_id for item in camera.coverage(start, end) if isinstance(item, Span)]


@contextmanager
def watched(address: str, camera_name: str) -> Iterator[list[Event]]:
    """A node's events, as they come. A change of the camera shows that they do."""
    seen: list[Event] = []

    def read() -> None:
        with suppress(Closed):
            for event in net.events():
                seen.append(event)  # noqa: PERF402 - as they come

    with nvr.connect(address) as net:
        reader = threading.Thread(target=read)
        reader.start()
        camera = net.camera(camera_name)

        def arrives() -> bool:
            camera.update(title="watched")
            return bool(seen)

        try:
            # Whoever is told of this change is told of all that comes after it.
            wait_for(arrives, "the first event", every_s=0.1)
            yield seen
        finally:
            net.close()
            reader.join()


def wait_event(seen: Sequence[Event], kind: str, *, within_s: float = 60) -> Event:
    """The first event of a kind, once it has come."""
    wait_for(lambda: any(event.kind == kind for event in seen), f"event {kind}", within_s=within_s)
    return next(event for event in seen if event.kind == kind)


def pieces(camera: nvr.Camera) -> list[str]:
    """Of all that is on disk: the run of each span, and the reason of each gap."""
    start_us, end_us = recorded_range(camera)
    found = camera.coverage(to_datetime(start_us), to_datetime(end_us))
    return [item.run_id if isinstance(item, Span) else item.reason for item in found]


def bytes_under(folder: Path) -> Sequence[tuple[Path, bytes]]:
    """Every file of a folder, with its content."""
    return [(path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
