"""Copies of what another node recorded, from a source in this process."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nvr import _core
from nvr.errors import DamagedError, NodeUnavailable, NvrError, StoreError
from nvr.footage.source import Answer, FootageSource
from nvr.footage.types import (
    ClipData,
    ClipRequest,
    Fragment,
    FragmentsRequest,
    Gap,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from nvr.recorder.backfill import Backfill, CopyJob
from nvr.recorder.read_pool import ReadPool
from nvr.simulate.scenes import Scene, generate
from tests.acceptance.recorded import GATE, ZERO_US, Recorded, local_footage, record_run, record_world
from tests.acceptance.world import SECOND

CONTEXT = ReadContext(purpose="test")
NOW_US = ZERO_US + 120 * SECOND
SINCE_US = 3600 * SECOND
WHOLE = TimeRange(ZERO_US - SECOND, ZERO_US + 60 * SECOND)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with record_world(tmp_path_factory.mktemp("original")) as world:
        yield world


class Meddling:
    """A source between: passes on, counts, and lets a test meddle with what comes."""

    def __init__(self, source: FootageSource, meddle: Callable[[Fragment], Fragment] = lambda f: f) -> None:
        self._source = source
        self.meddle = meddle
        self.cut_after: int | None = None
        self.given: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange
    ) -> Answer[Span | Gap]:
        return self._source.coverage(context, camera, stream, range)

    async def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> AsyncIterator[object]:
        async for step in self._source.read_fragments(context, request):
            if isinstance(step, Fragment) and not request.refs_only:
                if self.cut_after is not None and len(self.given) >= self.cut_after:
                    raise NodeUnavailable("the link is cut")
                self.given.append((step.ref.run_id, step.ref.sequence))
                yield self.meddle(step)
            else:
                yield step


class Copying:
    """A store that is to hold the copy, and the source that it comes from."""

    def __init__(self, source: FootageSource, pool: ReadPool, store: _core.Store) -> None:
        self.source = Meddling(source)
        self.store = store
        self.now_s = 0.0
        self.backfill = Backfill(store, pool, now_us=lambda: NOW_US, now_s=lambda: self.now_s)
        # The protocol has more methods than a copy needs; they are passed on.
        self.job = CopyJob(self.source, GATE, "main", SINCE_US)  # type: ignore[arg-type]
        self.status = self.backfill.status(GATE, "main")

    async def fill(self) -> bool:
        return await self.backfill.fill(self.job)

    def held(self) -> list[tuple[str, int]]:
        found = self.store.fragments(GATE, "main", WHOLE.start_us, WHOLE.end_us)
        return [(each.run_id, each.sequence) for each in found]


@asynccontextmanager
async def copying(recorded: Recorded, folder: Path) -> AsyncIterator[Copying]:
    pool = ReadPool(2, "copy")
    store = _core.Store([str(folder / "copy")])
    try:
        async with local_footage(recorded) as source:
            yield Copying(source, pool, store)
    finally:
        store.close()
        pool.close()
    assert _core.Store.check([str(folder / "copy")], digests=True).problems == []


def all_of(recorded: Recorded) -> list[_core.Fragment]:
    return recorded.store.fragments(GATE, "main", WHOLE.start_us, WHOLE.end_us)


def names(fragments: list[_core.Fragment]) -> list[tuple[str, int]]:
    return [(each.run_id, each.sequence) for each in fragments]


def coverage(store: _core.Store) -> list[tuple[object, ...]]:
    spans, gaps = store.coverage(GATE, "main", WHOLE.start_us, WHOLE.end_us)
    told = [(span.start_us, span.end_us, span.run_id, str(span.epoch)) for span in spans]
    return sorted([*told, *((gap.start_us, gap.end_us, gap.reason, gap.detail) for gap in gaps)])


async def clip_of(source: FootageSource, range: TimeRange) -> bytes:
    request = ClipRequest(GATE, range)
    steps = [step async for step in source.read_clip(CONTEXT, request)]
    return b"".join(step.data for step in steps if isinstance(step, ClipData))


async def test_a_copy_reads_as_the_original(recorded: Recorded, tmp_path: Path) -> None:
    async with copying(recorded, tmp_path) as copy:
        assert await copy.fill()
        assert copy.held() == names(all_of(recorded))
        # The newest run came first.
        assert copy.source.given[0][0] == all_of(recorded)[-1].run_id
        ours, theirs = coverage(copy.store), coverage(recorded.store)
        assert [each for each in ours if each[2] != "not_copied"] == [
            each for each in theirs if each[2] != "not_recorded" and each[1] != WHOLE.end_us
        ]
        async with (
            local_footage(dataclasses.replace(recorded, store=copy.store)) as ours_source,
            local_footage(recorded) as theirs_source,
        ):
            for range in (
                TimeRange(ZERO_US + 1_234_567, ZERO_US + 18 * SECOND),
                TimeRange(ZERO_US + 5 * SECOND, ZERO_US + 35 * SECOND),
            ):
                assert await clip_of(ours_source, range) == await clip_of(theirs_source, range)
        for original, kept in zip(
            all_of(recorded), copy.store.fragments(GATE, "main", WHOLE.start_us, WHOLE.end_us), strict=True
        ):
            assert copy.store.read_fragment(kept) == recorded.store.read_fragment(original)
        assert copy.status.runs_behind == copy.status.behind_us == 0
        assert copy.status.complete_us == NOW_US
        # Once more fetches nothing.
        copy.source.given.clear()
        assert await copy.fill()
        assert copy.source.given == []


async def test_after_a_cut_only_the_rest_is_fetched(recorded: Recorded, tmp_path: Path) -> None:
    async with copying(recorded, tmp_path) as copy:
        whole = names(all_of(recorded))
        for cut_after in range(3, len(whole), 7):
            copy.source.cut_after = cut_after
            with pytest.raises(NodeUnavailable):
                await copy.fill()
            assert copy.status.last_error == "NODE_UNAVAILABLE: the link is cut"
            assert sorted(copy.held()) == sorted(copy.source.given)
        copy.source.cut_after = None
        assert await copy.fill()
        assert copy.status.last_error == ""
        assert sorted(copy.source.given) == sorted(whole)
        assert copy.status.fragments == len(whole)


async def test_a_cancelled_pass_keeps_what_had_come(recorded: Recorded, tmp_path: Path) -> None:
    async with copying(recorded, tmp_path) as copy:
        reached = asyncio.Event()

        class Stuck:
            async def take(self, bits: int) -> None:
                if len(copy.source.given) == 4:
                    reached.set()
                    await asyncio.Event().wait()

        copy.backfill._limiter = Stuck()
        task = asyncio.create_task(copy.fill())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(copy.held()) == sorted(copy.source.given)


def flip(fragment: Fragment, _: Fragment) -> Fragment:
    data = bytearray(fragment.data)
    data[-1] ^= 1
    return dataclasses.replace(fragment, data=bytes(data))


def swap(fragment: Fragment, before: Fragment) -> Fragment:
    """Whole and sound, and another than it is said to be."""
    return dataclasses.replace(before, ref=fragment.ref)


def no_head(fragment: Fragment, _: Fragment) -> Fragment:
    config = dataclasses.replace(fragment.config, init_segment=b"\0" * 40)
    return dataclasses.replace(fragment, config=config)


@pytest.mark.parametrize(
    ("meddle", "why"),
    [(flip, "it fails its CRC"), (swap, "gave another than it announced"), (no_head, "segment's head")],
)
async def test_a_lie_costs_its_own_run_and_is_asked_again_later(
    recorded: Recorded, tmp_path: Path, meddle: Callable[[Fragment, Fragment], Fragment], why: str
) -> None:
    newest = all_of(recorded)[-1].run_id
    before: list[Fragment] = []

    def third_of_newest(fragment: Fragment) -> Fragment:
        before.append(fragment)
        if fragment.ref.run_id == newest and fragment.ref.sequence == 2:
            return meddle(fragment, before[-2])
        return fragment

    async with copying(recorded, tmp_path) as copy:
        copy.source.meddle = third_of_newest
        assert not await copy.fill()
        assert list(copy.status.refused) == [newest]
        assert why in copy.status.refused[newest]
        assert copy.status.refused[newest].startswith("DAMAGED: ")
        assert copy.status.runs_behind == 1
        older = [name for name in names(all_of(recorded)) if name[0] != newest]
        assert [name for name in copy.held() if name[0] != newest] == older
        # Not again at once, but later; and then the source has mended its ways.
        copy.source.meddle = lambda f: f
        asked = len(copy.source.given)
        assert not await copy.fill()
        assert len(copy.source.given) == asked
        copy.now_s += 3600
        assert await copy.fill()
        assert copy.status.refused == {}
        assert copy.held() == names(all_of(recorded))


async def test_a_list_without_end_is_left(recorded: Recorded, tmp_path: Path) -> None:
    async with copying(recorded, tmp_path) as copy:
        honest = copy.source.read_fragments

        async def again(context: ReadContext, request: FragmentsRequest) -> AsyncIterator[object]:
            if request.refs_only:
                request = dataclasses.replace(request, cursor="", limit=3)
            async for step in honest(context, request):
                yield step

        copy.source.read_fragments = again  # type: ignore[method-assign]
        assert not await copy.fill()
        assert all("again and again" in why for why in copy.status.refused.values())


def delete_before(store: _core.Store, at_us: int) -> None:
    """Everything in segments that start before an instant."""
    store.enforce_retention(max_age_us=time.time_ns() // 1000 - at_us)


async def test_what_retention_deletes_is_not_fetched_again(recorded: Recorded, tmp_path: Path) -> None:
    async with copying(recorded, tmp_path) as copy:
        assert await copy.fill()
        newest = all_of(recorded)[-1].run_id
        delete_before(copy.store, ZERO_US + 10 * SECOND)
        assert {run for run, _ in copy.held()} == {newest}
        copy.source.given.clear()
        assert await copy.fill()
        assert copy.source.given == []
        # In the middle of the newest segment: all of it went, to its end.
        delete_before(copy.store, ZERO_US + 30 * SECOND)
        assert copy.held() == []
        assert await copy.fill()
        assert copy.source.given == []
        assert not copy.status.refused


async def test_a_full_or_failing_disk_is_told(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(recorded, tmp_path) as copy:

        class Full:
            def add(self, init_segment: bytes, fragment: bytes) -> None:
                """Taken."""

            def flush(self) -> _core.Copied:
                raise StoreError("no room", 28, "/store")

        class Store:
            def __getattr__(self, name: str) -> object:
                return (lambda *_: Full()) if name == "copy_writer" else getattr(copy.store, name)

        copy.backfill._store = Store()  # type: ignore[assignment]
        with pytest.raises(StoreError):
            await copy.fill()
        assert copy.status.last_error == "STORE_FAILED: no room"


def test_the_core_names_what_it_refuses(recorded: Recorded, tmp_path: Path) -> None:
    store = _core.Store([str(tmp_path / "copy")])
    fragment = all_of(recorded)[3]
    config, data = recorded.store.config(fragment), bytearray(recorded.store.read_fragment(fragment))
    writer = store.copy_writer(GATE, "main")
    writer.add(config.init_segment, bytes(data))
    assert (writer.flush().fragments, writer.flush().fragments) == (1, 0)
    data[-1] ^= 1
    with pytest.raises(DamagedError, match=f"run {fragment.run_id}, fragment 3: it fails its CRC"):
        writer.add(config.init_segment, bytes(data))
    with pytest.raises(DamagedError, match="it is of"):
        store.copy_writer(GATE, "sub").add(config.init_segment, recorded.store.read_fragment(fragment))
    (run,) = store.runs(GATE, "main", 0, NOW_US)
    assert run.run_id == fragment.run_id
    store.close()
    writer.add(config.init_segment, recorded.store.read_fragment(all_of(recorded)[4]))
    with pytest.raises(NvrError, match="closed"):
        writer.flush()


async def test_a_run_that_another_hides_is_copied_with_it(recorded: Recorded, tmp_path: Path) -> None:
    origin = _core.Store([str(tmp_path / "origin")])
    path = generate(Scene(seed=1, width=320, height=180, fps=10, duration_s=20), tmp_path / "scenes")
    try:
        record_run(origin, GATE, path, ZERO_US, "clock_step")
        record_run(origin, GATE, path, ZERO_US + 5 * SECOND, "silent")
        both = dataclasses.replace(recorded, store=origin)
        async with copying(both, tmp_path) as copy:
            assert await copy.fill()
            assert copy.held() == names(all_of(both))
            assert len({run for run, _ in copy.held()}) == 2
            assert len(copy.source.given) < 2 * len(copy.held())
            copy.source.given.clear()
            assert await copy.fill()
            assert copy.source.given == []
    finally:
        origin.close()
