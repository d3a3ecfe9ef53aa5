"""Reads through two tiers of gateways: cut at any link they go on, and nobody reads ahead of their reader."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import nvr
from nvr.footage.channel import dial
from nvr.footage.closing import closing
from nvr.footage.remote import RemoteFootage
from nvr.footage.source import Answer
from nvr.footage.time import to_datetime
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    End,
    Fragment,
    FragmentsRequest,
    ReadContext,
)
from tests.client.proxy import CuttingProxy, cutting
from tests.footage.memory import MemoryFootage, memory_world
from tests.gateway.tree import gateway, served_gateway, serving

WORLD = memory_world()
GATE = WORLD.gate
START, END = to_datetime(GATE.start_us), to_datetime(GATE.end_us)
MIB = 1 << 20
LINKS = ("recorder", "district", "province")


class Counted(MemoryFootage):
    """Keeps what it was asked, and counts what it gave."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.asked: list[ClipRequest] = []
        self.given = 0

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        if not request.head_only:
            self.asked.append(request)
        async for step in super().read_clip(context, request):
            if isinstance(step, ClipData):
                self.given += len(step.data)
            yield step


async def bodies_of(source: MemoryFootage) -> list[bytes]:
    """The bytes of each part, as the recorder has them."""
    parts: dict[int, bytearray] = {}
    async for step in source.read_clip(ReadContext(), ClipRequest(GATE.id, GATE.whole)):
        if isinstance(step, ClipData):
            parts.setdefault(step.part, bytearray()).extend(step.data)
    return [bytes(parts[index]) for index in sorted(parts)]


async def tiers(
    stack: AsyncExitStack, source: MemoryFootage, cuts: dict[str, Sequence[int]]
) -> tuple[str, dict[str, CuttingProxy]]:
    """A province over a district over a recorder; ``cuts``: the links, by the node that answers at their end.

    Returns the address of the province, and the proxies on the links.
    """
    proxies: dict[str, CuttingProxy] = {}

    async def behind(name: str, address: str) -> str:
        if name not in cuts:
            return address
        proxies[name] = await stack.enter_async_context(cutting(address, cuts[name]))
        return proxies[name].address

    below = (await stack.enter_async_context(serving(source))).address
    for name, tier in zip(LINKS, (*LINKS[1:], ""), strict=True):
        address = await behind(name, below)
        if not tier:
            return address, proxies
        made = await stack.enter_async_context(gateway(tier, [address]))
        below = (await stack.enter_async_context(served_gateway(made))).address
    raise AssertionError


@pytest.mark.parametrize("link", LINKS)
async def test_a_clip_goes_on_where_any_link_broke(link: str, tmp_path: Path) -> None:
    source = Counted()
    bodies = await bodies_of(Counted())
    async with AsyncExitStack() as stack:
        # The cuts come after directory and plans, which go over the same connections.
        address, proxies = await tiers(stack, source, {link: [2_000_000, 700_000, 1_500_000]})
        net = await stack.enter_async_context(nvr.connect_async(address))
        report = await net.camera(GATE.name).clip(START, END).save(tmp_path / "gate.mp4", retries=1000)
    assert proxies[link].cut == 3
    assert report.complete
    assert report.retries >= 3
    assert [part.path.read_bytes() for part in report.parts] == bodies
    # Not one attempt began anew.
    at = [(request.part, request.offset) for request in source.asked]
    assert at[0] == (0, 0)
    assert at[1:] == sorted(at[1:])
    assert all(part or offset for part, offset in at[1:])
    # What came twice is what was under way at a cut.
    assert source.given < sum(map(len, bodies)) + len(at) * 8 * MIB


class Endless(MemoryFootage):
    """A clip and fragments of a gigabyte, made as they are asked for."""

    chunks = 1024

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.given = 0

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        range_ = request.range
        yield ClipHead(
            (ClipPart(0, range_, self.chunks * MIB, "e", "avc1.4d401f", "", self.world.node, range_),)
        )
        for number in range(self.chunks):
            self.given += 1
            yield ClipData(0, number * MIB, bytes(MIB))
        yield End(complete=True)

    async def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        (first, *_) = [
            step async for step in super().read_fragments(context, request) if isinstance(step, Fragment)
        ]
        for _ in range(self.chunks):
            self.given += 1
            yield Fragment(first.ref, first.config, bytes(MIB), first.node)
        yield End(complete=True)


async def settled(source: Endless) -> int:
    """How much it has given, once it gives no more."""
    given, quiet = -1, 0
    while quiet < 20:
        await asyncio.sleep(0.01)
        quiet = quiet + 1 if source.given == given else 0
        given = source.given
    return given


@pytest.mark.parametrize("what", ["clip", "fragments"])
async def test_nobody_reads_ahead_of_a_slow_reader(what: str) -> None:
    """Counted: what is under way in two gateways, three servers and their sockets together."""
    source = Endless()
    async with AsyncExitStack() as stack:
        address, _ = await tiers(stack, source, {})
        channel = dial(address)
        stack.push_async_callback(channel.close)
        remote = RemoteFootage(channel, target="province")
        answer: Any
        if what == "clip":
            answer = remote.read_clip(ReadContext(), ClipRequest(GATE.id, GATE.whole))
        else:
            answer = remote.read_fragments(ReadContext(), FragmentsRequest(GATE.id, GATE.whole))
        under_way = []
        taken = 0
        async with closing(answer):
            async for step in answer:
                if isinstance(step, ClipHead):
                    continue
                taken += 1
                under_way.append(await settled(source) - taken)
                if taken == 8:
                    break
        assert max(under_way) <= 24
        # Whoever reads no more is no more given to, either.
        stopped = await settled(source)
    assert stopped == source.given < 40
