"""What all measurements share: rows, processes and their cost, and the page of results."""

import datetime
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Row:
    """One line of the table: ours beside a peer, and the floor that was promised."""

    what: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None
    floor: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by theirs."""
        return self.ours / self.theirs if self.theirs else None


@dataclass
class Settings:
    """How much to measure. The defaults are those of the published figures."""

    work: Path
    cameras: int = 63
    window_s: float = 60.0
    rounds: int = 2
    repeats: int = 9
    clip_hours: float = 1.0
    seek_days: int = 7
    seeks: int = 100_000
    live_s: float = 30.0
    day_s: float = 150.0
    soak_s: float = 300.0
    streams: int = 200
    store_days: int = 30
    full: bool = True
    say: Callable[[str], None] = print
    conditions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """What a set of processes has used so far."""

    cpu_s: float
    resident_bytes: int


def descendants(pid: int) -> set[int]:
    """A process and all that it started, directly or not."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended between listing and reading
        for child in children:
            found |= descendants(int(child))
    return found


def cost_of(pids: Sequence[int]) -> Cost:
    """CPU time (user and system) and resident memory of processes and all that they started.

    Memory that processes share is counted once for each of them, as ``ps`` does.
    """
    cpu_ticks = 0
    resident_pages = 0
    for pid in set[int]().union(*(descendants(pid) for pid in pids)):
        # proc(5): the second field, a name in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_ticks += int(fields[11]) + int(fields[12])
        resident_pages += int(fields[21])
    return Cost(cpu_ticks / TICKS_PER_SECOND, resident_pages * PAGE_BYTES)


def cpu_per_camera_hour(pids: Sequence[int], cameras: int, window_s: float) -> tuple[float, int]:
    """CPU seconds for each camera and hour, over a window from now on, and resident bytes at its end."""
    before, start = cost_of(pids), time.monotonic()
    time.sleep(window_s)
    after, end = cost_of(pids), time.monotonic()
    return (after.cpu_s - before.cpu_s) / (end - start) / cameras * 3600, after.resident_bytes


@contextmanager
def process(
    command: Sequence[str | Path], log: Path, *, by_force: bool = False, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end on the way out, and made to if it does not (or ``by_force``)."""
    # What is installed has its bytecode beside it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("ab") as output:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd
        )
    try:
        yield running
        if running.poll() is not None:
            raise RuntimeError(f"{command[0]} ended while it was measured; see {log}")
    finally:
        running.send_signal(signal.SIGKILL if by_force else signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_until(true: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Waits for a condition; an error that names it when it does not come."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.1)


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of a piece of work, after one run that is not counted (warm caches)."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def medians_by_turns(
    works: Sequence[Callable[[], object]],
    repeats: int,
    *,
    prepare: Sequence[Callable[[], object]] = (),
) -> list[float]:
    """Median wall times of pieces of work that take turns, after one round that is not counted.

    ``prepare``: what is done before each of them, off the clock. A machine that is slower for a while
    is slower for all of them.
    """
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for place, (work, each) in enumerate(zip(works, taken, strict=True)):
            if prepare:
                prepare[place]()
            start = time.perf_counter()
            work()
            if turn:
                each.append(time.perf_counter() - start)
    return [statistics.median(each) for each in taken]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How fast y grows with x, by least squares."""
    mean_x, mean_y = (statistics.mean(point[axis] for point in points) for axis in (0, 1))
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across if across else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def program(name: str) -> str:
    """Path of a peer's program."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not on this machine: make test-deps")
    return found


def machine() -> str:
    """One line about the machine."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES / 2**30
    name = cpu[1] if cpu else platform.machine()
    return f"{name}, {os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {platform.release()}"


def first_line(*command: str) -> str:
    """The first line that a program prints: its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).splitlines()[0]


def figure(value: float | None) -> str:
    """A number with three significant digits, in plain notation."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| what | ours | peer | theirs | ours ÷ theirs | floor | met |",
        "| --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        theirs = f"{figure(row.theirs)} {row.unit}" if row.theirs is not None else ""
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        lines.append(
            f"| {row.what} | {figure(row.ours)} {row.unit} | {row.peer} | {theirs} "
            f"| {figure(row.ratio)} | {row.floor} | {met} |"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row], versions: Sequence[str], conditions: Sequence[str]) -> str:
    """The whole page of results."""
    now = datetime.datetime.now(datetime.UTC)
    parts = [
        "# Measured results",
        "Written by `make bench`; change the measurements in `benches/`, not this page. Ours and the "
        "peers ran one after the other on the same idle machine, in the same run.",
        f"- Machine: {machine()}\n- Date: {now:%Y-%m-%d %H:%M} UTC\n"
        + "\n".join(f"- {version}" for version in versions),
        table(rows),
        "## Conditions",
        "\n".join(f"- {condition}" for condition in conditions),
    ]
    return "\n\n".join(parts) + "\n"
