"""Drives an authority: heartbeats in, records to disk, commands out by gRPC, events to whoever listens."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import grpc

from nvr.errors import InternalError, LeaseStale, NodeUnavailable, NvrError, StoreError
from nvr.footage.types import End, Event, ReadContext
from nvr.gateway.failover.authority import Authority
from nvr.gateway.failover.ledger import Ledger
from nvr.gateway.failover.types import (
    Answer,
    Command,
    Forget,
    Group,
    LeaseEvent,
    Outcome,
    Prepare,
    Probe,
    Take,
    Yield,
)
from nvr.lease.remote import RemoteLeases
from nvr.lease.types import NodeLeases

__all__ = ["Driver"]

logger = logging.getLogger("nvr.failover")

_CONTEXT = ReadContext(purpose="failover")
_TICK_S = 0.5
_RECONNECT_S = 0.5
# A node that does not answer in time is dead by its silence before long.
_SHORT_S = 8.0
# A probe waits for a camera.
_PROBE_S = 25.0
_AT_ONCE = 16
_US = 1_000_000

ChannelOf = Callable[[str], grpc.aio.Channel | None]


class Driver:
    """One group's authority at work.

    ``channel_of``: the channel to a member by its name, which its owner keeps, or
    None while there is none. ``on_event`` is told of every event; it must not block.
    """

    def __init__(
        self,
        group: Group,
        *,
        ledger: Ledger,
        channel_of: ChannelOf,
        on_event: Callable[[Event], None],
        node: str,
        now_us: Callable[[], int] | None = None,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        """``node``: the gateway's name. ``now_us``: wall time; ``clock_us``: a clock that is never set."""
        self.group = group
        self._ledger = ledger
        self._channel_of = channel_of
        self._on_event = on_event
        self._node = node
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._clock_us = clock_us or (lambda: time.monotonic_ns() // 1000)
        self.authority = Authority(group, ledger.records(group.name), self._clock_us())
        self._work: dict[str, asyncio.Semaphore] = {
            name: asyncio.Semaphore(_AT_ONCE) for name in group.members
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Mapping[str, int] = {}
        """How many leases stand how; made anew at each tick, so that other threads may read it."""
        # Steps one after another, each durable before the next begins.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Drives it, for ever."""
        listeners = [
            asyncio.create_task(self._listen(name), name=f"nvr-lease-{name}") for name in self.group.members
        ]
        try:
            while True:
                await self.step(lambda now_us: self.authority.tick(now_us))
                self.counts = Counter(lease.state for lease in self.authority.leases())
                await asyncio.sleep(_TICK_S)
        finally:
            for task in (*listeners, *self._tasks):
                task.cancel()
            await asyncio.gather(*listeners, *self._tasks, return_exceptions=True)

    async def step(self, decide: Callable[[int], Outcome]) -> None:
        """One step of the authority, with all that follows from it."""
        async with self._turn:
            outcome = decide(self._clock_us())
            await self._carry_out(outcome)

    async def _carry_out(self, outcome: Outcome) -> None:
        while outcome.records:
            try:
                await asyncio.to_thread(self._ledger.keep, self.group.name, outcome.records)
                break
            except StoreError as error:
                # Nothing is handed out that might be forgotten, and nobody needs us to go on recording.
                logger.error("%s; it is tried again", error)  # noqa: TRY400
                await asyncio.sleep(_RECONNECT_S)
        for event in outcome.events:
            self._tell(event)
        for command in outcome.commands:
            task = asyncio.create_task(self._do(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _tell(self, event: LeaseEvent) -> None:
        logger.warning("camera %s: %s: %s", event.name, event.kind, event.detail)
        self._on_event(Event(self._now_us(), event.kind, event.camera_id, None, "", event.detail, self._node))

    # --- in ---------------------------------------------------------------------

    async def _listen(self, name: str) -> None:
        """Hears a member's heartbeats, for ever."""
        said = ""
        while True:
            try:
                await self._hear(name)
                said = ""
            except NvrError as error:
                if error.message != said:
                    said = error.message
                    logger.warning("no heartbeat of %s: %s", name, said)
            except Exception:
                logger.exception("heartbeat of %s", name)
            await asyncio.sleep(_RECONNECT_S)

    async def _hear(self, name: str) -> None:
        beats = self._remote(name, _SHORT_S).heartbeat(_CONTEXT, self.group.heartbeat_ms)
        # A cut cable is silent: the call is made anew, on whatever connection there is then.
        patience_s = self.group.dead_after_us / _US
        try:
            while True:
                async with asyncio.timeout(patience_s):
                    step = await anext(beats, None)
                if step is None or isinstance(step, End):
                    return
                if isinstance(step, NodeLeases):
                    leases = step
                    if leases.node != name:
                        raise InternalError(f"{name} calls itself {leases.node}")
                    await self.step(lambda now_us: self.authority.beat(name, leases, now_us))  # noqa: B023
        except TimeoutError:
            raise NodeUnavailable(f"{name} is silent", node=name) from None
        finally:
            close = getattr(beats, "aclose", None)
            if close is not None:
                with suppress(NvrError):
                    await close()

    # --- out ----------------------------------------------------------------------

    async def _do(self, command: Command) -> None:
        try:
            async with self._work[command.node]:
                answer = await self._call(command)
        except LeaseStale as error:
            known = error.facts.get("epoch", "")
            answer = Answer(
                ok=False,
                stale_epoch=int(known) if known.isdecimal() else None,
                reason=error.message,
            )
        except NvrError as error:
            answer = Answer(ok=False, reason=error.message)
        except Exception as error:
            # Whatever it is, the command is to be tried again.
            logger.exception("%s", command)
            answer = Answer(ok=False, reason=str(error))
        if not answer.ok:
            logger.info("%s: %s", command, answer.reason)
        await self.step(lambda now_us: self.authority.answered(command, answer, now_us))

    async def _call(self, command: Command) -> Answer:
        camera = command.camera_id
        match command:
            case Prepare(node=node, giver=giver):
                taker = self._remote(node, _PROBE_S)
                key = await taker.sealing_key(_CONTEXT)
                sealed = await self._remote(giver, _SHORT_S).seal_camera(_CONTEXT, camera, key)
                return Answer(ok=True, state=await taker.prepare(_CONTEXT, sealed))
            case Probe(node=node):
                return Answer(ok=True, state=await self._remote(node, _PROBE_S).probe(_CONTEXT, camera))
            case Take(node=node, epoch=epoch):
                return Answer(ok=True, state=await self._remote(node, _SHORT_S).take(_CONTEXT, camera, epoch))
            case Yield(node=node, epoch=epoch, taker=taker_name):
                other = self._remote(taker_name, _SHORT_S)
                word = await other.confirm(_CONTEXT, camera, epoch)
                if word is None:
                    return Answer(ok=False, reason=f"{taker_name} does not confirm that it records")
                taker_id = (await other.list_leases(_CONTEXT)).node_id
                state = await self._remote(node, _SHORT_S).give_up(_CONTEXT, camera, epoch, taker_id, word)
                return Answer(ok=True, state=state)
            case Forget(node=node):
                await self._remote(node, _SHORT_S).forget(_CONTEXT, camera, retired=True)
                return Answer(ok=True)

    def _remote(self, name: str, timeout_s: float) -> RemoteLeases:
        channel = self._channel_of(name)
        if channel is None:
            raise NodeUnavailable(f"there is no connection to {name}", node=name)
        return RemoteLeases(channel, target=name, timeout_s=timeout_s)
