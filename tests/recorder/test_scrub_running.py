"""A recorder that is recording finds a bit that turned, says where, and answers around it."""

import asyncio
from pathlib import Path

from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipRequest,
    Fragment,
    FragmentsRequest,
    Gap,
    Notice,
    ReadContext,
    Span,
    TimeRange,
)
from tests.e2e.media import assert_decodes
from tests.format.reader import read_segment
from tests.recorder.running import PASSWORD, SCENE, running, simulated, until, write_settings

CONTEXT = ReadContext(purpose="test")
RECORDED_US = 8_000_000


async def range_of(source: RemoteFootage, name: str) -> TimeRange | None:
    """From the start of a camera's footage until its end, once that is long enough."""
    steps = [step async for step in source.list_cameras(CONTEXT)]
    (camera,) = [step for step in steps if isinstance(step, Camera) and step.name == name]
    (stream,) = camera.streams
    long_enough = stream.oldest_us and stream.newest_us - stream.oldest_us >= RECORDED_US
    return TimeRange(stream.oldest_us, stream.newest_us) if long_enough else None


async def pictures(source: RemoteFootage, name: str, range_: TimeRange) -> tuple[int, list[Notice]]:
    """How many are in the fragments that are given, and what is said of those that are not."""
    steps = [step async for step in source.read_fragments(CONTEXT, FragmentsRequest(name, range_))]
    found = sum(step.ref.pictures for step in steps if isinstance(step, Fragment))
    return found, [step for step in steps if isinstance(step, Notice)]


async def test_a_bit_that_turned_while_others_are_recorded(tmp_path: Path) -> None:
    with simulated(tmp_path / "scenes", "gate", "yard") as cameras:
        addresses = {
            each.name: each.main_url.replace("://", f"://admin:{PASSWORD}@") for each in cameras.cameras
        }
        settings = write_settings(tmp_path, addresses, '[limits]\nscrub = "1GB"')
        with running(settings) as node:
            channel = dial(node.grpc)
            source = RemoteFootage(channel, target=node.grpc)
            await until(lambda: range_of(source, "yard"))
            steps = [step async for step in source.list_cameras(CONTEXT)]
            (camera_id,) = [step.id for step in steps if isinstance(step, Camera) and step.name == "yard"]
            await channel.close()
            assert node.stop() == 0

        # What is being recorded is left for later: the yard's camera is gone.
        cameras.remove("yard")
        (path,) = (tmp_path / "store" / camera_id).rglob("*.mp4")
        fragment = read_segment(path.read_bytes()).fragments[3]
        data = bytearray(path.read_bytes())
        data[fragment.video.data_offset + 10] ^= 4
        path.write_bytes(data)

        with running(settings) as node:
            channel = dial(node.grpc)
            source = RemoteFootage(channel, target=node.grpc)
            # Of what has ended, the end is no estimate any more.
            yard = await until(lambda: range_of(source, "yard"))

            async def damaged() -> list[Span | Gap] | None:
                answer = source.coverage(CONTEXT, "yard", "main", yard)
                items = [step async for step in answer if isinstance(step, Span | Gap)]
                return items if any(isinstance(item, Gap) for item in items) else None

            before, gap, after = await until(damaged)
            assert isinstance(before, Span)
            assert isinstance(gap, Gap)
            assert isinstance(after, Span)
            assert gap.reason == "damaged"
            assert str(path.relative_to(tmp_path / "store")) in gap.detail
            assert f"byte {fragment.offset}:" in gap.detail
            assert gap.range.start_us == fragment.info.wall_start_us

            # Fragments and a clip around it.
            lasts_us = gap.range.end_us - gap.range.start_us
            lost = lasts_us * SCENE.fps // 1_000_000
            found, notices = await pictures(source, "yard", yard)
            expected = (yard.end_us - yard.start_us) * SCENE.fps // 1_000_000 - lost
            assert abs(found - expected) <= 1
            assert "damaged" in {notice.code for notice in notices}
            parts: dict[int, bytearray] = {}
            async for step in source.read_clip(CONTEXT, ClipRequest("yard", yard)):
                if isinstance(step, ClipHead):
                    assert [each.reason for each in step.gaps] == ["damaged"]
                if isinstance(step, ClipData):
                    parts.setdefault(step.part, bytearray()).extend(step.data)
            for number, content in parts.items():
                (tmp_path / f"{number}.mp4").write_bytes(content)
                assert_decodes(tmp_path / f"{number}.mp4")
            assert parts

            # The gate is recorded all the while: of the second run nothing is missing.
            async def long_enough() -> TimeRange | None:
                gate = await until(lambda: range_of(source, "gate"))
                answer = source.coverage(CONTEXT, "gate", "main", gate)
                *_, last = [step async for step in answer if isinstance(step, Span | Gap)]
                assert isinstance(last, Span)
                return last.range if last.range.end_us - last.range.start_us >= 5_000_000 else None

            since = await until(long_enough)
            found, notices = await pictures(source, "gate", since)
            # Its end is an estimate until the next picture comes: there may be a fragment more.
            assert found >= (since.end_us - since.start_us) * SCENE.fps // 1_000_000 - 1
            assert not notices
            assert "nvr_scrub_damaged_fragments_total 1.0\n" in await asyncio.to_thread(node.scrape)
            await channel.close()
            assert node.stop() == 0
