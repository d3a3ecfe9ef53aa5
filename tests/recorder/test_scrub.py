"""Bit rot: whatever bit is turned in a store, a scrub finds it, says where, and answers go on around it."""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr import _core
from nvr.errors import Closed, DamagedError
from nvr.footage.types import Event
from nvr.node.events import EventBus
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.scrub import Scrubber
from tests.acceptance.recorded import GATE, YARD, ZERO_US, record_world
from tests.format.reader import Segment, read_segment
from tests.recorder.running import until

T = TypeVar("T")
CAMERAS = (GATE, YARD)
START_US, END_US = ZERO_US - 3_600_000_000, ZERO_US + 3_600_000_000


class Original:
    """A store as it was recorded, its segments by path within it, and what it answered.

    No dataclass: hypothesis would print all of it.
    """

    def __init__(self, folder: Path, segments: dict[Path, Segment], answers: dict[str, "Answers"]) -> None:
        self.folder = folder
        self.segments = segments
        self.answers = answers

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """A copy of it, whose stores are closed at the end."""
        with TemporaryDirectory() as name:
            folder = Path(name) / "store"
            shutil.copytree(self.folder, folder)
            try:
                yield folder
            finally:
                for store in _OPEN:
                    with suppress(Closed):
                        store.close()
                _OPEN.clear()


@dataclass(frozen=True)
class Answers:
    gaps: list[tuple[int, int, str]]
    fragments: dict[tuple[str, int], bytes | None]
    """By run and sequence; None: told to be damaged."""
    initial: set[bytes]
    """What a decoder has to know before."""
    clip: list[bytes]
    """A digest of each part."""


# What differs from one recording to the next is chosen by number, so that an example means the same.
NUMBERS = st.integers(0, 1 << 40)


def pick(things: Sequence[T], number: int) -> T:
    return things[number % len(things)]


_OPEN: list[_core.Store] = []


def opened(folder: Path) -> _core.Store:
    store = _core.Store([str(folder)])
    _OPEN.append(store)
    return store


def ask(store: _core.Store, camera: str) -> Answers:
    _, gaps = store.coverage(camera, "main", START_US, END_US)
    found: dict[tuple[str, int], bytes | None] = {}
    fragments = store.fragments(camera, "main", START_US, END_US)
    for fragment in fragments:
        try:
            found[fragment.run_id, fragment.sequence] = store.read_fragment(fragment)
        except DamagedError:
            found[fragment.run_id, fragment.sequence] = None
    given = [(gap.start_us, gap.end_us, gap.reason) for gap in gaps]
    initial = {store.config(fragment).init_segment for fragment in fragments}
    parts = store.clip(camera, "main", START_US, END_US).parts
    clip = [sha256(part.read(0, part.size_bytes)).digest() for part in parts]
    return Answers(given, found, initial, clip)


def scrub(store: _core.Store) -> list[_core.Scrubbed]:
    """A whole pass."""
    found = []
    while (step := store.scrub_next()) is not None:
        found.append(step)
    return found


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    folder = tmp_path_factory.mktemp("recorded")
    with record_world(folder) as recorded:
        answers = {camera: ask(recorded.store, camera) for camera in CAMERAS}
    root = folder / "store"
    segments = {
        path.relative_to(root): read_segment(path.read_bytes()) for path in sorted(root.rglob("*.mp4"))
    }
    assert len(segments) == 3
    assert all(len(answers[camera].fragments) > 2 for camera in CAMERAS)
    return Original(root, segments, answers)


def test_a_sound_store_has_no_damage(original: Original) -> None:
    with original.copied() as folder:
        store = opened(folder)
        found = scrub(store)
        assert {Path(step.segment).relative_to(folder) for step in found} == set(original.segments)
        assert sum(step.bytes for step in found) == sum(p.stat().st_size for p in folder.rglob("*.mp4"))
        assert sum(step.fragments for step in found) == sum(
            len(s.fragments) for s in original.segments.values()
        )
        assert not any(step.damaged or step.problems or step.repaired for step in found)
        store.close()


@given(number=NUMBERS, of_segment=NUMBERS, in_head=st.booleans(), where=NUMBERS)
def test_a_bit_of_a_fragment_is_found_and_answers_go_on_around_it(
    original: Original, number: int, of_segment: int, in_head: bool, where: int
) -> None:
    path = pick(sorted(original.segments), number)
    camera = path.parts[0]
    segment = original.segments[path]
    fragment = pick(segment.fragments, of_segment)
    # As often in its boxes as in its pictures.
    end = fragment.video.data_offset if in_head else fragment.end
    bit = pick(range(8 * fragment.offset, 8 * end), where)
    run, sequence = str(UUID(bytes=segment.head.identity.run)), fragment.info.sequence
    before = original.answers[camera]
    with original.copied() as folder:
        store = opened(folder)
        flip(folder / path, bit)
        damaged_bytes = (folder / path).read_bytes()
        stretches = [stretch for step in scrub(store) for stretch in step.damaged]
        (stretch,) = stretches
        assert (stretch.camera_id, stretch.stream) == (camera, "main")
        assert (stretch.run_id, stretch.sequence, stretch.fragments) == (run, sequence, 1)
        assert stretch.start_us == fragment.info.wall_start_us
        for part in (str(path), f"byte {fragment.offset}:", f"fragment {sequence} "):
            assert part in stretch.detail
        assert (folder / path).read_bytes() == damaged_bytes
        # Now, and when the store is opened again.
        for again in range(2):
            after = ask(store, camera)
            assert (stretch.start_us, stretch.end_us, "damaged") in after.gaps
            assert [gap for gap in after.gaps if gap[2] != "damaged"] == before.gaps
            assert after.fragments == {**before.fragments, (run, sequence): None}
            assert store.locate(camera, "main", stretch.start_us) is None
            for mode, edge_us in (("next", stretch.end_us), ("previous", stretch.start_us)):
                near = store.locate(camera, "main", stretch.start_us, mode)
                assert near is None or (near.start_us >= edge_us) == (mode == "next")
            plan = store.clip(camera, "main", START_US, END_US)
            assert any(gap.reason == "damaged" for gap in plan.gaps)
            assert plan.parts
            assert not any(step.damaged or step.intact for step in scrub(store))
            if not again:
                store.close()
                store = opened(folder)
        # Brought back from a backup.
        flip(folder / path, bit)
        (back,) = [stretch for step in scrub(store) for stretch in step.intact]
        assert (back.run_id, back.sequence) == (run, sequence)
        assert ask(store, camera) == before
        store.close()


@given(number=NUMBERS, in_head=st.booleans(), where=NUMBERS)
def test_a_bit_of_a_head_or_footer_is_found_and_costs_nothing(
    original: Original, number: int, in_head: bool, where: int
) -> None:
    path = pick(sorted(original.segments), number)
    segment = original.segments[path]
    assert segment.footer is not None
    length = (original.folder / path).stat().st_size
    first, end = (0, segment.head.length) if in_head else (segment.footer.offset, length)
    bit = pick(range(8 * first, 8 * end), where)
    with original.copied() as folder:
        store = opened(folder)
        flip(folder / path, bit)
        found = scrub(store)
        assert [step.segment for step in found if step.problems] == [str(folder / path)]
        assert not any(step.damaged or step.repaired for step in found)
        assert {camera: ask(store, camera) for camera in CAMERAS} == original.answers
        # Also for who opens the store, and puts right what it finds.
        store.close()
        store = opened(folder)
        assert not (in_head and store.repairs())
        assert {camera: ask(store, camera) for camera in CAMERAS} == original.answers
        store.close()


@given(number=NUMBERS, where=NUMBERS)
def test_an_index_is_made_anew(original: Original, number: int, where: int) -> None:
    indexes = {path.relative_to(original.folder): path for path in original.folder.rglob("*.index")}
    name = pick(sorted(indexes), number)
    good = indexes[name].read_bytes()
    bit = pick(range(8 * len(good)), where)
    with original.copied() as folder:
        index = folder / name
        store = opened(folder)
        flip(index, bit)
        found = scrub(store)
        assert [line for step in found for line in step.repaired] == [
            f"{index}: agrees again with its segments"
        ]
        assert not any(step.damaged for step in found)
        assert index.read_bytes() == good
        assert {camera: ask(store, camera) for camera in CAMERAS} == original.answers
        store.close()


def test_a_pass_goes_on_where_it_was(original: Original) -> None:
    with original.copied() as folder:
        store = opened(folder)
        first = store.scrub_next()
        store.close()
        store = opened(folder)
        rest = scrub(store)
        assert first is not None
        assert len({first.segment, *(step.segment for step in rest)}) == len(rest) + 1 == 3
        assert len(scrub(store)) == 3
        store.scrub_next()
        store.scrub_again()
        assert len(scrub(store)) == 3
        store.close()


async def test_a_node_tells_of_damage(original: Original) -> None:
    path, segment = next(iter(original.segments.items()))
    with original.copied() as folder:
        store = opened(folder)
        flip(folder / path, segment.fragments[1].video.data_offset * 8)
        bus = EventBus()
        events = bus.subscribe()
        pool = ReadPool(1, "scrub")
        scrubber = Scrubber(
            store, pool, bytes_per_s=1_000_000_000, events=bus, node="station-1", now_us=lambda: 7
        )
        running = asyncio.create_task(scrubber.run())

        async def passed() -> bool:
            return scrubber.counts.passes == 1

        await until(passed)
        running.cancel()
        ((told,), _) = await events.take()
        assert told == Event(7, "footage_damaged", path.parts[0], "main", "damaged", told.detail, "station-1")
        assert str(path) in told.detail
        assert scrubber.counts.damaged_fragments == 1
        assert scrubber.counts.bytes == sum(p.stat().st_size for p in folder.rglob("*.mp4"))
        pool.close()
        store.close()
