"""Counting the bytes of a clip as they come."""

from collections.abc import AsyncIterator
from typing import Any

from nvr.footage.source import FootageSource
from nvr.footage.types import ClipData, ClipRequest, ReadContext


class Counting:
    """A source that counts the bytes that come, and fails when one comes twice, or one is left out."""

    def __init__(self, source: FootageSource) -> None:
        self._source = source
        self.received: dict[int, int] = {}
        """By part."""
        self.begun: list[tuple[int, int]] = []
        """Where each read began: part and byte."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> AsyncIterator[Any]:
        if not request.head_only:
            self.begun.append((request.part, request.offset))
            assert request.offset == self.received.get(request.part, 0)
        async for step in self._source.read_clip(context, request):
            if isinstance(step, ClipData):
                assert step.offset == self.received.get(step.part, 0), "bytes that were there already"
                self.received[step.part] = step.offset + len(step.data)
            yield step


async def clip_bytes(source: FootageSource, request: ClipRequest) -> bytes:
    """All parts, one after another."""
    answer = source.read_clip(ReadContext(purpose="test"), request)
    return b"".join([step.data async for step in answer if isinstance(step, ClipData)])
