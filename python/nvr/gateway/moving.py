"""A camera moves from one recorder to another, whose own it is from then on: make before break."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from nvr.directory.directory import Directory
from nvr.directory.merge import is_removed
from nvr.directory.types import NodeEntry
from nvr.errors import InvalidArgument, LeaseRefused, LeaseStale, NotFound
from nvr.footage.remote import RemoteCameraAdmin
from nvr.footage.types import End, NodeKind, Notice, ReadContext
from nvr.gateway.links import Link, Links
from nvr.lease.remote import RemoteLeases
from nvr.lease.types import LeaseState
from nvr.network_catalog.changes import Change, PutCamera, PutNode
from nvr.network_catalog.holder import CatalogHolder
from nvr.network_catalog.mover import MoveStep
from nvr.network_catalog.remote import RemoteCatalog
from nvr.network_catalog.root import RootCatalog
from nvr.network_catalog.types import NodeEntry as CatalogNode

__all__ = ["Mover"]

_PICTURES_S = 60.0
_OVERLAP_US = 2_000_000
_LOOK_S = 0.2
_TRIES = 3
_NOT_WRITTEN = "catalog_not_written"

_Steps = AsyncIterator[MoveStep | Notice | End]


class Mover:
    """A :class:`nvr.network_catalog.mover.CameraMover`."""

    def __init__(
        self, links: Links, directory: Directory, holder: CatalogHolder, root: RootCatalog | None
    ) -> None:
        self._links = links
        self._directory = directory
        self._holder = holder
        self._root = root

    async def move(
        self, context: ReadContext, camera: str, to: str, *, actor: str, dry_run: bool = False
    ) -> _Steps:
        """See the proto."""
        camera_id, entries = self._directory.resolve(camera)
        target = self._target(to)
        sources = [
            entry.node_id for entry in entries if entry.node_id != target.id and not is_removed(entry.camera)
        ]
        async for step in self._carried_out(context, camera_id, sources, target, actor, dry_run=dry_run):
            # What the catalog says is for this node to tell, not for the one below that moved it.
            if not isinstance(step, End) and not (isinstance(step, Notice) and step.code == _NOT_WRITTEN):
                yield step
        if not dry_run:
            async for written in self._write(camera_id, entries[0].camera.name, target, actor):
                yield written
        yield End(complete=True)

    def _target(self, to: str) -> NodeEntry:
        target = self._directory.node_named(to) or self._directory.node(to)
        if target is None:
            raise NotFound(f"there is no node {to[:80]!r} below {self._directory.own.name}", field="to")
        if target.kind is not NodeKind.RECORDER:
            raise InvalidArgument(f"to: {target.name} is no recorder", field="to")
        return target

    def _carried_out(
        self,
        context: ReadContext,
        camera_id: str,
        sources: list[str],
        target: NodeEntry,
        actor: str,
        *,
        dry_run: bool,
    ) -> _Steps:
        """Here, where both are right below, or at the one node through which both are reached."""
        directory = self._directory
        child = directory.route(target.id) or ""
        through = [node_id for node_id in sources if directory.route(node_id) == child]
        if child != target.id and (through or not sources):
            link = self._link(child)
            below = RemoteCatalog(link.channel, target=link.target)
            return below.move_camera(context, camera_id, target.id, dry_run=dry_run)
        direct = [node_id for node_id in sources if directory.route(node_id) == node_id]
        if child == target.id and (direct or not sources):
            return self._move(context, camera_id, direct, target, dry_run=dry_run)
        raise InvalidArgument(
            f"to: no gateway is right above both {directory.path(target.id)} and the node that has the "
            f"camera ({', '.join(map(directory.path, sources))[:300]}): add it there, and remove it here",
            field="to",
        )

    async def _move(
        self, context: ReadContext, camera_id: str, sources: list[str], target: NodeEntry, *, dry_run: bool
    ) -> _Steps:
        link = self._link(target.id)
        taker = RemoteLeases(link.channel, target=link.target)
        there = await _state(taker, context, camera_id)
        old = await self._home_among(sources, context, camera_id)
        if there is None or not there.home or there.retired:
            if old is None:
                raise LeaseRefused("camera: its home is none of the nodes right below, or is away")
            old_link, state = old
            giver = RemoteLeases(old_link.channel, target=old_link.target)
            sealed = await giver.seal_camera(context, camera_id, await taker.sealing_key(context))
            there = await taker.prepare(context, sealed)
            if not there.reachable:
                raise LeaseRefused(
                    f"to: {target.name} does not reach the camera"
                    + (f": {there.reason}" if there.reason else ""),
                    field="to",
                    node=target.name,
                )
            await taker.adopt(context, camera_id, dry_run=True)
            yield MoveStep("reached", target.name)
            if dry_run:
                return
            await self._take(taker, context, camera_id, max(state.epoch, there.epoch) + 1, target.name)
            yield MoveStep("recording", target.name)
            await taker.adopt(context, camera_id)
            yield MoveStep("adopted", target.name)
        if old is not None and not dry_run:
            # It is recorded by its new home: its old one may stop.
            old_link, _ = old
            admin = RemoteCameraAdmin(old_link.channel, target=old_link.target)
            await admin.remove_camera(context, camera_id)
            yield MoveStep("removed", old_link.name)

    async def _take(
        self, taker: RemoteLeases, context: ReadContext, camera_id: str, epoch: int, name: str
    ) -> None:
        """Has the camera recorded there, and waits until it is."""
        for left in range(_TRIES, 0, -1):
            try:
                await taker.take(context, camera_id, epoch)
                break
            except LeaseStale as error:
                # A group's authority may give one out at the same time.
                if left == 1:
                    raise
                epoch = int(error.facts.get("epoch", epoch)) + 1
        deadline_s = time.monotonic() + _PICTURES_S
        while time.monotonic() < deadline_s:
            state = await _state(taker, context, camera_id)
            if state is not None and state.recording and state.recording_for_us >= _OVERLAP_US:
                return
            await asyncio.sleep(_LOOK_S)
        # The old one has never stopped.
        await taker.forget(context, camera_id, retired=True)
        raise LeaseRefused(
            f"to: {name} reached the camera, and got no pictures within {_PICTURES_S:.0f} s; "
            "it stays where it is",
            field="to",
            node=name,
        )

    async def _home_among(
        self, node_ids: list[str], context: ReadContext, camera_id: str
    ) -> tuple[Link, LeaseState] | None:
        for node_id in node_ids:
            link = self._link(node_id)
            state = await _state(RemoteLeases(link.channel, target=link.target), context, camera_id)
            if state is not None and state.home and not state.retired:
                return link, state
        return None

    def _link(self, node_id: str) -> Link:
        link = self._links.of(node_id)
        if not isinstance(link, Link) or not link.up:
            raise link.error()
        return link

    async def _write(
        self, camera_id: str, name: str, target: NodeEntry, actor: str
    ) -> AsyncIterator[MoveStep | Notice]:
        content = self._holder.held.content
        entry = next((each for each in content.cameras if each.camera_id == camera_id), None)
        if entry is None or entry.node_id == target.id:
            return
        if self._root is None:
            yield Notice(
                _NOT_WRITTEN,
                f"the network catalog has {name} at another node still: ask its root to move it, which does "
                "what is left",
                self._directory.own.name,
                camera_id,
            )
            return
        changes: list[Change] = []
        if all(node.node_id != target.id for node in content.nodes):
            changes.append(PutNode(CatalogNode(target.id, target.name)))
        changes.append(PutCamera(replace(entry, node_id=target.id)))
        await self._root.change(changes, actor=actor, summary=f"camera {name} moved to {target.name}")
        yield MoveStep("written", self._directory.own.name)


async def _state(leases: RemoteLeases, context: ReadContext, camera_id: str) -> LeaseState | None:
    told = await leases.list_leases(context)
    return next((each for each in told.cameras if each.camera_id == camera_id), None)
