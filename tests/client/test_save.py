"""Saving clips: resumed after cuts and kills, whole or not at all."""

import asyncio
import errno
import json
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nvr
from nvr.client._progress import Progress
from nvr.client._save import ClipSaver
from nvr.errors import ClipChanged, NodeUnavailable, NoFootage, StoreError
from nvr.footage.source import Answer
from nvr.footage.time import to_datetime
from nvr.footage.types import ClipData, ClipHead, ClipRequest, End, Notice, ReadContext, TimeRange
from tests.client.proxy import cutting
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import serve
from tests.support.node import memory_node
from tests.support.processes import child, wait_for

WORLD = memory_world()
GATE = WORLD.gate
FIRST_RUN = TimeRange(GATE.start_us, GATE.runs[0].end_us)
ONE_PART = ClipRequest(camera="market-gate", range=FIRST_RUN)
TWO_PARTS = ClipRequest(camera="market-gate", range=GATE.whole)
SOURCE = MemoryFootage(WORLD)


async def expected(request: ClipRequest) -> list[bytes]:
    """The bytes of each part, as the source has them."""
    parts: dict[int, bytearray] = {}
    async for step in SOURCE.read_clip(ReadContext(), request):
        if isinstance(step, ClipData):
            parts.setdefault(step.part, bytearray()).extend(step.data)
    return [bytes(parts[index]) for index in sorted(parts)]


class CuttingFootage(MemoryFootage):
    """Cuts each answer that carries bytes after so many of them, in turn; counts what it gave."""

    def __init__(self, cuts: Sequence[int]) -> None:
        # The footage itself is shared: making it takes longer than reading it.
        self.__dict__.update(SOURCE.__dict__)
        self.cuts = list(cuts)
        self.given_bytes = 0

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        left = None if request.head_only or not self.cuts else self.cuts.pop(0)
        async for step in super().read_clip(context, request):
            if isinstance(step, ClipData):
                data = step.data if left is None else step.data[:left]
                self.given_bytes += len(data)
                if data:
                    yield replace(step, data=data)
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        raise NodeUnavailable("cut by the test")
            else:
                yield step


def saver(source: MemoryFootage, request: ClipRequest, path: Path, *, retries: int = 1) -> ClipSaver:
    return ClipSaver(
        source, ReadContext, request, path, overwrite=False, retries=retries, progress=lambda _: None
    )


def left_over(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if ".part" in path.name or path.name.endswith(".tmp")
    )


@given(cuts=st.lists(st.integers(1, 9_000_000), max_size=6), two_parts=st.booleans())
@settings(deadline=None, max_examples=25)
def test_cut_answers_are_taken_up_where_they_stopped(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], two_parts: bool
) -> None:
    folder = tmp_path_factory.mktemp("save")
    request = TWO_PARTS if two_parts else ONE_PART

    async def run() -> None:
        source = CuttingFootage(cuts)
        report = await saver(source, request, folder / "gate.mp4").save()
        bodies = await expected(request)
        assert [path.read_bytes() for path in report.paths] == bodies
        assert report.complete
        # No byte came twice: what follows a part in its answer may have been on its way.
        assert source.given_bytes < sum(map(len, bodies)) + 2_000_000 * len(bodies)
        assert left_over(folder) == []

    asyncio.run(run())


@given(attempts=st.lists(st.integers(1, 4_000_000), min_size=1, max_size=4))
@settings(deadline=None, max_examples=15)
def test_given_up_saves_go_on_at_the_next_attempt(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("save")

    async def run() -> None:
        resumed = 0
        for cut in attempts:
            try:
                await saver(CuttingFootage([cut]), TWO_PARTS, folder / "gate.mp4", retries=0).save()
            except NodeUnavailable:
                resumed += cut
                continue
            return
        report = await saver(CuttingFootage([]), TWO_PARTS, folder / "gate.mp4").save()
        assert [path.read_bytes() for path in report.paths] == await expected(TWO_PARTS)
        assert report.resumed_bytes == resumed
        assert left_over(folder) == []

    asyncio.run(run())


async def test_cut_connections_over_tcp(tmp_path: Path) -> None:
    async with (
        serve(SOURCE) as served,
        cutting(served.address, [700_000, 3_000_000, 40_000, 1_500_000]) as proxy,
        nvr.connect_async(proxy.address) as net,
    ):
        clip = net.camera("market-gate").clip(to_datetime(GATE.start_us), to_datetime(GATE.end_us))
        steps: list[Progress] = []
        report = await clip.save(tmp_path / "gate.mp4", progress=steps.append)
        assert proxy.cut == 4
    assert report.retries >= 3
    assert [path.name for path in report.paths] == ["gate-1.mp4", "gate-2.mp4"]
    assert [path.read_bytes() for path in report.paths] == await expected(TWO_PARTS)
    assert [gap.reason for gap in report.gaps] == ["unreachable"]
    assert steps[-1].done_bytes == steps[-1].total_bytes == report.parts[1].size_bytes
    done = [step.done_bytes for step in steps if step.name == "gate-1.mp4"]
    assert done == sorted(done)


async def test_a_clip_that_changed_starts_over_once(tmp_path: Path) -> None:
    class Changing(CuttingFootage):
        changes = 1

        async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
            if request.offset and self.changes:
                self.changes -= 1
                raise ClipChanged("changed by the test")
            async for step in super().read_clip(context, request):
                yield step

    report = await saver(Changing([1_000_000]), ONE_PART, tmp_path / "gate.mp4").save()
    assert [report.paths[0].read_bytes()] == await expected(ONE_PART)
    again = Changing([1_000_000, 1_000_000])
    again.changes = 2
    with pytest.raises(ClipChanged):
        await saver(again, ONE_PART, tmp_path / "other.mp4").save()
    assert left_over(tmp_path) == [] or not (tmp_path / "other.mp4").exists()


async def test_a_file_that_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "gate.mp4").write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists already") as refused:
        await saver(SOURCE, ONE_PART, tmp_path / "gate.mp4").save()
    assert refused.value.errno == errno.EEXIST
    assert (tmp_path / "gate.mp4").read_bytes() == b"mine"
    assert left_over(tmp_path) == []


async def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as failed:
        await saver(SOURCE, ONE_PART, tmp_path / "no-folder" / "gate.mp4").save()
    assert failed.value.errno == errno.ENOENT


async def test_two_saves_to_one_name_do_not_mix(tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Held(MemoryFootage):
        async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
            async for step in super().read_clip(context, request):
                yield step
                if isinstance(step, ClipData):
                    gate.set()
                    await asyncio.Event().wait()

    first = asyncio.create_task(saver(Held(WORLD), ONE_PART, tmp_path / "gate.mp4").save())
    await gate.wait()
    with pytest.raises(StoreError, match="another process is saving"):
        await saver(SOURCE, ONE_PART, tmp_path / "gate.mp4").save()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert left_over(tmp_path) == ["gate.mp4.part", "gate.mp4.part.json"]
    report = await saver(SOURCE, ONE_PART, tmp_path / "gate.mp4").save()
    assert report.resumed_bytes > 0


@pytest.mark.parametrize("sidecar", ["", "{}", "[1]", '{"version": 1}', "\x00\xff"])
async def test_a_damaged_record_means_a_fresh_start(tmp_path: Path, sidecar: str) -> None:
    with pytest.raises(NodeUnavailable):
        await saver(CuttingFootage([1_000_000]), ONE_PART, tmp_path / "gate.mp4", retries=0).save()
    (tmp_path / "gate.mp4.part.json").write_text(sidecar, encoding="utf-8")
    report = await saver(SOURCE, ONE_PART, tmp_path / "gate.mp4").save()
    assert report.resumed_bytes == 0
    assert [report.paths[0].read_bytes()] == await expected(ONE_PART)


async def test_a_record_of_another_clip_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(NodeUnavailable):
        await saver(CuttingFootage([1_000_000]), ONE_PART, tmp_path / "gate.mp4", retries=0).save()
    record = json.loads((tmp_path / "gate.mp4.part.json").read_text())
    assert record["offset"] == 1_000_000
    yard = ClipRequest(camera="yard", range=WORLD.yard.whole)
    report = await saver(SOURCE, yard, tmp_path / "gate.mp4").save()
    assert report.resumed_bytes == 0
    assert [report.paths[0].read_bytes()] == await expected(yard)


async def test_nothing_recorded(tmp_path: Path) -> None:
    class Empty(MemoryFootage):
        async def read_clip(
            self, context: ReadContext, request: ClipRequest
        ) -> AsyncIterator[ClipHead | ClipData | Notice | End]:
            yield ClipHead(())
            yield End(complete=True)

    with pytest.raises(NoFootage, match="market-gate: nothing is recorded from 2024"):
        await saver(Empty(WORLD), ONE_PART, tmp_path / "gate.mp4").save()


_SAVE = """
import sys, nvr
with nvr.connect(sys.argv[1]) as net:
    clip = net.camera("market-gate").clip(sys.argv[2], sys.argv[3])
    print(clip.save(sys.argv[4]).resumed_bytes, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_a_process_ended_in_the_midst_goes_on_at_the_next_run(
    tmp_path: Path, how: signal.Signals
) -> None:
    start, end = to_datetime(GATE.start_us).isoformat(), to_datetime(GATE.end_us).isoformat()
    target = tmp_path / "gate.mp4"
    record = tmp_path / "gate.mp4.part.json"

    def synced() -> tuple[int, int]:
        """Part, and bytes of it."""
        state = json.loads(record.read_bytes()) if record.exists() else {"part": 0, "offset": 0}
        return int(state["part"]), int(state["offset"])

    with memory_node() as address:
        async with cutting(address, []) as proxy:
            proxy.trickle = True
            with child("-c", _SAVE, proxy.address, start, end, str(target)) as process:
                await asyncio.to_thread(wait_for, lambda: synced() > (0, 0), "the first record")
                process.send(how)
                assert await asyncio.to_thread(process.wait) != 0
        assert synced() > (0, 0)
        assert not target.exists()
        with child("-c", _SAVE, address, start, end, str(target)) as process:
            assert await asyncio.to_thread(process.wait) == 0
            assert int(process.lines[-1]) > 0
    bodies = [(tmp_path / name).read_bytes() for name in ("gate-1.mp4", "gate-2.mp4")]
    assert bodies == await expected(TWO_PARTS)
    assert left_over(tmp_path) == []
