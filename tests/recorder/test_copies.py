"""A parent that keeps copies, from outside: an edge behind a link that breaks, and both as processes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from nvr import _core
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipRequest,
    End,
    Fragment,
    FragmentsRequest,
    Gap,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.simulate.server import SimulatedCameras
from tests.client.proxy import cutting
from tests.recorder.running import SCENE, running, simulated, until, write_settings

CONTEXT = ReadContext(purpose="test")
SECOND = 1_000_000


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[SimulatedCameras]:
    with simulated(tmp_path / "scenes", "gate") as cameras:
        yield cameras


def parent_settings(folder: Path, source: str) -> Path:
    folder.mkdir(exist_ok=True)
    copy = f'[[copy]]\nfrom = "{source}"\nsince = "1h"\nevery = "1s"\n'
    path = write_settings(folder, {})
    path.write_text(path.read_text().replace("station-1", "parent") + copy)
    return path


@asynccontextmanager
async def footage_of(target: str) -> AsyncIterator[RemoteFootage]:
    channel: grpc.aio.Channel = dial(target)
    try:
        yield RemoteFootage(channel)
    finally:
        await channel.close()


async def cameras(footage: RemoteFootage) -> list[Camera]:
    return [step async for step in footage.list_cameras(CONTEXT) if isinstance(step, Camera)]


async def coverage(footage: RemoteFootage, camera: str, span: TimeRange) -> list[tuple[object, ...]]:
    """Spans and gaps, without the node's name."""
    told: list[tuple[object, ...]] = []
    async for step in footage.coverage(CONTEXT, camera, "main", span):
        if isinstance(step, Span):
            told.append((step.range, step.run_id, step.epoch))
        elif isinstance(step, Gap):
            told.append((step.range, step.reason, step.detail))
    return told


async def fragments(footage: RemoteFootage, camera: str, span: TimeRange) -> list[tuple[str, int, bytes]]:
    request = FragmentsRequest(camera, span)
    steps = [step async for step in footage.read_fragments(CONTEXT, request)]
    assert isinstance(steps[-1], End)
    return [(s.ref.run_id, s.ref.sequence, s.data) for s in steps if isinstance(s, Fragment)]


async def clip(footage: RemoteFootage, camera: str, span: TimeRange) -> bytes:
    steps = footage.read_clip(CONTEXT, ClipRequest(camera, span))
    return b"".join([step.data async for step in steps if isinstance(step, ClipData)])


async def newest_us(footage: RemoteFootage, name: str = "gate") -> int | None:
    for camera in await cameras(footage):
        if camera.name == name and camera.streams:
            return camera.streams[0].newest_us or None
    return None


async def until_newest(footage: RemoteFootage, at_us: int) -> int:
    """The end of the newest footage, once that is at least so late."""

    async def late_enough() -> int | None:
        newest = await newest_us(footage)
        return newest if newest is not None and newest >= at_us else None

    return await until(late_enough)


async def check_same(edge: RemoteFootage, parent: RemoteFootage, start_us: int, end_us: int) -> None:
    """The parent answers of a range what the edge does."""
    span = TimeRange(start_us, end_us)
    assert await coverage(parent, "gate", span) == await coverage(edge, "gate", span)

    async def as_many() -> bool:
        # By the camera's jitter the fragment after the parent's newest can begin before that ends.
        return len(await fragments(parent, "gate", span)) == len(await fragments(edge, "gate", span))

    await until(as_many)
    assert await fragments(parent, "gate", span) == await fragments(edge, "gate", span)
    inner = TimeRange(start_us + 700_000, end_us - 300_000)
    assert await clip(parent, "gate", inner) == await clip(edge, "gate", inner)


def check_store(folder: Path) -> None:
    assert _core.Store.check([str(folder / "store")], digests=True).problems == []


async def test_a_cut_link_leaves_no_gap_in_the_copy(tmp_path: Path, playing: SimulatedCameras) -> None:
    edge_folder, parent_folder = tmp_path / "edge", tmp_path / "parent"
    edge_folder.mkdir()
    with running(write_settings(edge_folder, {"gate": playing.url("gate")})) as edge_node:
        async with cutting(edge_node.grpc, []) as link, footage_of(edge_node.grpc) as edge:
            with running(parent_settings(parent_folder, link.address)) as parent_node:
                async with footage_of(parent_node.grpc) as parent:
                    first_us = await until_newest(parent, 1)
                    link.down()
                    # The camera goes on, and breaks off once meanwhile.
                    cut_us = await until_newest(edge, first_us + 2 * SECOND)
                    playing.remove("gate")
                    playing.add("gate", SCENE)
                    end_us = await until_newest(edge, cut_us + 4 * SECOND)
                    held_us = await newest_us(parent)
                    assert held_us is not None
                    assert held_us < end_us
                    (kept,) = await cameras(parent)
                    assert (kept.name, kept.node) == ("gate", "parent")
                    link.up()
                    await until_newest(parent, end_us)
                    oldest_us = (await cameras(edge))[0].streams[0].oldest_us

                    async def told() -> bool:
                        span = TimeRange(oldest_us, end_us)
                        return await coverage(parent, "gate", span) == await coverage(edge, "gate", span)

                    await until(told)
                    await check_same(edge, parent, oldest_us, end_us)
                assert parent_node.stop() == 0
        assert edge_node.stop() == 0
    check_store(edge_folder)
    check_store(parent_folder)


async def test_a_killed_parent_goes_on_where_it_was(tmp_path: Path, playing: SimulatedCameras) -> None:
    edge_folder, parent_folder = tmp_path / "edge", tmp_path / "parent"
    edge_folder.mkdir()
    with running(write_settings(edge_folder, {"gate": playing.url("gate")})) as edge_node:
        async with footage_of(edge_node.grpc) as edge:
            await until_newest(edge, 1)
            settings = parent_settings(parent_folder, edge_node.grpc)
            copied_us = 0
            for _ in range(3):
                with running(settings) as parent_node:
                    async with footage_of(parent_node.grpc) as parent:
                        # What was told to be there before stays there.
                        assert (await newest_us(parent) or 0) >= copied_us
                        copied_us = await until_newest(parent, copied_us + SECOND)
                    parent_node.kill()
            with running(settings) as parent_node:
                async with footage_of(parent_node.grpc) as parent:
                    assert (await newest_us(parent) or 0) >= copied_us
                    end_us = await until_newest(parent, copied_us + SECOND)
                    oldest_us = (await cameras(edge))[0].streams[0].oldest_us
                    await check_same(edge, parent, oldest_us, end_us)
                assert parent_node.stop() == 0
            # The edge away: the parent knows what the camera was called, and what it saw.
            edge_node.kill()
            with running(settings) as parent_node:
                async with footage_of(parent_node.grpc) as parent:
                    (camera,) = await cameras(parent)
                    assert (camera.name, camera.node) == ("gate", "parent")
                    assert camera.streams[0].reason == "copied"
                    span = TimeRange(oldest_us, end_us)
                    assert await fragments(parent, "station-1/gate", span)
                    assert await fragments(parent, camera.id, span)
    check_store(parent_folder)
