"""Keeps what is recorded in line with the catalog, and the disks within their limits."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from nvr.catalog.catalog import Catalog, CatalogCamera, check_settings
from nvr.errors import CameraExists, InvalidArgument, NvrError
from nvr.footage.admin import CameraChanges, CameraSettings
from nvr.footage.types import Camera, Event, ReadContext, StreamName
from nvr.node.events import EventBus
from nvr.recorder.camera_view import camera_view, recorded_streams, why_not
from nvr.recorder.config import RetentionSettings
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.live import LiveHub
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.told import ToldCameras
from nvr.sources.rules import SourceRules

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Supervisor"]

T = TypeVar("T")
logger = logging.getLogger("nvr.recorder")

_RETENTION_PERIOD_S = 60.0
_QUIET = frozenset({"run_started"})


class Supervisor:
    """Administers the cameras (:class:`nvr.footage.admin.CameraAdmin`), retention, and the log of events."""

    def __init__(
        self,
        *,
        node_name: str,
        catalog: Catalog,
        directory: CameraDirectory,
        store: "_core.Store",
        ingest: "_core.Ingest",
        live: LiveHub,
        events: EventBus,
        pool: ReadPool,
        retention: RetentionSettings,
        told: ToldCameras,
        sources: SourceRules,
    ) -> None:
        self._node_name = node_name
        self._catalog = catalog
        self._directory = directory
        self._store = store
        self._ingest = ingest
        self._live = live
        self._events = events
        self._pool = pool
        self._retention = retention
        self._told = told
        self._sources = sources
        self._changes = asyncio.Lock()
        self._recorded: dict[tuple[str, StreamName], tuple[str, int]] = {}
        self._renewals: set[asyncio.Task[None]] = set()
        self._low_on_space: set[str] = set()
        self._over = False
        self._unknown: set[str] = set()

    async def start_recording(self) -> None:
        """Starts all cameras of the catalog. One that cannot be started does not keep the others from it."""
        for camera in self._directory.active():
            try:
                await self._pool.run(self._reconcile, camera)
            except NvrError as error:
                logger.error("camera %s: not recorded: %s", camera.settings.name, error)  # noqa: TRY400

    async def watch_streams(self) -> None:
        """Passes what happens to streams on to watchers and the log, until the hub is stopped."""
        async for happened in self._live.events():
            for each in happened:
                stream: StreamName = "sub" if each.stream == "sub" else "main"
                self._told.changed(each.camera_id)
                self._renew_epoch(each.camera_id, stream)
                self._publish(
                    each.kind, each.camera_id, each.reason, each.detail, stream=stream, at_us=each.at_us
                )

    async def keep_space(self) -> None:
        """Deletes what retention says, every minute, for ever."""
        while True:
            try:
                if deleted := await self._pool.run(self._enforce_retention):
                    await self._told.tell_all()
                    self._tell_expired(deleted)
            # Whatever is wrong with one pass, the next one may mend it; recording goes on.
            except Exception:
                logger.exception("retention failed; it is tried again in a minute")
            await asyncio.sleep(_RETENTION_PERIOD_S)

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        """The camera, recording; its id is empty on a dry run."""
        self._check(settings)

        async def change() -> Camera:
            self._refuse_taken(settings.name, "")
            if dry_run:
                return await self._view(CatalogCamera("", settings, 0, 0))
            camera = await self._pool.run(self._catalog.add, settings)
            await self._apply(camera, "camera_added")
            return await self._view(camera)

        return await self._one_at_a_time(change)

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        """The camera as it is now (dry run: as it would be). A stream whose address stays is not touched."""

        async def change() -> Camera:
            old = self._own(camera)
            settings = changes.apply(old.settings)
            self._check(settings)
            self._refuse_taken(settings.name, old.id)
            if dry_run:
                return await self._view(replace(old, settings=settings))
            new = await self._pool.run(self._catalog.update, old.id, settings)
            new = replace(new, epoch=old.epoch, held=old.held)
            await self._apply(new, "camera_changed")
            return await self._view(new)

        return await self._one_at_a_time(change)

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        """The id by which its footage can still be read."""

        async def change() -> str:
            old = self._own(camera)
            if not dry_run:
                removed = await self._pool.run(self._catalog.remove, old.id)
                await self._apply(replace(removed, epoch=old.epoch, held=old.held), "camera_removed")
            return old.id

        return await self._one_at_a_time(change)

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        """The camera and its settings."""
        found = self._directory.resolve(camera)
        return await self._view(found), found.settings

    async def change_lease(
        self, write: Callable[[], None], camera: Callable[[], CatalogCamera], kind: str = ""
    ) -> None:
        """Makes a change of a camera's lease last, by ``write`` on a thread, and then acts on it.

        ``camera``: what the camera is afterwards; ``kind``: of the event, if it is one.
        """

        async def change() -> None:
            await self._pool.run(write)
            changed = camera()
            self._directory.put(changed)
            try:
                await self._pool.run(self._reconcile, changed)
            finally:
                self._told.changed(changed.id)
                if kind:
                    self._publish(kind, changed.id)

        await self._one_at_a_time(change)

    def _check(self, settings: CameraSettings) -> None:
        check_settings(settings)
        self._sources.check(settings.main_url)
        self._sources.check(settings.sub_url, field="sub_url")

    def _own(self, camera: str) -> CatalogCamera:
        found = self._directory.resolve(camera, active=True)
        if found.guest:
            raise InvalidArgument(
                f"camera {found.settings.name} is another node's, which this one only records for it: "
                "change it at its home",
                field="camera",
                node=self._node_name,
            )
        return found

    async def _one_at_a_time(self, change: Callable[[], Awaitable[T]]) -> T:
        """Runs a change to its end, also when the caller goes away in its middle."""

        async def run() -> T:
            async with self._changes:
                return await change()

        return await asyncio.shield(asyncio.create_task(run()))

    async def _apply(self, camera: CatalogCamera, kind: str) -> None:
        self._directory.put(camera)
        try:
            await self._pool.run(self._reconcile, camera)
        finally:
            self._told.changed(camera.id)
            self._publish(kind, camera.id)

    def _refuse_taken(self, name: str, but_for: str) -> None:
        for camera in self._directory.active():
            if camera.settings.name == name and camera.id != but_for and not camera.guest:
                raise CameraExists(
                    f"a camera named {name} exists already: choose another name, or change that one",
                    field="name",
                    facts={"name": name},
                    node=self._node_name,
                )

    def _reconcile(self, camera: CatalogCamera) -> None:
        """Starts and stops the camera's sessions as its settings say. Blocks."""
        wanted = recorded_streams(camera)
        streams: tuple[StreamName, ...] = ("main", "sub")
        for stream in streams:
            key, url = (camera.id, stream), wanted.get(stream)
            recorded = self._recorded.get(key)
            if url is None:
                if recorded is not None:
                    self._ingest.remove(camera.id, stream, why_not(camera))
                    del self._recorded[key]
            elif recorded != (url, camera.epoch):
                if recorded is not None and recorded[0] == url and self._is_recording(*key):
                    # The lease is newer than the session. To end that one would cost footage.
                    continue
                self._ingest.add(camera.id, stream, url, epoch=camera.epoch)
                self._recorded[key] = (url, camera.epoch)

    def _is_recording(self, camera_id: str, stream: StreamName) -> bool:
        return any(
            (each.camera_id, each.stream, each.state) == (camera_id, stream, "recording")
            for each in self._ingest.status()
        )

    def _renew_epoch(self, camera_id: str, stream: StreamName) -> None:
        """A stream that is down, and was begun under an older epoch, goes on under the new one."""
        camera, recorded = self._directory.get(camera_id), self._recorded.get((camera_id, stream))
        if camera is None or recorded is None or recorded[1] == camera.epoch:
            return

        async def renew() -> None:
            current = self._directory.get(camera_id)
            if current is not None:
                await self._pool.run(self._reconcile, current)

        task = asyncio.create_task(self._one_at_a_time(renew))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _view(self, camera: CatalogCamera) -> Camera:
        def view() -> Camera:
            status = {(each.camera_id, each.stream): each for each in self._ingest.status()}
            return camera_view(camera, self._node_name, status, self._store.range)

        return await self._pool.run(view)

    def _tell_expired(self, segments: int) -> None:
        now_us, detail = time.time_ns() // 1000, f"retention deleted {segments} segments"
        logger.info("%s", detail)
        self._events.publish(
            Event(now_us, "segments_expired", reason="expired", detail=detail, node=self._node_name)
        )

    def _enforce_retention(self) -> int:
        """One pass; how many segments were deleted. Blocks."""
        limits = self._retention
        # Removed ones too: their footage keeps the limits that it had.
        ids: dict[str, list[str]] = {}
        for camera in self._directory.all():
            ids.setdefault(camera.settings.name, []).append(camera.id)
        unknown = {name for group in limits.groups for name in group.cameras} - ids.keys()
        if unknown - self._unknown:
            logger.warning("retention: no camera is named %s", ", ".join(sorted(unknown)))
        self._unknown = unknown
        groups = [
            ([each for name in group.cameras for each in ids.get(name, ())], group.max_age, group.max_bytes)
            for group in limits.groups
        ]
        deleted, bytes_over = self._store.enforce_retention(
            max_age_us=limits.max_age,
            max_bytes=limits.max_bytes,
            min_free_bytes=limits.min_free,
            groups=groups,
        )
        if bytes_over and not self._over:
            logger.error(
                "retention: %d MB are too many, and nothing is left that may be deleted: it is held, "
                "or being written",
                bytes_over // 1_000_000,
            )
        self._over = bytes_over > 0
        for disk in self._store.disk_usage():
            low = limits.min_free is not None and disk.free_bytes < limits.min_free
            if low and disk.root not in self._low_on_space:
                what = (
                    "what is left is held: release it, or give the store more room"
                    if disk.held_bytes
                    else "something else fills this disk"
                )
                logger.error(
                    "store %s: only %d MB are free, and no footage is left that may be deleted; %s",
                    disk.root,
                    disk.free_bytes // 1_000_000,
                    what,
                )
            (self._low_on_space.add if low else self._low_on_space.discard)(disk.root)
        return deleted

    def _publish(
        self,
        kind: str,
        camera_id: str,
        reason: str = "",
        detail: str = "",
        *,
        stream: StreamName | None = None,
        at_us: int = 0,
    ) -> None:
        level = logging.WARNING if reason and kind not in _QUIET else logging.INFO
        words = [part for part in (stream, kind, reason, detail) if part]
        logger.log(level, "camera %s: %s", self._directory.name_of(camera_id), " ".join(words))
        when = at_us or time.time_ns() // 1000
        self._events.publish(Event(when, kind, camera_id, stream, reason, detail, self._node_name))
