"""Pictures as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nvr.client._annexb import AnnexB
from nvr.client._portal import Portal
from nvr.client._stream import AsyncStream, Stream
from nvr.footage.closing import closing
from nvr.footage.source import Answer
from nvr.footage.types import End, LiveUnit, Notice


class AsyncLive(AsyncStream[LiveUnit]):
    """Access units of a camera as they arrive, from the newest random-access point on.

    A reader that is too slow loses whole groups of pictures, and is told so in
    ``warnings``.
    """

    def __init__(self, what: str, answer: Answer[LiveUnit]) -> None:
        super().__init__(what, answer, lambda unit: unit)
        self._units = answer

    def annexb(self) -> AsyncStream[bytes]:
        """The pictures as a raw Annex B elementary stream (JPEG: as they are), for players on a pipe."""
        return AsyncStream(self._what, _elementary(self._units), lambda data: data)


class Live(Stream[LiveUnit]):
    """Access units of a camera as they arrive: the sync twin of :class:`AsyncLive`."""

    def __init__(self, portal: Portal, inner: AsyncLive) -> None:
        super().__init__(portal, inner)
        self._live = inner

    def annexb(self) -> Stream[bytes]:
        """The pictures as a raw Annex B elementary stream (JPEG: as they are), for players on a pipe."""
        return Stream(self._portal, self._live.annexb())


async def _elementary(answer: Answer[LiveUnit]) -> AsyncIterator[bytes | Notice | End]:
    converter = AnnexB()
    async with closing(answer):
        async for step in answer:
            if not isinstance(step, LiveUnit):
                yield step
            elif data := converter.convert(step):
                yield data
