"""The directory told over a connection: whole once, then what has changed, from wherever it was cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from nvr.directory.directory import Directory
from nvr.directory.feed import BATCH_ENTRIES, RemoteDirectory
from nvr.directory.types import CameraEntry, DirectoryBatch
from nvr.footage.channel import dial
from nvr.footage.closing import closing
from nvr.footage.types import ReadContext
from tests.directory.entries import camera, camera_id
from tests.footage.memory import MemoryFootage, memory_world
from tests.gateway.tree import Served, gateway, served_gateway, serving

CAMERAS = 2 * BATCH_ENTRIES + 100


@pytest.fixture
async def leaf() -> AsyncIterator[Served]:
    """A node with many cameras, of which the first two are the world's own."""
    async with serving(MemoryFootage(memory_world())) as served:
        served.directory.put_cameras(CameraEntry("", camera(number)) for number in range(CAMERAS))
        yield served


async def told(
    address: str, epoch: str = "", version: int = 0, *, batches: int = 1000
) -> list[DirectoryBatch]:
    """What comes until all is told, or so many batches have come."""
    channel = dial(address)
    found: list[DirectoryBatch] = []
    try:
        async with closing(RemoteDirectory(channel).watch_directory(ReadContext(), epoch, version)) as answer:
            async for step in answer:
                assert isinstance(step, DirectoryBatch)
                found.append(step)
                if step.current or len(found) == batches:
                    break
    finally:
        await channel.close()
    return found


def cameras_of(batches: list[DirectoryBatch]) -> list[str]:
    return [entry.camera.id for batch in batches for entry in batch.cameras]


async def test_who_was_cut_gets_the_rest(leaf: Served) -> None:
    whole = await told(leaf.address)
    assert whole[0].snapshot
    assert len(cameras_of(whole)) == len(set(cameras_of(whole))) == CAMERAS
    for batches in range(1, len(whole)):
        first = await told(leaf.address, batches=batches)
        rest = await told(leaf.address, first[-1].epoch, first[-1].version)
        assert not any(batch.snapshot for batch in rest) or first[-1].version == 0
        assert cameras_of(first) + cameras_of(rest) == cameras_of(whole)


async def test_who_has_all_gets_changes_alone(leaf: Served) -> None:
    last = (await told(leaf.address))[-1]
    assert cameras_of(await told(leaf.address, last.epoch, last.version)) == []
    leaf.directory.put_cameras([CameraEntry("", camera(7, "moved")), CameraEntry("", camera(8))])
    leaf.directory.remove_cameras([camera_id(9)])
    changes = await told(leaf.address, last.epoch, last.version)
    # The eighth is as it was.
    assert cameras_of(changes) == [camera_id(7)]
    assert [gone.camera_id for batch in changes for gone in batch.cameras_gone] == [camera_id(9)]
    # Of another directory, nothing can be gone on from.
    anew = await told(leaf.address, "another", last.version)
    assert (anew[0].snapshot, len(cameras_of(anew))) == (True, CAMERAS - 1)


async def test_a_change_goes_all_the_way_up_alone(leaf: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through two tiers, also after the link below was cut meanwhile."""
    kept: list[tuple[str, str]] = []
    apply = Directory.apply

    def counting(directory: Directory, child_id: str, batch: DirectoryBatch) -> None:
        apply(directory, child_id, batch)
        kept.extend((directory.own.name, entry.camera.id) for entry in batch.cameras)

    monkeypatch.setattr(Directory, "apply", counting)
    async with AsyncExitStack() as stack:
        district = await stack.enter_async_context(gateway("district", [leaf.address]))
        below = await stack.enter_async_context(served_gateway(district))
        province = await stack.enter_async_context(gateway("province", [below.address]))
        assert len(kept) == 2 * CAMERAS
        for number, cut in enumerate((False, True)):
            kept.clear()
            if cut:
                await leaf.stop()
                await next(iter(district.links)).until(up=False)
            changed = replace(camera(7), title=f"Cổng số {number}")
            leaf.directory.put_cameras([CameraEntry("", changed)])
            if cut:
                await leaf.start()
            while title(province.directory) != changed.title:
                await province.directory.changed(province.directory.version)
            assert kept == [("district", camera_id(7)), ("province", camera_id(7))]


def title(directory: Directory) -> str:
    return directory.entries([camera_id(7)])[camera_id(7)][0].camera.title
