"""A recorder's leases: what it must record, what it could take, and the rules by which that changes.

A duty begins by :meth:`LeaseKeeper.take` and ends only when another node proves
that it records under a higher epoch. Both are on disk before anything follows
from them, so that a recorder that crashes goes on with what it held.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError as ProtobufDecodeError

from nvr.catalog.catalog import CatalogCamera, check_settings
from nvr.catalog.leases import Lease, LeaseBook, Prepared
from nvr.errors import (
    AccessDenied,
    CameraExists,
    CameraNotFound,
    DamagedError,
    InvalidArgument,
    LeaseHeld,
    LeaseRefused,
)
from nvr.footage.admin import CameraSettings
from nvr.footage.types import End, NodeInfo, Notice, ReadContext
from nvr.lease.convert import settings_from_bytes, settings_to_bytes
from nvr.lease.types import LeaseState, NodeLeases, SealedCamera, bound_to
from nvr.recorder.activity import Activity, Sampler
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.supervisor import Supervisor
from nvr.security.confirm import Confirmation, check_confirmation, confirm
from nvr.security.node_key import NodeKey
from nvr.security.sealing import SealingKey, open_box, seal_box, sealing_key_of

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["LeaseKeeper", "with_leases"]

_DEFAULT_INTERVAL_MS = 2000
_LEAST_INTERVAL_MS = 100
_PROBE_THREADS = 4
_PROBE_TIMEOUT_MS = 8000
_DISK_PERIOD_S = 10.0


def with_leases(cameras: Iterable[CatalogCamera], book: LeaseBook) -> list[CatalogCamera]:
    """The node's own cameras with their leases, and those of others that it has taken at some time."""
    leases, prepared = book.leases(), book.prepared()
    found = []
    for camera in cameras:
        if camera.removed_us is not None and camera.id in prepared and camera.id in leases:
            # It has moved away, and this node stands by for its new home.
            continue
        lease = leases.get(camera.id)
        found.append(camera if lease is None else replace(camera, epoch=lease.epoch, held=lease.held))
        prepared.pop(camera.id, None)
    found += [_guest(each, leases[camera_id]) for camera_id, each in prepared.items() if camera_id in leases]
    return found


class LeaseKeeper:
    """A :class:`nvr.lease.types.LeaseHolder`."""

    def __init__(
        self,
        *,
        key: NodeKey,
        node: NodeInfo,
        book: LeaseBook,
        directory: CameraDirectory,
        supervisor: Supervisor,
        store: "_core.Store",
        ingest: "_core.Ingest",
        probe: Callable[[str, int], tuple[str, str]],
        adopt: Callable[[str, CameraSettings], CatalogCamera],
        peers: Collection[str] = (),
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """``adopt``: makes a camera the node's own, see :meth:`Catalog.adopt`.

        ``peers``: ids of the nodes that settings go to and come from; empty: any. Blocks.
        """
        self._key = key
        self._node = node
        self._book = book
        self._directory = directory
        self._supervisor = supervisor
        self._store = store
        self._probe = probe
        self._adopt = adopt
        self._peers = frozenset(peers)
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._leases = book.leases()
        self._prepared = book.prepared()
        self._reached: dict[str, str] = {}
        """What the newest probe of a prepared camera found: a gap reason, empty when pictures came."""
        self._sampler = Sampler(ingest.status)
        # Of its own: a heartbeat that waits for a slow disk looks like a death.
        self._pool = ReadPool(1, "nvr-lease")
        self._probes = ReadPool(_PROBE_THREADS, "nvr-probe")
        self._free_bytes = 0
        self._disks_s = float("-inf")
        self._disks: asyncio.Future[int] | None = None

    def close(self) -> None:
        """Ends its threads."""
        self._pool.close()
        self._probes.close()

    async def list_leases(self, context: ReadContext) -> NodeLeases:
        """As it is now."""
        activity = await self._pool.run(self._sampler.sample)
        states = [*self._own_states(activity), *self._guest_states(activity)]
        return NodeLeases(
            node_id=self._node.id,
            node=self._node.name,
            now_us=self._now_us(),
            load_bps=sum(state.bitrate_bps for state in states if state.recording),
            free_bytes=self._free(),
            cameras=states,
        )

    async def heartbeat(
        self, context: ReadContext, interval_ms: int = 0
    ) -> AsyncIterator[NodeLeases | Notice | End]:
        """The same, again and again. Ends with its reader, or with the node."""
        interval_s = max(_LEAST_INTERVAL_MS, interval_ms or _DEFAULT_INTERVAL_MS) / 1000
        while True:
            yield await self.list_leases(context)
            await asyncio.sleep(interval_s)

    async def sealing_key(self, context: ReadContext) -> SealingKey:
        """The key to which settings for this node are sealed."""
        return sealing_key_of(self._key)

    async def seal_camera(self, context: ReadContext, camera: str, recipient: SealingKey) -> SealedCamera:
        """A camera's settings for another node."""
        recipient_id = recipient.verified_id()
        self._check_peer(recipient_id, "recipient")
        settings, changed_us = self._settings_of(camera)
        own = self._own(camera)
        if own is not None:
            if _is_retired(own):
                raise LeaseRefused(f"camera {own.settings.name} is not to be recorded", field="camera")
            # Whoever has the settings may record the camera: from now on its lease is told.
            self._leases[camera] = await self._pool.run(self._book.mark, camera)
        box = seal_box(
            self._key, recipient, settings_to_bytes(settings), bound_to=bound_to(camera, changed_us)
        )
        return SealedCamera(camera, changed_us, box)

    async def prepare(self, context: ReadContext, sealed: SealedCamera) -> LeaseState:
        """Keeps the settings of another node's camera, and probes."""
        camera_id = sealed.camera_id
        own = self._own(camera_id)
        if own is not None and own.removed_us is None:
            raise InvalidArgument("the camera is this node's own", field="sealed.camera_id")
        try:
            sender_id, data = open_box(self._key, sealed.box, bound_to=sealed.bound_to)
            settings = settings_from_bytes(data)
        except (DamagedError, ProtobufDecodeError) as error:
            raise InvalidArgument(f"sealed.box: {error}", field="sealed.box") from None
        self._check_peer(sender_id, "sealed")
        check_settings(settings)
        known = self._prepared.get(camera_id)
        if known is None or sealed.changed_us > known.changed_us:
            text = base64.b64encode(data).decode("ascii")
            prepared = Prepared(camera_id, sender_id, text, sealed.changed_us)
            lease = self._leases.get(camera_id)

            def kept() -> CatalogCamera:
                self._prepared[camera_id] = prepared
                return _guest(prepared, self._leases[camera_id])

            if lease is None:
                await self._pool.run(self._book.prepare, prepared)
                self._prepared[camera_id] = prepared
            else:
                # A camera that is recorded here is recorded from its new address.
                await self._supervisor.change_lease(lambda: self._book.prepare(prepared), kept)
            self._reached.pop(camera_id, None)
        return await self.probe(context, camera_id)

    async def probe(self, context: ReadContext, camera: str) -> LeaseState:
        """Tries whether the camera answers; one that is recorded here does."""
        settings, _ = self._settings_of(camera)
        activity = (await self._pool.run(self._sampler.sample)).get(camera, Activity())
        if activity.recording:
            self._reached[camera] = ""
        else:
            reason, _ = await self._probes.run(self._probe, settings.main_url, _PROBE_TIMEOUT_MS)
            self._reached[camera] = reason
        return self._state(camera, activity)

    async def take(self, context: ReadContext, camera: str, epoch: int) -> LeaseState:
        """Takes the duty to record a camera."""
        self._settings_of(camera)
        before = self._leases.get(camera)

        def write() -> None:
            self._leases[camera] = self._book.take(camera, epoch)

        again = before is not None and (before.epoch, before.held) == (epoch, True)
        await self._supervisor.change_lease(
            write, lambda: self._leased(camera), "" if again else "lease_taken"
        )
        return await self._now(camera)

    async def confirm(self, context: ReadContext, camera: str, epoch: int) -> Confirmation | None:
        """The node's word that it records the camera under an epoch that it took."""
        state = await self._now(camera)
        if not (state.held and state.epoch == epoch and state.recording):
            return None
        return confirm(self._key, camera, epoch)

    async def give_up(
        self, context: ReadContext, camera: str, epoch: int, taker_id: str, confirmation: Confirmation
    ) -> LeaseState:
        """Ends recording a camera that another node records under a higher epoch."""
        if taker_id == self._key.id:
            raise InvalidArgument("taker_id: it is this node", field="taker_id")
        self._check_peer(taker_id, "taker_id")
        check_confirmation(confirmation, taker_id, camera, epoch)
        own, prepared = self._own(camera), self._prepared.get(camera)
        if own is None and prepared is None:
            raise CameraNotFound(f"camera {camera} is neither this node's own nor prepared here")

        def write() -> None:
            self._leases[camera] = self._book.give_up(camera, epoch, taker_id)

        was_held = self._held(camera)
        await self._supervisor.change_lease(
            write, lambda: self._leased(camera), "lease_yielded" if was_held else ""
        )
        return await self._now(camera)

    async def forget(self, context: ReadContext, camera: str, *, retired: bool = False) -> None:
        """Deletes the kept settings of another node's camera."""
        if self._own(camera) is not None:
            raise InvalidArgument("the camera is this node's own", field="camera")
        prepared = self._prepared.get(camera)
        if prepared is None:
            return
        if self._held(camera) and not retired:
            raise LeaseHeld(f"camera {camera} is this node's to record", field="camera")

        def write() -> None:
            self._leases[camera] = self._book.forget(camera)

        def forgotten() -> CatalogCamera:
            self._prepared.pop(camera, None)
            self._reached.pop(camera, None)
            return _guest(prepared, self._leases[camera])

        await self._supervisor.change_lease(write, forgotten)

    async def adopt(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> LeaseState:
        """Makes a camera that is prepared here the node's own."""
        own = self._own(camera)
        if own is None or own.removed_us is not None:
            settings, _ = self._settings_of(camera)
            for other in self._directory.active():
                if other.settings.name == settings.name and other.id != camera and not other.guest:
                    raise CameraExists(
                        f"node {self._node.name} has another camera named {settings.name}: rename one first",
                        field="name",
                        facts={"name": settings.name},
                        node=self._node.name,
                    )
            adopted: list[CatalogCamera] = []

            def write() -> None:
                adopted.append(self._adopt(camera, settings))
                # Not before it is the node's own: what is left behind by a crash between is harmless.
                self._book.adopted(camera)

            def now_own() -> CatalogCamera:
                self._prepared.pop(camera, None)
                lease = self._leases.get(camera) or Lease(camera)
                return replace(adopted[0], epoch=lease.epoch, held=lease.held)

            if not dry_run:
                await self._supervisor.change_lease(write, now_own, "camera_added")
        return await self._now(camera)

    def _own(self, camera_id: str) -> CatalogCamera | None:
        """The camera, if its home is here; removed or not.

        One that was moved away, and for which this node stands by, is not: it is prepared.
        """
        camera = self._directory.get(camera_id)
        # Those that only the stores know have no date.
        if camera is None or camera.guest or camera.copied_from or not camera.created_us:
            return None
        if camera.removed_us is not None and camera_id in self._prepared:
            return None
        return camera

    def _leased(self, camera_id: str) -> CatalogCamera:
        """The camera with its lease, own or prepared."""
        lease, own = self._leases[camera_id], self._own(camera_id)
        if own is not None:
            return replace(own, epoch=lease.epoch, held=lease.held)
        return _guest(self._prepared[camera_id], lease)

    def _settings_of(self, camera_id: str) -> tuple[CameraSettings, int]:
        own = self._own(camera_id)
        if own is not None:
            return own.settings, own.changed_us
        prepared = self._prepared.get(camera_id)
        if prepared is None:
            raise CameraNotFound(
                f"camera {camera_id} is neither this node's own nor prepared here",
                field="camera",
                node=self._node.name,
            )
        return _settings(prepared), prepared.changed_us

    def _check_peer(self, node_id: str, field: str) -> None:
        if self._peers and node_id not in self._peers:
            raise AccessDenied(f"{field}: node {node_id[:16]}… is none of this node's peers", field=field)

    def _held(self, camera_id: str) -> bool:
        lease = self._leases.get(camera_id)
        return self._own(camera_id) is not None if lease is None else lease.held

    async def _now(self, camera_id: str) -> LeaseState:
        activity = await self._pool.run(self._sampler.sample)
        return self._state(camera_id, activity.get(camera_id, Activity()))

    def _state(self, camera_id: str, activity: Activity) -> LeaseState:
        lease = self._leases.get(camera_id) or Lease(camera_id)
        own, prepared = self._own(camera_id), self._prepared.get(camera_id)
        name = ""
        if own is not None:
            name = own.settings.name
        elif prepared is not None:
            name = _settings(prepared).name
        return LeaseState(
            camera_id=camera_id,
            name=name,
            epoch=lease.epoch,
            held=self._held(camera_id),
            since_us=lease.since_us,
            home=own is not None,
            retired=own is not None and _is_retired(own),
            recording=activity.recording,
            recording_for_us=activity.recording_for_us,
            reason=activity.reason,
            bitrate_bps=activity.bitrate_bps,
            changed_us=own.changed_us if own is not None else prepared.changed_us if prepared else 0,
            reachable=self._reached.get(camera_id) == "",
            probed=camera_id in self._reached,
        )

    def _own_states(self, activity: dict[str, Activity]) -> Iterable[LeaseState]:
        """Of those that are to be recorded by somebody, and of those that others may not know are not."""
        for camera in self._directory.all():
            if self._own(camera.id) is None:
                continue
            if not _is_retired(camera) or camera.id in self._leases:
                yield self._state(camera.id, activity.get(camera.id, Activity()))

    def _guest_states(self, activity: dict[str, Activity]) -> Iterable[LeaseState]:
        for camera_id in self._prepared:
            yield self._state(camera_id, activity.get(camera_id, Activity()))

    def _free(self) -> int:
        """Free space, not newer than some seconds: who asks does not wait for a disk."""
        if self._disks is not None and self._disks.done():
            if not self._disks.cancelled() and self._disks.exception() is None:
                self._free_bytes = self._disks.result()
            self._disks = None
        if self._disks is None and time.monotonic() - self._disks_s > _DISK_PERIOD_S:
            self._disks_s = time.monotonic()
            self._disks = self._probes.submit(
                lambda: sum(disk.free_bytes for disk in self._store.disk_usage())
            )
        return self._free_bytes


def _is_retired(camera: CatalogCamera) -> bool:
    return camera.removed_us is not None or not camera.settings.enabled


def _settings(prepared: Prepared) -> CameraSettings:
    try:
        return settings_from_bytes(base64.b64decode(prepared.settings, validate=True))
    except (binascii.Error, ProtobufDecodeError) as error:
        raise DamagedError(f"the kept settings of camera {prepared.camera_id} cannot be read") from error


def _guest(prepared: Prepared, lease: Lease) -> CatalogCamera:
    """Another node's camera as this one has it; without its duty, only its footage is here."""
    settings = _settings(prepared)
    if not lease.held:
        settings = replace(settings, main_url="", sub_url="")
    return CatalogCamera(
        prepared.camera_id,
        settings,
        0,
        prepared.changed_us,
        epoch=lease.epoch,
        held=lease.held,
        guest=True,
    )
