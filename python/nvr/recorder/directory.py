"""The node's cameras in memory: who is meant by an id or a name."""

import dataclasses
import difflib
from collections.abc import Iterable

from nvr.catalog.catalog import CatalogCamera
from nvr.errors import CameraNotFound
from nvr.footage.admin import CameraSettings

__all__ = ["CameraDirectory"]


class CameraDirectory:
    """All cameras that the catalog knows, and those that only the stores know."""

    def __init__(
        self, node_name: str, cameras: Iterable[CatalogCamera] = (), footage_of: Iterable[str] = ()
    ) -> None:
        """``footage_of``: ids of cameras in the stores; one that the catalog lost is named by its id."""
        self._node_name = node_name
        self._by_id: dict[str, CatalogCamera] = {}
        for camera in cameras:
            self.put(camera)
        for camera_id in footage_of:
            settings = CameraSettings(name=camera_id, main_url="", enabled=False)
            self._by_id.setdefault(camera_id, CatalogCamera(camera_id, settings, 0, 0, removed_us=0))

    def put(self, camera: CatalogCamera) -> None:
        """Adds or replaces a camera. A copied one whose name is another's already is named by its id.

        One that the node took over as a standby stays: it has the addresses.
        """
        known = self._by_id.get(camera.id)
        if camera.copied_from and known is not None and known.guest:
            return
        name = camera.settings.name
        if camera.copied_from and any(
            other.settings.name == name and other.id != camera.id for other in self.active()
        ):
            settings = dataclasses.replace(camera.settings, name=camera.id)
            camera = dataclasses.replace(camera, settings=settings)
        self._by_id[camera.id] = camera

    def all(self) -> list[CatalogCamera]:
        """All, removed ones too."""
        return list(self._by_id.values())

    def some(self, camera_ids: Iterable[str]) -> list[CatalogCamera]:
        """Those of these ids that are known."""
        return [self._by_id[camera_id] for camera_id in camera_ids if camera_id in self._by_id]

    def active(self) -> list[CatalogCamera]:
        """Those not removed, ordered by name; of two of one name the node's own is first."""
        known = (camera for camera in self._by_id.values() if camera.removed_us is None)
        return sorted(known, key=lambda camera: (camera.settings.name, camera.guest))

    def get(self, camera_id: str) -> CatalogCamera | None:
        """The camera of an id, if it is known."""
        return self._by_id.get(camera_id)

    def name_of(self, camera_id: str) -> str:
        """The camera's name, or its id where there is none."""
        camera = self._by_id.get(camera_id)
        return camera_id if camera is None else camera.settings.name

    def resolve(self, text: str, *, active: bool = False) -> CatalogCamera:
        """The camera that an id, a name or ``node/name`` means. Raises :exc:`CameraNotFound`.

        ``node`` is this one, or that from which the camera is copied. A removed camera is found by its id
        only, and with ``active`` not at all.
        """
        camera = self._by_id.get(text.lower())
        if camera is not None and not (active and camera.removed_us is not None):
            return camera
        node, slash, name = text.rpartition("/")
        cameras = self.active()
        for camera in cameras:
            nodes = {self._node_name, camera.copied_from} - {""}
            if camera.settings.name == name and (not slash or node in nodes):
                return camera
        near = difflib.get_close_matches(name, [camera.settings.name for camera in cameras], n=1)
        hint = f"; did you mean {near[0]}?" if near and near[0] != name else ""
        raise CameraNotFound(
            f"node {self._node_name} has no camera {text[:200]!r}{hint}", field="camera", node=self._node_name
        )
