"""Starting ``python -m …`` processes, waiting until they are ready, and ending them by their id."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_WAIT_S = 60.0


# Below those that Linux gives to whoever asks for any (net.ipv4.ip_local_port_range), so that none of
# the many sockets of tests that run at the same time takes one between here and its use.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """A port of loopback that nobody listens on now, for a process that is told its port."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ChildProcess:
    """A running process whose output is read as it comes.

    ``prefix``: a command that runs the process, and becomes it: ``ip netns exec …``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        paths = [str(REPOSITORY / "python"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        merged = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**merged, **(environment or {})},
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str], into: list[str]) -> None:
        for line in stream:
            with self._news:
                into.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_line(self, wanted: Callable[[str], bool]) -> str:
        """The first line of standard output that is wanted; fails when the process ends before it."""
        deadline = time.monotonic() + _WAIT_S
        with self._news:
            while True:
                found = next((line for line in self.lines if wanted(line)), None)
                if found is not None:
                    return found
                ended = self.process.poll() is not None and not any(r.is_alive() for r in self._readers)
                if ended or time.monotonic() > deadline:
                    state = f"ended with {self.process.returncode}" if ended else "did not say it in time"
                    raise AssertionError(f"the process {state}; it wrote {self.lines} and {self.errors}")
                self._news.wait(0.2)

    def wait(self) -> int:
        """Its exit code, once it has ended and all its output is read."""
        code = self.process.wait(_WAIT_S)
        for reader in self._readers:
            reader.join(_WAIT_S)
        return code

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def kill(self) -> int:
        """Ends it with SIGKILL."""
        self.process.kill()
        return self.stop()

    def stop(self) -> int:
        """Ends it: politely, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


@contextmanager
def child(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[ChildProcess]:
    """A process of this Python with these arguments, ended at the end."""
    process = ChildProcess(arguments, environment=environment)
    try:
        yield process
    finally:
        process.stop()


def wait_for(
    condition: Callable[[], bool], what: str, *, within_s: float = _WAIT_S, every_s: float = 0.01
) -> None:
    """Returns when a condition holds; fails when it never does. ``every_s``: how often it is looked at."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: did not happen in {within_s} s"
        time.sleep(every_s)
