"""Keeps a recorder's directory in step with its cameras: what the node above is told."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nvr.catalog.catalog import CatalogCamera
from nvr.directory.directory import Directory
from nvr.directory.types import CameraEntry
from nvr.errors import StoreError
from nvr.footage.types import Camera
from nvr.recorder.camera_view import camera_view
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["ToldCameras"]

# Runs of many cameras begin and end together when a switch or a disk fails.
_GATHER_S = 0.2
_AGAIN_S = 10.0

logger = logging.getLogger("nvr.recorder")


class ToldCameras:
    """Writes changes of cameras, their states and their footage into the directory."""

    def __init__(
        self,
        directory: Directory,
        cameras: CameraDirectory,
        *,
        store: "_core.Store",
        ingest: "_core.Ingest",
        pool: ReadPool,
        node_name: str,
    ) -> None:
        self._directory = directory
        self._cameras = cameras
        self._store = store
        self._ingest = ingest
        self._pool = pool
        self._node_name = node_name
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    async def tell_all(self) -> None:
        """All cameras anew; those that are known no more are gone."""
        cameras = self._cameras.all()
        await self._tell(cameras)
        known = {camera.id for camera in cameras}
        self._directory.remove_cameras(self._directory.own_camera_ids() - known)

    def changed(self, camera_id: str) -> None:
        """Something about a camera has changed; it is told soon."""
        self._changed.add(camera_id)
        self._wake.set()

    async def keep_telling(self) -> None:
        """Tells what has changed, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_S)
            self._wake.clear()
            changed, self._changed = self._changed, set()
            try:
                await self._tell(self._cameras.some(changed))
            except StoreError as error:
                # A full disk costs what the node above knows for now, and no recording.
                logger.warning("changes of cameras wait to be told: %s", error.message)
                self._changed |= changed
                self._wake.set()
                await asyncio.sleep(_AGAIN_S)

    async def _tell(self, cameras: Iterable[CatalogCamera]) -> None:
        told = list(cameras)
        views = await self._pool.run(self._views, told)
        self._directory.put_cameras(
            CameraEntry("", view, assigned=camera.held, epoch=camera.epoch)
            for camera, view in zip(told, views, strict=True)
            if view.streams
        )
        self._directory.remove_cameras(view.id for view in views if not view.streams)

    def _views(self, cameras: Iterable[CatalogCamera]) -> list[Camera]:
        """With their states and footage. Blocks."""
        status = {(each.camera_id, each.stream): each for each in self._ingest.status()}
        range_of: Callable[[str, str], tuple[int, int] | None] = self._store.range
        return [camera_view(camera, self._node_name, status, range_of) for camera in cameras]
