"""Events of many nodes as one stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from nvr.errors import NodeUnavailable, NvrError
from nvr.footage.types import End, Event, Notice, ReadContext
from nvr.gateway.links import AnyLink, Links
from nvr.gateway.trouble import trouble

__all__ = ["merged_events"]

_MOST_WAITING = 1000
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0


async def merged_events(
    context: ReadContext, links: Links, cameras: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[Event | Notice | End]:
    """Events of these cameras, by the child that has them; or of all, children that come later included.

    Ends with its reader only: a child that goes away is named by a warning, and listened
    to again when it is back.
    """
    # Events wait here for a slow reader; when it is full the children's own limits hold them back.
    waiting: asyncio.Queue[Event | Notice] = asyncio.Queue(_MOST_WAITING)
    tasks: dict[object, asyncio.Task[None]] = {}

    def listen(key: object, link: Callable[[], AnyLink], ids: Sequence[str]) -> None:
        tasks[key] = asyncio.create_task(_listen(context, links, link, ids, waiting))

    async def follow() -> None:
        while True:
            now = set(links)
            for gone in [key for key in tasks if key not in now]:
                tasks.pop(gone).cancel()
            for link in now - tasks.keys():
                listen(link, partial(_itself, link), ())
            await links.changed()

    follower = None
    if cameras is None:
        follower = asyncio.create_task(follow())
    else:
        for node_id, ids in cameras.items():
            listen(node_id, partial(links.of, node_id), ids)
    try:
        while True:
            yield await waiting.get()
    finally:
        ending = [*tasks.values(), *([] if follower is None else [follower])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


def _itself(link: AnyLink) -> AnyLink:
    return link


async def _listen(
    context: ReadContext,
    links: Links,
    find: Callable[[], AnyLink],
    ids: Sequence[str],
    waiting: "asyncio.Queue[Event | Notice]",
) -> None:
    """Listens to a child for ever."""
    told, backoff_s = "", _BACKOFF_FIRST_S
    while True:
        link = find()
        error: NvrError = link.error()
        if link.up:
            error = NodeUnavailable(f"{link.target}: the node stops")
            try:
                async for step in link.footage.watch_events(context, ids):
                    if not isinstance(step, End):
                        told, backoff_s = "", _BACKOFF_FIRST_S
                        await waiting.put(step)
            except NvrError as caught:
                error = caught
        notice = trouble(error, node=link.name)
        # Once for each time that it goes away, not for each attempt.
        if notice.code != told:
            told = notice.code
            await waiting.put(notice)
        await asyncio.sleep(backoff_s)
        backoff_s = min(backoff_s * 2, _BACKOFF_MOST_S)
        while not find().up:
            await links.changed()
