"""Events of many nodes as one stream."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from nvr.errors import NvrError
from nvr.footage.types import End, Event, Notice, ReadContext
from nvr.gateway.links import AnyLink
from nvr.gateway.trouble import trouble

__all__ = ["merged_events"]

_MOST_WAITING = 1000


async def merged_events(
    context: ReadContext, wanted: Mapping[AnyLink, Sequence[str]]
) -> AsyncIterator[Event | Notice | End]:
    """Events of each child, of these cameras or of all. Ends with its reader, or with its only child."""
    waiting: asyncio.Queue[Event | Notice | End] = asyncio.Queue(_MOST_WAITING)
    tasks = [asyncio.create_task(_listen(context, link, ids, waiting)) for link, ids in wanted.items()]
    left = len(tasks)
    complete = True
    try:
        while left:
            step = await waiting.get()
            if isinstance(step, End):
                complete = complete and step.complete
                left -= 1
            else:
                yield step
        yield End(complete=complete)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(
    context: ReadContext,
    link: AnyLink,
    ids: Sequence[str],
    waiting: "asyncio.Queue[Event | Notice | End]",
) -> None:
    """Listens to a child until it stops; one that is cut is listened to again when it is back."""
    while True:
        await link.until(up=True)
        try:
            async for step in link.footage.watch_events(context, ids):
                await waiting.put(step)
                if isinstance(step, End):
                    return
        except NvrError as error:
            await waiting.put(trouble(error, node=link.name))
        await link.until(up=False)
