"""A household's uplink over a real line: 5 Mbit/s up, 80 ms, stalls, and a cable that is pulled."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nvr.client._clip import AsyncClip
from nvr.errors import NvrError
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import Camera, ClipRequest, Gap, Notice, ReadContext, Span, StreamState, TimeRange
from tests.network.ward import until
from tests.support.skips import needs_program
from tests.uplink.counting import Counting, clip_bytes
from tests.uplink.household import Household, household

pytestmark = needs_program("toxiproxy-server", "ip", "tc")

CONTEXT = ReadContext(purpose="test")
SECOND = 1_000_000
# A message that was cut is sent again, and what was under way.
_LOST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("household")) as made:
        yield made


@asynccontextmanager
async def asked(house: Household) -> AsyncIterator[tuple[RemoteFootage, RemoteFootage]]:
    """The ward and the house, from outside."""
    async with dial(house.ward, house.tls) as above, dial(house.house, house.tls) as below:
        yield RemoteFootage(above, target="ward"), RemoteFootage(below, target="house")


async def camera_of(source: RemoteFootage) -> tuple[Camera | None, list[Notice]]:
    camera, notices = None, []
    async for step in source.list_cameras(CONTEXT):
        if isinstance(step, Camera):
            camera = step
        elif isinstance(step, Notice):
            notices.append(step)
    return camera, notices


async def recorded(source: RemoteFootage, seconds: int) -> TimeRange:
    """So much that is recorded and known of there."""
    found: list[TimeRange] = []

    async def enough() -> bool:
        camera, _ = await camera_of(source)
        if camera is None or not camera.streams or camera.streams[0].state is not StreamState.RECORDING:
            return False
        main = camera.streams[0]
        # A second behind the newest: what is still being recorded is another test's subject.
        if not main.oldest_us or main.newest_us - main.oldest_us < (seconds + 1) * SECOND:
            return False
        found.append(TimeRange(main.oldest_us, main.oldest_us + seconds * SECOND))
        return True

    await until(enough, "the house records")
    return found[-1]


async def is_away(source: RemoteFootage) -> bool:
    _, notices = await camera_of(source)
    return [notice.code for notice in notices] == ["node_unreachable"]


async def is_back(source: RemoteFootage) -> bool:
    try:
        camera, notices = await camera_of(source)
    except NvrError:
        return False
    return camera is not None and not notices


async def test_a_clip_comes_whole_through_cuts_and_stalls(house: Household, tmp_path: Path) -> None:
    async with asked(house) as (ward, own):
        range_ = await recorded(ward, 8)
        request = ClipRequest("gate", range_)
        before = house.sent_bytes()
        counting = Counting(ward)
        clip = AsyncClip(counting, lambda: CONTEXT, request)
        size = (await clip.plan()).size_bytes
        assert size > 2_000_000

        async def came(share: float) -> None:
            async def enough() -> bool:
                return sum(counting.received.values()) >= share * size

            await until(enough, f"{share} of the clip came", every_s=0.01)

        async def trouble() -> None:
            await came(0.25)
            house.cable.cut()
            await until(lambda: is_away(ward), "the ward says that the house is away")
            house.cable.heal()
            await came(0.5)
            # For a second nothing comes, and nothing is lost.
            house.toxics.delay("stall", "upstream", 1000)
            await asyncio.sleep(0.3)
            house.toxics.undo("stall")
            await came(0.75)
            house.cable.cut()
            await asyncio.sleep(0.5)
            house.cable.heal()

        troubling = asyncio.create_task(trouble())
        report = await clip.save(tmp_path / "clip.mp4", retries=1000)
        await troubling
        sent = house.sent_bytes() - before
        saved = b"".join(part.path.read_bytes() for part in report.parts)
        assert saved == await clip_bytes(own, request)
        assert report.complete
        assert len(counting.begun) > len(report.parts), "the line was not cut"
        assert sum(counting.received.values()) == len(saved), "a byte came twice"
        assert sent < 1.15 * size + 2 * _LOST_BYTES


async def test_a_house_that_is_cut_off_goes_on_recording(house: Household) -> None:
    async with asked(house) as (ward, own):
        await until(lambda: is_back(ward), "the house is there")
        start_us = (await own.node()).now_us
        house.cable.cut()
        await until(lambda: is_away(ward), "the ward says that the house is away")
        await asyncio.sleep(1)
        end_us = (await own.node()).now_us
        house.cable.heal()
        await until(lambda: is_back(ward), "the house is there again")
        items: list[Any] = []

        async def whole() -> bool:
            answer = ward.coverage(CONTEXT, "gate", "main", TimeRange(start_us, end_us))
            items[:] = [step async for step in answer if isinstance(step, Span | Gap)]
            return [type(item) for item in items] == [Span]

        await until(whole, f"the time of the cut is recorded: {items}")


async def test_questions_do_not_wait_behind_a_copy(house: Household) -> None:
    async with asked(house) as (ward, _):
        await until(lambda: is_back(ward), "the house is there")
        range_ = await recorded(ward, 12)
        size = 0

        async def copy() -> None:
            nonlocal size
            answer = ward.read_clip(ReadContext(purpose="copy"), ClipRequest("gate", range_))
            async for step in answer:
                size += len(getattr(step, "data", b""))

        copying = asyncio.create_task(copy())

        async def some() -> bool:
            return size > 0

        await until(some, "the copy has begun", every_s=0.01)
        for _ in range(4):
            await ward.locate(CONTEXT, "gate", "main", range_.start_us)
        assert not copying.done(), "four small questions took as long as megabytes"
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
