"""The cameras of a node, in SQLite.

Calls block, and may come from any thread. What a call changed is on disk when
it returns. Addresses are sealed to the node's key; beside each stands its form
without passwords, so that a catalog whose key is lost can be entered again.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nvr.catalog.address import parse_address
from nvr.catalog.database import Database
from nvr.catalog.ids import uuid7
from nvr.catalog.schema import migrate
from nvr.errors import CameraExists, CameraNotFound, InvalidArgument, StoreError
from nvr.footage.admin import CameraSettings, mask_password, restore_password
from nvr.footage.types import Camera, OwnerKind, Place, View
from nvr.security.node_key import NodeKey
from nvr.security.seal import seal, unseal

__all__ = ["Catalog", "CatalogCamera", "check_settings"]

FILE_NAME = "catalog.sqlite"
_NAME = re.compile(r"[a-z0-9-]{1,63}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AREA = re.compile(r"[A-Za-z0-9._-]{0,63}")
_MAX_TITLE = 200
_IMPORTED = "cameras_imported"
_SHOWN = "name, title, latitude, longitude, height_m, direction_deg, angle_deg, reach_m, area, owner"
_SHOWN_COUNT = len(_SHOWN.split(","))
_COLUMNS = (
    f"id, {_SHOWN}, main_masked, main_sealed, sub_masked, sub_sealed, enabled, "
    "created_us, changed_us, removed_us"
)
_COPIED = f"SELECT id, {_SHOWN}, node, created_us, changed_us FROM copied_camera"  # noqa: S608


@dataclass(frozen=True, slots=True)
class CatalogCamera:
    """A camera, or what is left of a removed one (its addresses are empty).

    ``epoch`` and ``held``: of its lease (:mod:`nvr.catalog.leases`); ``guest``: its
    home is another node, and this one has taken it.
    """

    id: str
    settings: CameraSettings
    created_us: int
    changed_us: int
    removed_us: int | None = None
    copied_from: str = ""
    """Name of the node that records it, when this one only keeps a copy."""
    epoch: int = 0
    held: bool = True
    guest: bool = False


def check_settings(settings: CameraSettings) -> None:
    """Raises :exc:`InvalidArgument` for settings that no camera can have."""
    _check_shown(settings)
    parse_address(restore_password(settings.main_url, "", field="main_url"), field="main_url")
    if settings.sub_url:
        parse_address(restore_password(settings.sub_url, "", field="sub_url"), field="sub_url")


def _check_shown(settings: CameraSettings) -> None:
    name, title, place, view = settings.name, settings.title, settings.place, settings.view
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"name: {name[:80]!r} is not a camera name: 1 to 63 of a-z, 0-9 and - "
            "(the title may be in any script)",
            field="name",
        )
    if _UUID.fullmatch(name):
        raise InvalidArgument("name: it looks like a camera's id; choose a word", field="name")
    if len(title) > _MAX_TITLE or not title.isprintable():
        raise InvalidArgument(f"title: at most {_MAX_TITLE} printable characters", field="title")
    # Also false for NaN.
    if place and not (-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180):
        raise InvalidArgument("place: latitude is -90 to 90 and longitude -180 to 180 degrees", field="place")
    if settings.height_m is not None and not -500 <= settings.height_m <= 9000:
        raise InvalidArgument("height_m: -500 to 9,000 metres", field="height_m")
    if view and not (0 <= view.direction_deg <= 360 and 1 <= view.angle_deg <= 360):
        raise InvalidArgument("view: direction is 0 to 360 and angle 1 to 360 degrees", field="view")
    if view and not 0 <= view.reach_m <= 20_000:
        raise InvalidArgument("view: reach is 0 (unknown) to 20,000 metres", field="view")
    if not _AREA.fullmatch(settings.area):
        raise InvalidArgument(
            f"area: {settings.area[:80]!r} is not the code of an area: at most 63 of A-Z a-z 0-9 . _ -",
            field="area",
        )


class Catalog:
    """The database file ``catalog.sqlite`` in a node's data folder."""

    def __init__(self, folder: Path, key: NodeKey, *, now_us: Callable[[], int] | None = None) -> None:
        """Opens or makes it, and brings it to the newest schema. Raises :exc:`StoreError`."""
        path = folder / FILE_NAME
        self._key = key
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        try:
            # Addresses and their user names are nobody else's business.
            path.touch(mode=0o600)
        except OSError as error:
            raise StoreError(
                f"{path}: the catalog cannot be opened: {error}", error.errno, str(path)
            ) from error
        self._database = Database(path, "the catalog", _prepare)
        self._db = self._database.connection

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def cameras(self, *, removed: bool = False) -> list[CatalogCamera]:
        """All cameras, ordered by name; with ``removed`` also those that were."""
        where = "" if removed else "WHERE removed_us IS NULL"
        with self._database.reading():
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM camera {where} ORDER BY name, id"  # noqa: S608
            ).fetchall()
        return [self._camera(row) for row in rows]

    def camera(self, camera_id: str) -> CatalogCamera:
        """One camera, removed or not. Raises :exc:`CameraNotFound`."""
        with self._database.reading():
            return self._get(camera_id)

    def add(self, settings: CameraSettings) -> CatalogCamera:
        """Adds a camera under a new id. Raises :exc:`CameraExists`, :exc:`InvalidArgument`."""
        check_settings(settings)
        with self._database.transaction():
            return self._insert(settings)

    def update(self, camera_id: str, settings: CameraSettings) -> CatalogCamera:
        """Replaces a camera's settings. Raises as :meth:`add` does, and :exc:`CameraNotFound`."""
        check_settings(settings)
        with self._database.transaction():
            old = self._get(camera_id)
            if old.removed_us is not None:
                raise CameraNotFound(f"the camera {camera_id} was removed", field="camera")
            self._refuse_taken(settings.name, camera_id)
            values = self._values(camera_id, settings)
            self._db.execute(
                "UPDATE camera SET name = ?, title = ?, latitude = ?, longitude = ?, height_m = ?, "
                "direction_deg = ?, angle_deg = ?, reach_m = ?, area = ?, owner = ?, main_masked = ?, "
                "main_sealed = ?, sub_masked = ?, sub_sealed = ?, enabled = ?, changed_us = ? WHERE id = ?",
                # Standbys keep the newest settings by it, also after the clock was set back.
                (*values, max(self._now_us(), old.changed_us + 1), camera_id),
            )
            return self._get(camera_id)

    def remove(self, camera_id: str) -> CatalogCamera:
        """Forgets a camera's addresses and keeps its id for its footage. Raises :exc:`CameraNotFound`."""
        with self._database.transaction():
            old = self._get(camera_id)
            if old.removed_us is None:
                now = self._now_us()
                self._db.execute(
                    "UPDATE camera SET main_masked = '', main_sealed = '', sub_masked = '', sub_sealed = '', "
                    "enabled = 0, changed_us = ?, removed_us = ? WHERE id = ?",
                    (now, now, camera_id),
                )
            return self._get(camera_id)

    def adopt(self, camera_id: str, settings: CameraSettings) -> CatalogCamera:
        """Makes a camera that came from another node this one's own, under its id.

        Twice is as good as once. Raises as :meth:`add` does.
        """
        check_settings(settings)
        with self._database.transaction():
            query = "SELECT removed_us IS NULL, created_us, changed_us FROM camera WHERE id = ?"
            row = self._db.execute(query, (camera_id,)).fetchone()
            if row is not None and row[0]:
                return self._get(camera_id)
            self._refuse_taken(settings.name, camera_id)
            now = self._now_us()
            # One that was here before keeps its first date.
            created_us, changed_us = (now, now) if row is None else (row[1], max(now, row[2] + 1))
            values = (camera_id, *self._values(camera_id, settings), created_us, changed_us, None)
            self._db.execute(
                f"INSERT OR REPLACE INTO camera ({_COLUMNS}) VALUES ({_marks(values)})",  # noqa: S608
                values,
            )
            # Its footage was copied from there so far; it is this node's now.
            self._db.execute("DELETE FROM copied_camera WHERE id = ?", (camera_id,))
            return self._get(camera_id)

    def import_once(self, cameras: Iterable[CameraSettings]) -> list[CatalogCamera] | None:
        """Adds cameras when this has never been done; None when it has. All or none.

        A name that the catalog knows already is left as it is.
        """
        wanted = list(cameras)
        for settings in wanted:
            check_settings(settings)
        with self._database.transaction():
            if self._db.execute("SELECT 1 FROM fact WHERE name = ?", (_IMPORTED,)).fetchone():
                return None
            known = {
                row[0]
                for row in self._db.execute("SELECT name FROM camera WHERE removed_us IS NULL").fetchall()
            }
            added = [self._insert(settings) for settings in wanted if settings.name not in known]
            self._db.execute("INSERT INTO fact (name, value) VALUES (?, ?)", (_IMPORTED, str(self._now_us())))
            return added

    def copied_cameras(self) -> list[CatalogCamera]:
        """Cameras of other nodes whose footage is copied here, ordered by name."""
        with self._database.reading():
            rows = self._db.execute(f"{_COPIED} ORDER BY name, id").fetchall()
        return [_copied(row) for row in rows]

    def keep_copied(self, camera: Camera, node: str) -> CatalogCamera | None:
        """Keeps what another node says of its camera. None: nothing is new, or it is a camera of this node.

        Raises :exc:`InvalidArgument` for what no camera can be called.
        """
        if not _UUID.fullmatch(camera.id):
            raise InvalidArgument(f"camera: {camera.id[:80]!r} is not a camera's id", field="camera")
        if not _NAME.fullmatch(node):
            raise InvalidArgument(f"node: {node[:80]!r} is not a node's name", field="node")
        settings = CameraSettings(
            name=camera.name,
            main_url="",
            title=camera.title,
            place=camera.place,
            height_m=camera.height_m,
            view=camera.view,
            area=camera.area,
            owner=camera.owner,
            enabled=False,
        )
        # A node names cameras whose name is taken by their id.
        _check_shown(replace(settings, name="-") if camera.name == camera.id else settings)
        shown = (*_shown(settings), node)
        with self._database.transaction():
            if self._db.execute("SELECT 1 FROM camera WHERE id = ?", (camera.id,)).fetchone():
                return None
            row = self._db.execute(f"{_COPIED} WHERE id = ?", (camera.id,)).fetchone()
            if row is not None and row[1:-2] == shown:
                return None
            now = self._now_us()
            created_us = now if row is None else row[-2]
            new = (camera.id, *shown, created_us, now)
            self._db.execute(
                f"INSERT OR REPLACE INTO copied_camera (id, {_SHOWN}, node, created_us, changed_us) "  # noqa: S608
                f"VALUES ({_marks(new)})",
                new,
            )
            return CatalogCamera(camera.id, settings, created_us, now, copied_from=node, held=False)

    def _insert(self, settings: CameraSettings) -> CatalogCamera:
        self._refuse_taken(settings.name, "")
        camera_id, now = uuid7(), self._now_us()
        row = (camera_id, *self._values(camera_id, settings), now, now, None)
        self._db.execute(f"INSERT INTO camera ({_COLUMNS}) VALUES ({_marks(row)})", row)  # noqa: S608
        return CatalogCamera(camera_id, settings, now, now)

    def _refuse_taken(self, name: str, but_for: str) -> None:
        query = "SELECT 1 FROM camera WHERE name = ? AND removed_us IS NULL AND id <> ?"
        if self._db.execute(query, (name, but_for)).fetchone():
            raise CameraExists(
                f"a camera named {name} exists already: choose another name, or change that one",
                field="name",
                facts={"name": name},
            )

    def _get(self, camera_id: str) -> CatalogCamera:
        query = f"SELECT {_COLUMNS} FROM camera WHERE id = ?"  # noqa: S608
        row = self._db.execute(query, (camera_id,)).fetchone()
        if row is None:
            raise CameraNotFound(f"no camera has the id {camera_id[:80]}", field="camera")
        return self._camera(row)

    def _values(self, camera_id: str, settings: CameraSettings) -> tuple[object, ...]:
        return (
            *_shown(settings),
            mask_password(settings.main_url),
            self._sealed(settings.main_url, camera_id, "main"),
            mask_password(settings.sub_url),
            self._sealed(settings.sub_url, camera_id, "sub"),
            int(settings.enabled),
        )

    def _sealed(self, url: str, camera_id: str, stream: str) -> str:
        return seal(self._key, url, bound_to=f"{camera_id}/{stream}") if url else ""

    def _unsealed(self, text: str, camera_id: str, stream: str) -> str:
        return unseal(self._key, text, bound_to=f"{camera_id}/{stream}") if text else ""

    def _camera(self, row: tuple[object, ...]) -> CatalogCamera:
        camera_id, *shown = row[: _SHOWN_COUNT + 1]
        _, main, _, sub, enabled, created, changed, removed = row[_SHOWN_COUNT + 1 :]
        settings = replace(
            _settings(shown),
            main_url=self._unsealed(str(main), str(camera_id), "main"),
            sub_url=self._unsealed(str(sub), str(camera_id), "sub"),
            enabled=bool(enabled),
        )
        return CatalogCamera(
            str(camera_id),
            settings,
            int(str(created)),
            int(str(changed)),
            None if removed is None else int(str(removed)),
        )


def _marks(row: Sequence[object]) -> str:
    return ", ".join("?" * len(row))


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection)


def _shown(settings: CameraSettings) -> tuple[object, ...]:
    """The values of the columns ``_SHOWN``, as SQLite gives them back."""
    place, view = settings.place, settings.view
    return (
        settings.name,
        settings.title,
        *((None, None) if place is None else (float(place.latitude), float(place.longitude))),
        None if settings.height_m is None else float(settings.height_m),
        *_view_values(view),
        settings.area,
        settings.owner.value,
    )


def _view_values(view: View | None) -> tuple[float | None, ...]:
    if view is None:
        return None, None, None
    return float(view.direction_deg), float(view.angle_deg), float(view.reach_m)


def _settings(shown: Sequence[object]) -> CameraSettings:
    """The part of a camera's settings that others see."""
    name, title, latitude, longitude, height, direction, angle, reach, area, owner = shown
    place = view = None
    if isinstance(latitude, float) and isinstance(longitude, float):
        place = Place(latitude, longitude)
    if isinstance(direction, float) and isinstance(angle, float) and isinstance(reach, float):
        view = View(direction, angle, reach)
    return CameraSettings(
        name=str(name),
        main_url="",
        title=str(title),
        place=place,
        height_m=height if isinstance(height, float) else None,
        view=view,
        area=str(area),
        owner=_owner(str(owner)),
        enabled=False,
    )


def _copied(row: tuple[object, ...]) -> CatalogCamera:
    camera_id, *shown = row[: _SHOWN_COUNT + 1]
    node, created, changed = row[_SHOWN_COUNT + 1 :]
    return CatalogCamera(
        str(camera_id),
        _settings(shown),
        int(str(created)),
        int(str(changed)),
        copied_from=str(node),
        held=False,
    )


def _owner(text: str) -> OwnerKind:
    try:
        return OwnerKind(text)
    except ValueError:
        return OwnerKind.UNKNOWN
