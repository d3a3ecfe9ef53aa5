"""Keeps the copies of one ``[[copy]]`` of the settings filled for as long as the node is open."""

import asyncio
import logging

from nvr.catalog.catalog import Catalog
from nvr.errors import NvrError
from nvr.footage.source import FootageSource
from nvr.footage.types import Camera, ReadContext
from nvr.recorder.backfill import Backfill, CopyJob
from nvr.recorder.copy_settings import CopySettings
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.told import ToldCameras

__all__ = ["CopyKeeper"]

logger = logging.getLogger("nvr.recorder")

_AT_ONCE = 4
_MOST_CAMERAS = 100_000


class CopyKeeper:
    """Looks again and again at what the source has, and fetches it. A source that is away costs nothing."""

    def __init__(
        self,
        settings: CopySettings,
        source: FootageSource,
        backfill: Backfill,
        *,
        catalog: Catalog,
        directory: CameraDirectory,
        told: ToldCameras,
        pool: ReadPool,
        since_us: int,
    ) -> None:
        """``since_us``: how far back; no further than retention keeps."""
        self._settings = settings
        self._source = source
        self._backfill = backfill
        self._catalog = catalog
        self._directory = directory
        self._told = told
        self._pool = pool
        self._since_us = since_us
        self._said = ""

    async def run(self) -> None:
        """For ever: whatever fails is tried again."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.every / 1_000_000)

    async def look(self) -> None:
        """One pass over all cameras, a few at once."""
        try:
            node = await self._source.node()
            cameras = await self._cameras()
            at_once = asyncio.Semaphore(_AT_ONCE)
            async with asyncio.TaskGroup() as passes:
                for camera in cameras:
                    passes.create_task(self._fill(camera, node.name, at_once))
        except NvrError as error:
            self._say(f"copies from {self._settings.source}: {error}")
        else:
            self._say("")

    async def _cameras(self) -> list[Camera]:
        context = ReadContext(purpose="copy")
        steps = self._source.list_cameras(context, self._settings.cameras)
        cameras = [step async for step in steps if isinstance(step, Camera)]
        return cameras[:_MOST_CAMERAS]

    async def _fill(self, camera: Camera, node: str, at_once: asyncio.Semaphore) -> None:
        job = CopyJob(self._source, camera.id, self._settings.stream, self._since_us)
        status = self._backfill.status(camera.id, self._settings.stream)
        async with at_once:
            try:
                await self._keep(camera, node)
                before = status.fragments
                try:
                    await self._backfill.fill(job)
                finally:
                    if status.fragments > before:
                        self._told.changed(camera.id)
            except NvrError as error:
                # One camera's trouble is not the others'.
                self._say(f"copy of camera {camera.name} from {self._settings.source}: {error}")

    async def _keep(self, camera: Camera, node: str) -> None:
        """What is to be told of the camera when its source is away."""
        copied = await self._pool.run(self._catalog.keep_copied, camera, camera.node or node)
        if copied is not None:
            self._directory.put(copied)

    def _say(self, what: str) -> None:
        """Into the log, once for each change."""
        if what and what != self._said:
            logger.warning("%s", what)
        self._said = what
