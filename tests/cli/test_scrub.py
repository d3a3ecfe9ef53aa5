"""``nvr store scrub`` on footage that was really recorded: what it names, what it ends with, and Ctrl-C."""

import shutil
import signal
from pathlib import Path

import pytest

from nvr import _core
from nvr.simulate.scenes import Scene, generate
from tests.acceptance.recorded import GATE, YARD, ZERO_US, record_run
from tests.acceptance.world import SECOND
from tests.cli.conftest import Run
from tests.format.reader import Fragment, Segment, read_segment
from tests.support.processes import child


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short segment of one camera, and longer ones of another: scrubbed in that order."""
    folder = tmp_path_factory.mktemp("recorded")
    short = generate(Scene(width=160, height=90, fps=10, duration_s=4, gop_s=1, bit_rate=50_000), folder)
    long = generate(Scene(width=640, height=360, fps=10, duration_s=20, gop_s=1, bit_rate=4_000_000), folder)
    store = _core.Store([str(folder / "store")])
    record_run(store, GATE, short, ZERO_US, "disconnected")
    record_run(store, YARD, long, ZERO_US, "disconnected")
    record_run(store, YARD, long, ZERO_US + 60 * SECOND, "disconnected")
    store.close()
    return folder / "store"


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "store"))


def segments(store: Path) -> list[Path]:
    """In the order in which they are scrubbed."""
    found = sorted(store.glob("*/main/*/*.mp4"))
    assert len(found) == 3
    return found


def read(path: Path) -> Segment:
    return read_segment(path.read_bytes())


def flip(path: Path, fragment: Fragment) -> None:
    """Turns a bit in the pictures of a fragment."""
    data = bytearray(path.read_bytes())
    data[fragment.video.data_offset + 20] ^= 8
    path.write_bytes(data)


def test_a_sound_store(run: Run, store: Path) -> None:
    done = run("store", "scrub", str(store))
    count = sum(len(read(path).fragments) for path in segments(store))
    assert done.code == 0
    first, last = done.out.splitlines()
    assert first.startswith(f"3 segments, {count} fragments, ")
    assert last == "no new damage"
    (record,) = run("store", "scrub", str(store), "--json").records
    size = sum(path.stat().st_size for path in segments(store))
    assert record == {"type": "scrub", "segments": 3, "fragments": count, "bytes": size}


def test_damage_is_named_for_people(run: Run, store: Path) -> None:
    path = segments(store)[0]
    fragment = read(path).fragments[2]
    flip(path, fragment)
    done = run("store", "scrub", str(store))
    assert done.code == 7, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("damaged: ")]
    assert f", 1 fragment: {path} at byte {fragment.offset}: fragment {fragment.info.sequence} " in line
    assert "no new damage" not in done.out
    # Known now, and told once.
    again = run("store", "scrub", str(store))
    assert again.code == 0
    assert again.out.splitlines()[-1] == "no new damage"
    assert "damaged: " not in again.out


def test_damage_is_named_for_programs_and_taken_back(run: Run, store: Path) -> None:
    path = segments(store)[1]
    fragment = read(path).fragments[5]
    flip(path, fragment)
    done = run("store", "scrub", str(store), "--json")
    assert done.code == 7
    damaged, scrub = done.records
    assert (damaged["type"], damaged["camera_id"], damaged["stream"]) == ("damaged", YARD, "main")
    assert (damaged["sequence"], damaged["fragments"]) == (fragment.info.sequence, 1)
    assert damaged["segment"] == str(path)
    assert damaged["detail"].startswith(str(path.relative_to(store)))
    assert f"byte {fragment.offset}:" in damaged["detail"]
    assert (scrub["type"], scrub["segments"]) == ("scrub", 3)
    flip(path, fragment)
    back = run("store", "scrub", str(store), "--json")
    assert back.code == 0
    assert back.records[0] == {**damaged, "type": "intact"}


def test_ctrl_c_waits_for_no_slow_segment_and_leaves_none_out(run: Run, store: Path) -> None:
    short, long, _ = segments(store)
    for path in (short, long):
        flip(path, read(path).fragments[1])
    # A second for the first one, so much longer for the next that Ctrl-C finds it under way.
    rate = short.stat().st_size
    assert long.stat().st_size > 30 * rate
    with child("-m", "nvr", "store", "scrub", str(store), "--rate", f"{rate}B") as scrub:
        scrub.wait_line(lambda line: line.startswith("damaged: "))
        scrub.send(signal.SIGINT)
        assert scrub.wait() == 130
    (line,) = scrub.lines
    assert str(short) in line
    assert scrub.errors == []
    # It goes on there: with the one that was not read to its end.
    done = run("store", "scrub", str(store), "--json")
    assert done.code == 7
    damaged, scrubbed = done.records
    assert damaged["segment"] == str(long)
    assert scrubbed["segments"] == 2
    assert run("store", "scrub", str(store), "--json", "--again").records[-1]["segments"] == 3
