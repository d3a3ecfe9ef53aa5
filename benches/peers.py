"""Peers that no registry has: measured where somebody says where they are.

- ``NVR_BENCH_MOONFIRE``: a program that is started as ``PROGRAM FOLDER URL…``, records these cameras
  with Moonfire NVR into the folder, and prints ``ready`` when all are recorded.
- ``NVR_BENCH_MEDIAMTX``: the binary of MediaMTX.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benches.harness import Row, process, wait_until

Recorder = Callable[[Mapping[str, str], Path], AbstractContextManager[list[int]]]

NOT_MEASURED = "not measured here"


def moonfire() -> str:
    """The program that records with Moonfire NVR; empty: there is none."""
    return os.environ.get("NVR_BENCH_MOONFIRE", "")


def mediamtx() -> str:
    """MediaMTX's binary; empty: there is none."""
    named = os.environ.get("NVR_BENCH_MEDIAMTX", "")
    return str(Path(named).absolute()) if named else ""


def not_measured(what: str, ours: float, unit: str, peer: str) -> Row:
    """A line that says that a peer was not there."""
    return Row(what, ours, unit, f"{peer}: {NOT_MEASURED}")


@contextmanager
def moonfire_recorder(addresses: Mapping[str, str], folder: Path) -> Iterator[list[int]]:
    """Moonfire NVR as somebody set it up; gives its process ids."""
    folder.mkdir()
    log = folder / "moonfire.log"
    with process([moonfire(), str(folder), *addresses.values()], log) as running:
        wait_until(lambda: "ready" in log.read_text(), "Moonfire NVR records", within_s=180)
        yield [running.pid]


@contextmanager
def mediamtx_recorder(addresses: Mapping[str, str], folder: Path) -> Iterator[list[int]]:
    """One MediaMTX that records all cameras in segments of a minute; gives its process id."""
    folder.mkdir()
    config = folder / "mediamtx.yml"
    lines = ["rtmp: no", "hls: no", "webrtc: no", "srt: no", "rtspAddress: 127.0.0.1:0", "paths:"]
    for name, url in addresses.items():
        lines += [f"  {name}:", f"    source: {url}", "    rtspTransport: tcp", "    record: yes"]
        lines += [f"    recordPath: {folder}/%path/%Y-%m-%d_%H-%M-%S-%f", "    recordSegmentDuration: 60s"]
    config.write_text("\n".join(lines) + "\n")
    # It leaves keys of its own where it runs.
    with process([mediamtx(), str(config)], folder / "mediamtx.log", cwd=folder) as running:
        wait_until(
            lambda: len({path.parent for path in folder.rglob("*.mp4")}) == len(addresses),
            "MediaMTX writes every camera",
            within_s=180,
        )
        yield [running.pid]


# Those that record many cameras in one process, and where they are said to be.
RECORDERS = {
    "Moonfire NVR": (moonfire, moonfire_recorder),
    "MediaMTX": (mediamtx, mediamtx_recorder),
}


def there() -> dict[str, Recorder]:
    """The recorders that are there."""
    return {name: record for name, (where, record) in RECORDERS.items() if where()}
