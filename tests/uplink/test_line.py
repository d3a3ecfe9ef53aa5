"""Calls over an uplink, between a parent and a child in one process."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nvr.client._clip import AsyncClip
from nvr.errors import CameraNotFound, DeadlineExceeded, LimitExceeded, NodeUnavailable
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipRequest,
    Fragment,
    FragmentsRequest,
    LiveUnit,
    NodeInfo,
    ReadContext,
)
from nvr.uplink.hub import Uplink
from nvr.uplink.priority import Priority
from nvr.uplink.session import WINDOW_BYTES
from nvr.uplink.shaper import CapSchedule
from nvr.v1.node_pb2 import GetNodeRequest
from nvr.v1.node_pb2_grpc import NodeServiceStub
from tests.client.proxy import cutting
from tests.footage.memory import CLIP_CHUNK, MemoryFootage, memory_world
from tests.footage.serving import until
from tests.uplink.counting import Counting
from tests.uplink.lines import Child, child, parent

CONTEXT = ReadContext(purpose="test")
GATE = memory_world().gate
CLIP = ClipRequest(GATE.id, GATE.whole)


@dataclass
class Pair:
    """A child at its parent."""

    uplink: Uplink
    child: Child
    footage: MemoryFootage
    remote: RemoteFootage


@asynccontextmanager
async def pair(folder: Path, **options: Any) -> AsyncIterator[Pair]:
    footage = MemoryFootage(memory_world())
    async with parent(folder / "ward") as above:
        uplink = above.hub.expect("station-1")
        async with child(above.address, source=footage, **options) as below:
            await uplink.until_connected()
            await below.until(up=True)
            yield Pair(uplink, below, footage, RemoteFootage(uplink.channel, target="uplink station-1"))


async def until_no_calls(made: Pair) -> None:
    """Both sides have forgotten all calls."""
    await until(
        lambda: (
            made.uplink.session is not None
            and not made.uplink.session.calls
            and not any(made.child.uplink.queued.values())
        )
    )


async def test_answers_come_over_the_childs_connection(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        assert (await made.remote.node()).name == "station-1"
        cameras = [each async for each in made.remote.list_cameras(CONTEXT) if isinstance(each, Camera)]
        assert [each.id for each in cameras] == [each.id for each in memory_world().cameras]
        with pytest.raises(CameraNotFound) as caught:
            await made.remote.locate(CONTEXT, "nowhere", "main", 0)
        assert caught.value.node == "station-1"
        assert made.footage.contexts[-1].purpose == "test"
        await until_no_calls(made)


async def test_a_clip_is_the_childs_own_bytes(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        direct = [step async for step in made.footage.read_clip(CONTEXT, CLIP)]
        got = [step async for step in made.remote.read_clip(CONTEXT, CLIP)]
        assert data_of(got) == data_of(direct)
        assert got[-1] == direct[-1]
        assert made.uplink.session is not None
        assert made.uplink.session.received[Priority.CLIPS] > len(data_of(direct))
        assert made.child.uplink.sent == made.uplink.session.received


def data_of(steps: list[Any]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, ClipData))


async def test_a_reader_that_stops_stops_the_child(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        live: Any = made.remote.watch_live(CONTEXT, GATE.id, "main")
        await made.footage.live.put(LiveUnit(False, 0, GATE.start_us, True, b"unit", "run"))
        assert isinstance(await anext(live), LiveUnit)
        await live.aclose()
        await until(lambda: bool(made.footage.closed_streams))
        await until_no_calls(made)


async def test_a_reader_that_is_slow_holds_the_child_back(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        session = made.uplink.session
        assert session is not None
        answer = made.remote.read_clip(CONTEXT, CLIP)
        await anext(answer)
        before = -1
        while session.received[Priority.CLIPS] != before:
            before = session.received[Priority.CLIPS]
            await asyncio.sleep(0.2)
        # The window, a message that was begun before one waited, and one that is asked for ahead.
        assert 0 < before <= WINDOW_BYTES + 2 * CLIP_CHUNK
        rest = [step async for step in answer]
        assert len(data_of(rest)) > 2 * WINDOW_BYTES


async def test_a_call_ends_at_its_deadline_on_both_sides(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        stub = NodeServiceStub(made.uplink.channel)
        started = asyncio.Event()

        async def hang() -> NodeInfo:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError

        made.footage.node = hang  # type: ignore[method-assign]
        with pytest.raises(DeadlineExceeded):
            await RemoteFootage(made.uplink.channel, timeout_s=0.3).node()
        assert started.is_set()
        task = asyncio.ensure_future(stub.GetNode(GetNodeRequest(), timeout=60))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until_no_calls(made)


async def test_more_calls_than_the_child_answers_are_refused_not_queued(tmp_path: Path) -> None:
    async with pair(tmp_path) as made:
        session = made.uplink.session
        assert session is not None
        watches = []
        for _ in range(256):
            watch = made.remote.watch_events(CONTEXT)
            watches.append((watch, asyncio.ensure_future(anext(watch))))
        await until(lambda: session.calls == 256)
        with pytest.raises(LimitExceeded) as caught:
            await made.remote.node()
        assert caught.value.facts["limit"] == "uplink_calls"
        for _, task in watches:
            task.cancel()
        await asyncio.gather(*(task for _, task in watches), return_exceptions=True)
        assert (await made.remote.node()).name == "station-1"
        await until_no_calls(made)


async def test_what_is_urgent_passes_what_is_not(tmp_path: Path) -> None:
    # So slow that the clip would take minutes.
    async with pair(tmp_path, schedule=CapSchedule(300_000)) as made:
        session = made.uplink.session
        assert session is not None
        bulk = made.remote.read_fragments(
            ReadContext(purpose="copy"), FragmentsRequest(GATE.id, range=GATE.whole)
        )
        copying = asyncio.ensure_future(_drain(bulk))
        await until(lambda: bool(session.received[Priority.BULK]))
        before = session.received[Priority.BULK]
        for _ in range(5):
            assert (await made.remote.node()).name == "station-1"
        # What was under way when each call came, and a frame or two: not what waits.
        assert session.received[Priority.BULK] - before < 400_000
        assert sum(made.child.uplink.queued.values()) > 0
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        await until_no_calls(made)


async def _drain(answer: AsyncIterator[Any]) -> list[Any]:
    return [step async for step in answer]


async def test_the_child_tells_how_fast_its_line_is(tmp_path: Path) -> None:
    async with pair(tmp_path, schedule=CapSchedule(80_000_000)) as made:
        session = made.uplink.session
        assert session is not None
        await until(lambda: session.line.cap_bits_per_second == 80_000_000)
        await _drain(made.remote.read_clip(CONTEXT, CLIP))
        await until(lambda: bool(session.line.rate_bits_per_second))


# --- when the line breaks ----------------------------------------------------------


async def test_a_child_that_is_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        remote = RemoteFootage(uplink.channel, target="uplink station-1")
        with pytest.raises(NodeUnavailable, match="has not come"):
            await remote.node()
        async with cutting(above.address, []) as proxy, child(proxy.address) as below:
            await below.until(up=True)
            watch = remote.watch_events(CONTEXT)
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0.1)
            proxy.down()
            with pytest.raises(NodeUnavailable):
                await waiting
            await below.until(up=False)
            with pytest.raises(NodeUnavailable, match="has not come back since"):
                await remote.node()
            proxy.up()
            await below.until(up=True)
            assert (await remote.node()).name == "station-1"
            assert uplink.connects == 2


async def test_a_parent_that_restarts_is_dialled_again(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        above.hub.expect("station-1")
        async with child(above.address) as below:
            await below.until(up=True)
            await above.stop()
            await below.until(up=False)
            await above.start()
            uplink = above.hub.expect("station-1")
            await uplink.until_connected()
            assert (await RemoteFootage(uplink.channel).node()).name == "station-1"


async def test_a_line_that_dies_without_a_word_is_noticed_on_both_sides(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        remote = RemoteFootage(uplink.channel, target="uplink station-1")
        async with cutting(above.address, []) as proxy, child(proxy.address, keepalive_s=0.2) as below:
            await below.until(up=True)
            await asyncio.sleep(1.0)
            assert uplink.connects == 1, "a line on which nothing is asked stays up"
            watch = remote.watch_events(CONTEXT)
            waiting = asyncio.ensure_future(anext(watch))
            proxy.stall()
            with pytest.raises(NodeUnavailable, match="nothing came"):
                await waiting
            await below.until(up=False)
            assert "nothing came from the parent" in below.uplink.detail
            proxy.down()
            proxy.flowing.set()
            proxy.up()
            await below.until(up=True)
            assert (await remote.node()).name == "station-1"


async def test_a_connection_that_is_half_open_does_not_keep_a_new_one_out(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        remote = RemoteFootage(uplink.channel, target="uplink station-1")
        # The parent would wait for half an hour.
        async with cutting(above.address, []) as proxy, child(proxy.address, keepalive_s=600) as old:
            await old.until(up=True)
            first = uplink.session
            proxy.stall()
            waiting = asyncio.ensure_future(remote.node())
            async with child(above.address) as new:
                await new.until(up=True)
                with pytest.raises(NodeUnavailable, match="connected anew"):
                    await waiting
                assert uplink.session is not first
                assert (await remote.node()).name == "station-1"


async def test_the_older_one_of_two_with_the_same_key_keeps_away(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        async with child(above.address) as old:
            await old.until(up=True)
            async with child(above.address) as new:
                await new.until(up=True)
                await old.until(up=False)
                assert "connected anew" in old.uplink.detail
                await asyncio.sleep(0.5)
                assert uplink.connects == 2, "the two take turns"


@pytest.mark.parametrize("seed", range(3))
async def test_a_clip_over_a_line_that_is_cut_again_and_again_is_whole(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    footage = MemoryFootage(memory_world())
    direct = [step async for step in footage.read_clip(CONTEXT, CLIP)]
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        async with cutting(above.address, []) as proxy, child(proxy.address, source=footage) as below:
            await below.until(up=True)
            counting = Counting(RemoteFootage(uplink.channel, target="uplink station-1"))

            async def cut() -> None:
                for _ in range(4):
                    enough = sum(counting.received.values()) + rng.randrange(100_000, 600_000)
                    await until(lambda enough=enough: sum(counting.received.values()) >= enough)  # type: ignore[misc]
                    proxy.down()
                    await below.until(up=False)
                    proxy.up()
                    await below.until(up=True)

            cutter = asyncio.create_task(cut())
            clip = AsyncClip(counting, lambda: CONTEXT, CLIP)
            report = await clip.save(tmp_path / "clip.mp4", retries=1000)
            cutter.cancel()
            await asyncio.gather(cutter, return_exceptions=True)
        saved = b"".join(part.path.read_bytes() for part in report.parts)
        assert saved == data_of(direct)
        assert report.complete
        assert sum(counting.received.values()) == len(saved), "no byte was sent twice"
        assert len(counting.begun) > 1, "the line was not cut"


async def test_fragments_go_on_where_they_were_cut(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        remote = RemoteFootage(uplink.channel, target="uplink station-1")
        footage = MemoryFootage(memory_world())
        request = FragmentsRequest(GATE.id, range=GATE.whole)
        wanted = [
            each async for each in footage.read_fragments(CONTEXT, request) if isinstance(each, Fragment)
        ]
        async with cutting(above.address, []) as proxy, child(proxy.address, source=footage) as below:
            await below.until(up=True)
            got: list[Fragment] = []

            async def read() -> None:
                async for step in remote.read_fragments(CONTEXT, request):
                    if isinstance(step, Fragment):
                        got.append(step)
                        if len(got) == 2:
                            proxy.down()

            with pytest.raises(NodeUnavailable):
                await read()
            # What had come whole before the cut was still given.
            assert 2 <= len(got) < len(wanted)
            await below.until(up=False)
            proxy.up()
            await below.until(up=True)
            rest = FragmentsRequest(GATE.id, range=GATE.whole, cursor=str(got[-1].ref.start_us))
            got += [each async for each in remote.read_fragments(CONTEXT, rest) if isinstance(each, Fragment)]
            assert got == wanted
