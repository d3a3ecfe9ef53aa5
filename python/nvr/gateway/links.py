"""Links to the nodes that a gateway asks directly: who they are, what they have, whether they are there."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator

import grpc

from nvr.directory.directory import Directory
from nvr.directory.feed import RemoteDirectory
from nvr.directory.types import CameraEntry, DirectoryBatch, node_entry
from nvr.errors import InternalError, NodeUnavailable, NvrError, TreeRefused
from nvr.footage.closing import closing
from nvr.footage.remote import RemoteFootage
from nvr.footage.source import FootageSource
from nvr.footage.types import Camera, End, LineSpeed, NodeInfo, Notice, ReadContext
from nvr.gateway.many import Reachable
from nvr.gateway.trouble import code_of
from nvr.security.tls import TlsFiles
from nvr.uplink.hub import Uplink
from nvr.v1.uplink_pb2 import UplinkLine

__all__ = ["AnyLink", "Away", "Link", "Links", "RemoteChild", "sure_offset_us"]

logger = logging.getLogger("nvr.gateway")

_BACKOFF_FIRST_S = 0.2
_BACKOFF_MOST_S = 10.0
# A node that contradicts the tree does so again: somebody has to change its settings.
_BACKOFF_REFUSED_S = 30.0
_POLL_S = 30.0
_CLOCK_S = 60.0
_CLOCK_SAMPLES = 3
_CLOCK_DOUBT_US = 100_000
_CONTEXT = ReadContext(purpose="directory")
_TWO_LINKS = "two_links"


def sure_offset_us(offset_us: int, round_trip_us: int) -> int:
    """What of a clock's offset is sure: the whole may have been the way there, or the way back.

    A busy node that answers after seconds is not to look like one whose clock is wrong.
    """
    doubt_us = round_trip_us // 2
    if doubt_us <= _CLOCK_DOUBT_US:
        return offset_us
    sure_us = max(0, abs(offset_us) - doubt_us)
    return sure_us if offset_us > 0 else -sure_us


class RemoteChild:
    """A node behind a channel, which its owner closes.

    ``target``: what messages call it. ``address``, ``tls``: where and how the channel
    dials, for questions that do not go by it (:mod:`nvr.gateway.many`); default: ``target``.
    ``uplink``: it is one that dials this node, and is asked by its channel alone.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        target: str,
        *,
        address: str = "",
        tls: TlsFiles | None = None,
        uplink: Uplink | None = None,
    ) -> None:
        self.footage: FootageSource = RemoteFootage(channel, target=target)
        self.directory = RemoteDirectory(channel, target=target)
        self.channel = channel
        self.address = "" if uplink is not None else address or target
        self.tls = tls
        self.uplink = uplink


class Claims:
    """Which link is to which node, and news of them all."""

    def __init__(self) -> None:
        self._of: dict[str, Link] = {}
        self._news = asyncio.Event()

    def of(self, node_id: str) -> "Link | None":
        """The link that has met a node and has not lost it."""
        return self._of.get(node_id)

    def take(self, node_id: str, link: "Link") -> None:
        """The node is behind this link. Raises :exc:`TreeRefused` when it is behind another already."""
        other = self._of.get(node_id)
        if other is not None and other is not link:
            raise TreeRefused(
                f"node {link.named(node_id)} is at {other.target} already, and {link.target} says that it "
                "is that node too",
                facts={"code": _TWO_LINKS},
            )
        self._of[node_id] = link

    def release(self, link: "Link") -> bool:
        """The link has lost its node. Whether it had one."""
        had = [node_id for node_id, of in self._of.items() if of is link]
        for node_id in had:
            del self._of[node_id]
        return bool(had)

    def tell(self) -> None:
        """Wakes all who wait for news."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Returns at the next change of any link."""
        await self._news.wait()


class Link:
    """A connection to a child that is kept up for ever.

    ``target``: its address, for messages. ``up``: it answers, and what it has is
    known. ``node_id`` is empty until it has answered once.
    """

    def __init__(
        self,
        child: RemoteChild,
        directory: Directory,
        *,
        target: str,
        node_id: str = "",
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._child = child
        self._directory = directory
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._woken = asyncio.Event()
        self._claims = Claims()
        self.target = target
        self.node_id = node_id
        self.up = False
        self.reason = "node_unknown"
        self.detail = f"{target} has not answered yet"
        self.is_double = False
        """The node is behind another link already: nothing is missing while this one is down."""
        self.asked = 0
        """How often it was asked, for tests and metrics."""

    @property
    def name(self) -> str:
        """The child's name, or its address before it is known."""
        return self.named(self.node_id) or self.target

    def named(self, node_id: str) -> str:
        """The name of a node that the directory knows, else the beginning of its id."""
        node = self._directory.node(node_id)
        return self._directory.short_id(node_id) if node is None else node.name

    @property
    def footage(self) -> FootageSource:
        """What it has."""
        self.asked += 1
        return self._child.footage

    @property
    def uplink(self) -> Uplink | None:
        """The connection that the child made, where it is one that dials this node."""
        return self._child.uplink

    @property
    def line(self) -> UplinkLine:
        """How fast the child's line is, where it dials this node."""
        return UplinkLine() if self.uplink is None else self.uplink.line

    def slower(self, line: LineSpeed | None) -> LineSpeed | None:
        """The slower one of this line and one below it, as far as either is known."""
        if self.uplink is None:
            return line
        own = LineSpeed(self.name, self.line.cap_bits_per_second, self.line.rate_bits_per_second)
        if not own.bits_per_s:
            return line
        return own if line is None or own.bits_per_s < line.bits_per_s else line

    @property
    def channel(self) -> grpc.aio.Channel:
        """The connection, which its owner closes."""
        return self._child.channel

    @property
    def reachable(self) -> Reachable | None:
        """Where it is, for a question to many nodes; None: it goes by :attr:`footage` alone."""
        return self._child if self._child.address else None

    def error(self) -> NodeUnavailable:
        """Why it cannot be asked now."""
        return NodeUnavailable(self.detail or f"{self.target} is away", node=self.name)

    def join(self, claims: "Claims") -> None:
        """It is one of several: no two of them can be links to the same node."""
        self._claims = claims

    async def until(self, *, up: bool) -> None:
        """Returns when the link is up, or down."""
        while self.up != up:
            self._woken.clear()
            await self._woken.wait()

    async def run(self) -> None:
        """Keeps the link, for ever."""
        failures = 0
        while True:
            connects = 0 if self.uplink is None else self.uplink.connects
            try:
                await self._follow()
                error: BaseException = NodeUnavailable(f"{self.target}: the node stops")
            except NvrError as caught:
                error = caught
            except Exception as caught:
                logger.exception("the link to %s failed", self.target)
                error = InternalError(str(caught))
            failures = 0 if self.up else failures + 1
            self._lost(error)
            most_s = _BACKOFF_REFUSED_S if isinstance(error, TreeRefused) else _BACKOFF_MOST_S
            wait_s = min(most_s, _BACKOFF_FIRST_S * 2 ** min(failures, 10))
            if isinstance(error, TreeRefused):
                wait_s = most_s
            wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
            if self.uplink is None:
                await asyncio.sleep(wait_s)
            else:
                # One that has just dialled is there now.
                await self.uplink.until_connected(wait_s, after=connects)

    async def _follow(self) -> None:
        info = await self._child.footage.node()
        if info.id == self._directory.own.id:
            own = self._directory.own.name
            raise TreeRefused(
                f"a cycle: {own} → {own}; {self.target} is this node itself",
                facts={"code": "cycle", "path": f"{own} → {own}"},
            )
        if not info.id:
            raise InternalError(f"{self.target}: the node does not say who it is")
        self._claims.take(info.id, self)
        self.node_id = info.id
        clock = asyncio.create_task(self._measure_clock())
        try:
            if "directory" in info.capabilities:
                await self._follow_directory()
            else:
                await self._poll_cameras(info)
        finally:
            clock.cancel()
            # Its own end is of no interest; that this link is to end meanwhile is, and is not swallowed.
            await asyncio.wait([clock])

    async def _follow_directory(self) -> None:
        epoch, version = self._directory.resume(self.node_id)
        async with closing(self._child.directory.watch_directory(_CONTEXT, epoch, version)) as answer:
            async for step in answer:
                if isinstance(step, DirectoryBatch):
                    self._directory.apply(self.node_id, step)
                    if step.current:
                        self._met()
                elif isinstance(step, End):
                    return

    async def _poll_cameras(self, info: NodeInfo) -> None:
        """A node of the first version tells no changes: it is asked for all, now and then."""
        version = 0
        while True:
            answer = self._child.footage.list_cameras(_CONTEXT)
            cameras = [CameraEntry(info.id, step) async for step in answer if isinstance(step, Camera)]
            version += 1
            self._directory.apply(
                self.node_id,
                DirectoryBatch(
                    "", version, snapshot=True, current=True, nodes=(node_entry(info),), cameras=cameras
                ),
            )
            self._met()
            await asyncio.sleep(_POLL_S)

    async def _measure_clock(self) -> None:
        """The child's clock against ours: of some round trips the shortest is the truest (RFC 5905, 10)."""
        while True:
            best: tuple[int, int] | None = None
            for _ in range(_CLOCK_SAMPLES):
                before_us, started = self._now_us(), time.monotonic_ns()
                try:
                    told = await self._child.footage.node()
                except NvrError:
                    # A busy node is measured another time; that it is gone is the directory's to say.
                    continue
                took_us = (time.monotonic_ns() - started) // 1000
                if told.now_us and (best is None or took_us < best[0]):
                    offset_us = told.now_us - (before_us + took_us // 2)
                    best = took_us, sure_offset_us(offset_us, took_us)
            if best is not None and self.up:
                # Within half the round trip it is noise, and every change goes all the way up.
                known = self._directory.node(self.node_id)
                before = None if known is None else known.clock_offset_us
                if before is None or abs(best[1] - before) > max(best[0], 100_000):
                    self._directory.set_link(self.node_id, connected=True, clock_offset_us=best[1])
                await asyncio.sleep(_CLOCK_S)
            else:
                await asyncio.sleep(_BACKOFF_FIRST_S)

    def _met(self) -> None:
        if not self.up:
            logger.info("node %s is there (%s)", self.name, self.target)
            self._directory.set_link(self.node_id, connected=True, seen_us=self._now_us())
        self.up, self.reason, self.detail = True, "", ""
        self._tell()

    def _lost(self, error: BaseException) -> None:
        detail = error.message if isinstance(error, NvrError) else str(error)
        reason = code_of(error)
        if self.up or (self.reason, self.detail) != (reason, detail):
            # One that has yet to dial is no cause for alarm: a gateway that starts has none of them.
            never = self.uplink is not None and not self.uplink.connects
            logger.log(
                logging.INFO if never else logging.WARNING, "node %s: %s: %s", self.name, reason, detail
            )
        seen_us = self._now_us() if self.up else 0
        self.up, self.reason, self.detail = False, reason, detail
        self.is_double = isinstance(error, TreeRefused) and error.facts.get("code") == _TWO_LINKS
        if self._claims.release(self):
            self._directory.set_link(self.node_id, connected=False, reason=reason, seen_us=seen_us)
        self._tell()

    def _tell(self) -> None:
        self._woken.set()
        self._claims.tell()


class Away:
    """In the place of a link to a node of which only the directory knows: it cannot be asked."""

    up = False
    uplink = None
    reachable = None
    asked = 0

    def __init__(self, node_id: str, name: str) -> None:
        self.node_id = node_id
        self.name = self.target = name

    @property
    def footage(self) -> FootageSource:
        """Raises."""
        raise self.error()

    def slower(self, line: LineSpeed | None) -> LineSpeed | None:
        """Nothing is known of it."""
        return line

    def error(self) -> NodeUnavailable:
        """Why it cannot be asked now."""
        return NodeUnavailable(f"there is no connection to node {self.name} now", node=self.name)

    async def until(self, *, up: bool) -> None:
        """Returns at once, or never: its node comes back as another link."""
        if up:
            await asyncio.Event().wait()


AnyLink = Link | Away


class Links:
    """The children of a gateway."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._links: list[Link] = []
        self._claims = Claims()
        self._by_id: dict[str, Link] = {}

    def add(self, link: Link) -> None:
        """Adds one; its :meth:`Link.run` is its owner's."""
        self._links.append(link)
        link.join(self._claims)
        self._claims.tell()

    def remove(self, link: Link) -> None:
        """Removes one. What it had stays in the directory: it may come back."""
        self._links.remove(link)
        self._by_id.clear()
        self._claims.release(link)
        self._claims.tell()

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links)

    async def changed(self) -> None:
        """Returns when a link is added or removed, comes up or is lost."""
        await self._claims.news()

    def of(self, node_id: str) -> AnyLink:
        """The link by which a node is reached, or what stands for it while there is none."""
        child = self._directory.route(node_id)
        known = self._claims.of(child or "") or self._by_id.get(child or "")
        # The node at an address may have been made anew since.
        if known is None or known.node_id != child:
            self._by_id = {link.node_id: link for link in self._links if link.node_id}
            known = self._by_id.get(child or "")
        if known is not None:
            return known
        node = self._directory.node(child or node_id)
        return Away(child or node_id, self._directory.short_id(node_id) if node is None else node.name)

    def unknown(self) -> list[Notice]:
        """Warnings of children that have never told what they have: any answer may lack theirs."""
        return [
            Notice(
                "node_unknown" if link.reason == "node_unknown" else link.reason,
                f"it has not told yet what it has: {link.detail}",
                link.name,
            )
            for link in self._links
            if self._directory.node(link.node_id) is None and not link.is_double
        ]
