"""What the network catalog says of the cameras at their home, which takes it over."""

import logging
from typing import Any

from nvr.errors import CameraNotFound, InvalidArgument, NvrError
from nvr.footage.admin import CameraAdmin, CameraChanges, CameraSettings
from nvr.footage.types import Camera, OwnerKind, ReadContext
from nvr.network_catalog.holder import CatalogHolder
from nvr.network_catalog.types import CameraEntry

__all__ = ["AssignedCameras"]

logger = logging.getLogger("nvr.recorder")

_CONTEXT = ReadContext(purpose="catalog")
_FIELDS = ("name", "title", "area", "place", "height_m", "view", "owner")


class AssignedCameras:
    """A node's camera administration under the network catalog.

    What the catalog says of a camera is kept as it says, and not changed here: a
    change would last until the next version only.
    """

    def __init__(self, holder: CatalogHolder, cameras: CameraAdmin, node_id: str) -> None:
        self._holder = holder
        self._cameras = cameras
        self._node_id = node_id

    async def keep(self) -> None:
        """Takes over what each version says, for ever."""
        while True:
            held = self._holder.held
            for entry in held.content.cameras:
                if entry.node_id == self._node_id:
                    await self._take_over(entry)
            await self._holder.changed(held)

    async def _take_over(self, entry: CameraEntry) -> None:
        try:
            _, settings = await self._cameras.get_camera(_CONTEXT, entry.camera_id)
            changes = _changes(entry, settings)
            if changes is not None:
                await self._cameras.update_camera(_CONTEXT, entry.camera_id, changes)
        except CameraNotFound:
            # It is yet to be added here, or was removed.
            logger.debug("the network catalog has camera %s, which this node does not record", entry.name)
        except NvrError as error:
            logger.warning("camera %s: the network catalog cannot be followed: %s", entry.name, error)

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        """See :class:`CameraAdmin`."""
        return await self._cameras.add_camera(context, settings, dry_run=dry_run)

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        """See :class:`CameraAdmin`. Raises :exc:`InvalidArgument` for what the catalog says otherwise."""
        found, settings = await self._cameras.get_camera(context, camera)
        entry = self._entry(found.id)
        if entry is not None:
            against = _changes(entry, changes.apply(settings))
            if against is not None:
                field = next(name for name in _FIELDS if getattr(against, name) is not None)
                raise InvalidArgument(
                    f"{field}: the network catalog says it of {entry.name}; change it there "
                    "(nvr catalog import cameras)",
                    field=field,
                )
        return await self._cameras.update_camera(context, camera, changes, dry_run=dry_run)

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        """See :class:`CameraAdmin`."""
        return await self._cameras.remove_camera(context, camera, dry_run=dry_run)

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        """See :class:`CameraAdmin`."""
        return await self._cameras.get_camera(context, camera)

    def _entry(self, camera_id: str) -> CameraEntry | None:
        cameras = self._holder.held.content.cameras
        own = (each for each in cameras if each.camera_id == camera_id and each.node_id == self._node_id)
        return next(own, None)


def _changes(entry: CameraEntry, settings: CameraSettings) -> CameraChanges | None:
    """What is to change so that the settings say what the catalog does; None: nothing."""
    said: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title or None,
        "area": entry.area or None,
        "place": entry.place,
        "height_m": entry.height_m,
        "view": entry.view,
        "owner": None if entry.owner is OwnerKind.UNKNOWN else entry.owner,
    }
    changed = {
        name: value for name, value in said.items() if value is not None and value != getattr(settings, name)
    }
    return CameraChanges(**changed) if changed else None
