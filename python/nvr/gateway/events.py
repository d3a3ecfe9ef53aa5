"""Events of many nodes as one stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial

from nvr.directory.directory import Directory
from nvr.errors import NodeUnavailable, NvrError
from nvr.footage.types import End, Event, Notice, ReadContext
from nvr.gateway.below import Below
from nvr.gateway.links import AnyLink, Links
from nvr.gateway.trouble import LieError, trouble
from nvr.node.events import EventBus, Subscription

__all__ = ["merged_events"]

_MOST_WAITING = 1000
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0


async def merged_events(
    context: ReadContext,
    directory: Directory,
    links: Links,
    own: EventBus,
    cameras: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[Event | Notice | End]:
    """Events of these cameras, by the child that has them; or of all, children that come later included.

    ``own``: what happens on this node itself. Ends with its reader only: a child that goes
    away is named by a warning, and listened to again when it is back.
    """
    # Who refuses a part decides so of the whole, where it is put together.
    context = replace(context, partial="allow")
    ours = own.subscribe()
    # Events wait here for a slow reader; when it is full the children's own limits hold them back.
    waiting: asyncio.Queue[Event | Notice] = asyncio.Queue(_MOST_WAITING)
    tasks: dict[object, asyncio.Task[None]] = {}

    def listen(key: object, link: Callable[[], AnyLink], ids: Sequence[str]) -> None:
        tasks[key] = asyncio.create_task(_listen(context, directory, links, link, ids, waiting))

    async def follow() -> None:
        while True:
            now = set(links)
            for gone in [key for key in tasks if key not in now]:
                tasks.pop(gone).cancel()
            for link in now - tasks.keys():
                listen(link, partial(_itself, link), ())
            await links.changed()

    only = None if cameras is None else {camera_id for ids in cameras.values() for camera_id in ids}
    others = [asyncio.create_task(_own(directory.own.name, ours, only, waiting))]
    if cameras is None:
        others.append(asyncio.create_task(follow()))
    else:
        for node_id, ids in cameras.items():
            listen(node_id, partial(links.of, node_id), ids)
    try:
        while True:
            yield await waiting.get()
    finally:
        ours.close()
        ending = [*tasks.values(), *others]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _own(
    node: str, ours: Subscription, only: Set[str] | None, waiting: "asyncio.Queue[Event | Notice]"
) -> None:
    """Passes on what happens on this node."""
    while True:
        events, lost = await ours.take()
        if lost:
            message = f"{lost} events were left out because this reader is too slow"
            await waiting.put(Notice("slow_reader", message, node))
        for event in events:
            if only is None or event.camera_id in only:
                await waiting.put(event)


def _itself(link: AnyLink) -> AnyLink:
    return link


async def _listen(
    context: ReadContext,
    directory: Directory,
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
            below = Below(directory, link)
            try:
                async for step in link.footage.watch_events(context, ids):
                    if isinstance(step, End):
                        continue
                    if isinstance(step, Notice):
                        await waiting.put(below.notice(step))
                    else:
                        await waiting.put(_checked(step, below, ids, link))
                    told, backoff_s = "", _BACKOFF_FIRST_S
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


def _checked(event: Event, below: Below, ids: Sequence[str], link: AnyLink) -> Event:
    """The event, with its node named as here. Raises :exc:`LieError` for one that it may not tell."""
    if ids and event.camera_id not in ids:
        raise LieError(
            f"it tells of camera {event.camera_id[:80]!r}, for which it was not asked", node=link.name
        )
    return replace(event, node=below.check_node(event.node) if event.node else link.name)
