"""The measuring itself is right: costs, percentiles, tables, marks, and the peers' side."""

import itertools
import subprocess
import sys
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches import marks, recipe
from benches.harness import Row, cost_of, descendants, page, percentile, process, table, wait_until
from tests.support.skips import needs_program

BURN = """
import pathlib, sys, time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
pathlib.Path(sys.argv[1]).write_text("burnt")
time.sleep(600)
"""

# Ends its child when it is asked to end itself.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, *sys.argv[1:]])
signal.signal(signal.SIGTERM, lambda *_: child.kill())
child.wait()
"""


def test_cost_counts_processes_that_a_process_started(tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = [sys.executable, "-c", PARENT, "-c", BURN, str(done)]
    with process(command, tmp_path / "log") as running:
        wait_until(done.exists, "the child has used its CPU time")
        assert len(descendants(running.pid)) == 2
        cost = cost_of([running.pid])
    assert cost.cpu_s >= 0.3
    assert cost.resident_bytes > 2 * 2**20


def test_a_process_that_dies_while_measured_is_an_error(tmp_path: Path) -> None:
    def measure() -> None:
        with process(["false"], tmp_path / "log") as running:
            running.wait()

    with pytest.raises(RuntimeError, match="ended while it was measured"):
        measure()


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_percentile_is_the_nearest_rank(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_the_table_shows_ratio_floor_and_verdict() -> None:
    rows = [
        Row("recording", 2.0, "CPU-s", "ffmpeg", 8.0, "≤ 0.5 × ffmpeg", met=True),
        Row("clip", 1234.5, "ms", "cp", 1000.0, "", met=False),
        Row("seek", 3.14159, "µs"),
    ]
    lines = table(rows).splitlines()[2:]
    assert lines == [
        "| recording | 2 CPU-s | ffmpeg | 8 CPU-s | 0.25 | ≤ 0.5 × ffmpeg | yes |",
        "| clip | 1,234 ms | cp | 1,000 ms | 1.23 |  | **no** |",
        "| seek | 3.14 µs |  |  |  |  |  |",
    ]
    assert "GiB" in page(rows, ["nvr 1"], ["warm"])


@given(st.integers(0, 2**63 - 1), st.binary(max_size=50), st.binary(max_size=50))
def test_a_media_time_is_found_again_and_holds_no_start_code(
    media_us: int, before: bytes, after: bytes
) -> None:
    sei = marks.sei_with_time(media_us)
    assert marks.time_in(before.replace(b"\x5d", b"") + sei + after) == media_us
    assert int.from_bytes(sei[:4]) == len(sei) - 4
    assert not any(bad in sei[4:] for bad in (b"\0\0\0", b"\0\0\1", b"\0\0\2", b"\0\0\3"))


def test_a_picture_without_mark_has_no_time() -> None:
    assert marks.time_in(b"\0\0\0\1\x65") is None


SECONDS = 10


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> recipe.Media:
    return recipe.load(recipe.make(tmp_path_factory.mktemp("recipe"), SECONDS))


@needs_program("ffmpeg")
def test_the_recipe_gives_what_it_says(footage: recipe.Media) -> None:
    packets = footage.packets
    assert len(packets) == SECONDS * recipe.FPS
    assert [packet.pts_90k for packet in packets] == [
        number * recipe.TICKS_PER_PICTURE for number in range(len(packets))
    ]
    keyframes = [number for number, packet in enumerate(packets) if packet.keyframe]
    assert keyframes == list(range(0, len(packets), recipe.GOP_PICTURES))
    bits_per_second = sum(len(packet.data) for packet in packets) * 8 / SECONDS
    assert 0.9 < bits_per_second / recipe.BITS_PER_SECOND < 1.1
    assert footage.extra_data[:1] == b"\x01"


@needs_program("ffmpeg")
def test_the_endless_footage_goes_on_without_a_seam(footage: recipe.Media) -> None:
    shown = list(itertools.islice(recipe.endless(footage), len(footage.packets) * 2))
    assert [packet.pts_90k for packet in shown] == [n * recipe.TICKS_PER_PICTURE for n in range(len(shown))]


@needs_program("ffmpeg")
def test_decoders_take_marked_pictures_as_they_take_plain_ones(footage: recipe.Media) -> None:
    def pictures(marked: bool) -> list[bytes]:
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = footage.extra_data
        shown = []
        for packet in footage.packets[:60]:
            mark = marks.sei_with_time(marks.us_of(packet.pts_90k)) if marked else b""
            shown += decoder.decode(av.Packet(mark + packet.data))
        shown += decoder.decode(None)
        return [frame.to_ndarray(format="gray").tobytes() for frame in shown]

    plain = pictures(marked=False)
    assert len(plain) == 60
    assert pictures(marked=True) == plain


def test_asking_for_an_unknown_measurement_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches.run", "--only", "nothing"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "recording" in done.stderr
