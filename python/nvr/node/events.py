"""What happens on a node, to all who watch."""

import asyncio
from collections import deque

from nvr.footage.types import Event

__all__ = ["EventBus", "Subscription"]

_MAX_WAITING = 1000


class Subscription:
    """A bounded queue of events; the oldest are lost when its reader is too slow."""

    def __init__(self, bus: "EventBus") -> None:
        self._bus = bus
        self._events: deque[Event] = deque(maxlen=_MAX_WAITING)
        self._wake = asyncio.Event()
        self._lost = 0

    def put(self, event: Event) -> None:
        """Adds an event."""
        if len(self._events) == _MAX_WAITING:
            self._lost += 1
        self._events.append(event)
        self._wake.set()

    def wake(self) -> None:
        """Lets a waiting reader look again."""
        self._wake.set()

    async def take(self) -> tuple[list[Event], int]:
        """The events since the last call and how many were lost before them; none when the bus is closed."""
        while not self._events and not self._bus.closed:
            self._wake.clear()
            await self._wake.wait()
        events, lost = list(self._events), self._lost
        self._events.clear()
        self._lost = 0
        return events, lost

    def close(self) -> None:
        """Ends the subscription."""
        self._bus.leave(self)


class EventBus:
    """Where events are published. For the event loop's thread only."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self.closed = False

    def publish(self, event: Event) -> None:
        """Gives the event to all who watch; waits for nobody."""
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self) -> Subscription:
        """From now on; to be closed."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Removes a subscription."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """No more events: readers end when they have taken what there is."""
        self.closed = True
        for subscription in self._subscriptions:
            subscription.wake()
