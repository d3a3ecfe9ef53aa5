"""Calls over an uplink, between a parent and a child in one process."""

import asyncio
from pathlib import Path

import pytest

from nvr.errors import CameraNotFound
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import Camera, ReadContext
from tests.footage.memory import memory_world
from tests.uplink.lines import child, parent

CONTEXT = ReadContext(purpose="test")


async def test_answers_come_over_the_childs_connection(tmp_path: Path) -> None:
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect("station-1")
        async with child(above.address) as below:
            await asyncio.wait_for(uplink.until_connected(), 20)
            remote = RemoteFootage(uplink.channel, target="uplink station-1")
            assert (await remote.node()).name == "station-1"
            cameras = [each async for each in remote.list_cameras(CONTEXT) if isinstance(each, Camera)]
            assert [each.id for each in cameras] == [each.id for each in memory_world().cameras]
            with pytest.raises(CameraNotFound) as caught:
                await remote.locate(CONTEXT, "nowhere", "main", 0)
            assert caught.value.node == "station-1"
            await below.until(up=True)
