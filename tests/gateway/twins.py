"""Two nodes that have one camera, and fail on request."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from nvr.errors import InternalError, NvrError
from nvr.footage.source import Answer
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    NodeInfo,
    Notice,
    Picture,
    PictureOptions,
    ReadContext,
    StreamName,
    TimeRange,
)
from tests.acceptance.world import SECOND, regular_run
from tests.directory.entries import node_id
from tests.footage.memory import MemoryFootage, memory_world

GATE = memory_world().gate
ZERO_US = GATE.start_us
WHOLE = TimeRange(ZERO_US, GATE.end_us)
# The first records for 20 s, and again from 27 s on; the second took over from 15 to 30 s.
SECOND_RUN = (regular_run(ZERO_US + 15 * SECOND + 50_000, 15, 10),)


class Twin(MemoryFootage):
    """A node with the camera that the other has too; ``key`` makes its id.

    ``broken``: methods that fail; ``cut``: methods that fail after their first item.
    """

    def __init__(self, name: str, key: str, *, took_over: bool) -> None:
        gate = dataclasses.replace(GATE, runs=SECOND_RUN) if took_over else GATE
        world = dataclasses.replace(memory_world(name, 0), gate=gate)
        # Each of its own yard.
        yard = dataclasses.replace(world.yard, id=memory_world(name, 1 + took_over).yard.id)
        super().__init__(dataclasses.replace(world, yard=yard))
        self.epoch = int(took_over)
        self.key = key
        self.broken: set[str] = set()
        self.cut: set[str] = set()
        self.asked_for: list[Sequence[str]] = []

    def _fail(self, method: str) -> None:
        if method in self.broken:
            raise self.error()

    def error(self) -> NvrError:
        return InternalError("boom")

    async def _until_cut(self, method: str, answer: AsyncIterator[Any]) -> AsyncIterator[Any]:
        self._fail(method)
        async for step in answer:
            yield step
            if method in self.cut:
                raise self.error()

    async def node(self) -> NodeInfo:
        return dataclasses.replace(await super().node(), id=node_id(self.key))

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        self._fail("locate")
        return await super().locate(context, camera, stream, at_us, mode, source)

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        self._fail("snapshot")
        return await super().snapshot(context, camera, stream, at_us, options, source)

    def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        return self._until_cut("read_fragments", super().read_fragments(context, request))

    def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        return self._until_cut("read_clip", super().read_clip(context, request))

    def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Answer[Picture]:
        answer = super().read_frames(context, camera, stream, range, interval_us, options, source)
        return self._until_cut("read_frames", answer)

    async def watch_events(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Event]:
        self.asked_for.append(cameras)
        async for step in super().watch_events(context, cameras):
            yield step


async def next_step(answer: AsyncIterator[Any]) -> Event | Notice | End:
    """The next step of an answer without end."""
    async with asyncio.timeout(60):
        step: Event | Notice | End = await anext(answer)
        return step
