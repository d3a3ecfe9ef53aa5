"""A gateway over children that dial it: one, one that fails, and very many."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from nvr.errors import InternalError
from nvr.footage.places import FindRequest
from nvr.footage.types import ClipHead, ClipRequest, LineSpeed, NodeInfo, ReadContext
from nvr.uplink.shaper import CapSchedule
from tests.acceptance.test_source import collect
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import until
from tests.gateway.tree import gateway
from tests.support.processes import ChildProcess
from tests.uplink.lines import child, parent

CONTEXT = ReadContext(purpose="test")
# Children of one process: each has a server and a connection of its own.
_PER_PROCESS = 50


class Failing(MemoryFootage):
    """Is there, and cannot say who it is."""

    asked = 0

    async def node(self) -> NodeInfo:
        self.asked += 1
        raise InternalError("boom")


async def test_a_child_that_fails_is_not_asked_again_and_again(tmp_path: Path) -> None:
    whole = MemoryFootage(memory_world())
    info = await whole.node()
    async with parent(tmp_path / "ward") as above:
        uplink = above.hub.expect(info.id)
        async with child(above.address, source=whole, info=info) as below:
            await below.until(up=True)
            failing = Failing(memory_world())
            whole.node = failing.node  # type: ignore[method-assign]
            async with gateway("district", [], uplinks=[uplink], wait=False) as made:
                await until(lambda: failing.asked > 0)
                await asyncio.sleep(1.0)
                # At 0, 0.2, 0.6 and 1.4 s, less a part by chance.
                assert failing.asked <= 8
                (link,) = made.links
                assert link.reason == "node_failed"


async def test_a_child_that_goes_costs_its_own_answer_and_is_asked_when_it_is_back(tmp_path: Path) -> None:
    near = MemoryFootage(memory_world("near", 1))
    far = MemoryFootage(memory_world("far", 2))
    async with parent(tmp_path / "ward") as above, AsyncExitStack() as stack:
        uplinks = [above.hub.expect(name) for name in ("near", "far")]
        await stack.enter_async_context(child(above.address, source=near))
        async with child(above.address, source=far):
            made = await stack.enter_async_context(gateway("district", [], uplinks=uplinks))
            found, notices, end = await collect(made.footage.list_cameras(CONTEXT))
            assert (len(found), notices, end.complete) == (4, [], True)
        links = {link.name: link for link in made.links}
        await links["far"].until(up=False)
        found, notices, end = await collect(made.footage.list_cameras(CONTEXT))
        assert (len(found), end.complete) == (4, False)
        (notice,) = notices
        assert (notice.code, notice.node, notice.cameras) == ("node_unreachable", "far", 2)
        async with child(above.address, source=far):
            await links["far"].until(up=True)
            found, notices, end = await collect(made.footage.list_cameras(CONTEXT))
            assert (len(found), notices, end.complete) == (4, [], True)


async def test_many_uplinks_at_one_gateway(tmp_path: Path) -> None:
    count = 2000 if os.environ.get("NVR_SOAK") else 100
    async with parent(tmp_path / "ward") as above, AsyncExitStack() as stack:
        uplinks = [above.hub.expect(f"house-{number}") for number in range(count)]
        processes = []
        for first in range(0, count, _PER_PROCESS):
            process = ChildProcess(
                [
                    "-m",
                    "tests.uplink.houses",
                    above.address,
                    str(first),
                    str(min(_PER_PROCESS, count - first)),
                ]
            )
            stack.callback(process.stop)
            processes.append(process)
        made = await stack.enter_async_context(gateway("district", [], uplinks=uplinks))
        assert len(list(made.links)) == count
        found, notices, end = await collect(made.footage.find(CONTEXT, FindRequest(limit=10_000)))
        assert (len(found), notices, end.complete) == (2 * count, [], True)
        assert made.fanout.contacted == 0
        # Every one of them is asked, over its own connection.
        whole = memory_world().gate.whole
        found, notices, end = await collect(
            made.footage.find(CONTEXT, FindRequest(range=whole, limit=10_000))
        )
        assert not notices
        assert end.complete
        assert made.fanout.contacted == count
        assert all(each.coverage for each in found)
        # A process is gone, with all of its houses.
        processes[0].process.kill()
        gone = [link for link in made.links if int(link.name.removeprefix("house-")) < _PER_PROCESS]
        for link in gone:
            await link.until(up=False)
        _, notices, end = await collect(made.footage.find(CONTEXT, FindRequest(range=whole, limit=10_000)))
        assert not end.complete
        assert {notice.node for notice in notices} == {link.name for link in gone}
        assert sum(link.up for link in made.links) == count - len(gone)


async def test_the_slowest_line_of_all_tiers_is_told_with_a_clip(tmp_path: Path) -> None:
    house = MemoryFootage(memory_world("house", 1))
    async with AsyncExitStack() as stack:
        ward_hub = await stack.enter_async_context(parent(tmp_path / "ward"))
        city_hub = await stack.enter_async_context(parent(tmp_path / "city", name="city"))
        uplink = ward_hub.hub.expect("house")
        below = child(ward_hub.address, source=house, schedule=CapSchedule(2_000_000))
        await stack.enter_async_context(below)
        ward = await stack.enter_async_context(gateway("ward", [], uplinks=[uplink]))
        # The ward is behind NAT itself, and its line carries more.
        above = city_hub.hub.expect("ward")
        await stack.enter_async_context(
            child(
                city_hub.address,
                source=ward.footage,
                directory=ward.directory,
                schedule=CapSchedule(50_000_000),
            )
        )
        city = await stack.enter_async_context(gateway("city", [], uplinks=[above]))
        await until(lambda: uplink.line.cap_bits_per_second > 0 and above.line.cap_bits_per_second > 0)
        gate = house.world.gate
        request = ClipRequest(gate.id, gate.whole, head_only=True)
        (head,) = [
            step async for step in city.footage.read_clip(CONTEXT, request) if isinstance(step, ClipHead)
        ]
        assert {part.line for part in head.parts} == {LineSpeed("house", 2_000_000)}
