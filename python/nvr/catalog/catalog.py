"""The cameras of a node, in SQLite.

Calls block, and may come from any thread. What a call changed is on disk when
it returns. Addresses are sealed to the node's key; beside each stands its form
without passwords, so that a catalog whose key is lost can be entered again.
"""

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nvr.catalog.address import parse_address
from nvr.catalog.ids import uuid7
from nvr.catalog.schema import migrate
from nvr.errors import CameraExists, CameraNotFound, InvalidArgument, StoreError
from nvr.footage.admin import CameraSettings, mask_password, restore_password
from nvr.footage.types import Place
from nvr.security.node_key import NodeKey
from nvr.security.seal import seal, unseal

__all__ = ["Catalog", "CatalogCamera", "check_settings"]

FILE_NAME = "catalog.sqlite"
_NAME = re.compile(r"[a-z0-9-]{1,63}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_TITLE = 200
_IMPORTED = "cameras_imported"
_COLUMNS = (
    "id, name, title, main_masked, main_sealed, sub_masked, sub_sealed, "
    "latitude, longitude, enabled, created_us, changed_us, removed_us"
)


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
    epoch: int = 0
    held: bool = True
    guest: bool = False


def check_settings(settings: CameraSettings) -> None:
    """Raises :exc:`InvalidArgument` for settings that no camera can have."""
    name = settings.name
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"name: {name[:80]!r} is not a camera name: 1 to 63 of a-z, 0-9 and - "
            "(the title may be in any script)",
            field="name",
        )
    if _UUID.fullmatch(name):
        raise InvalidArgument("name: it looks like a camera's id; choose a word", field="name")
    if len(settings.title) > _MAX_TITLE or not settings.title.isprintable():
        raise InvalidArgument(f"title: at most {_MAX_TITLE} printable characters", field="title")
    parse_address(restore_password(settings.main_url, "", field="main_url"), field="main_url")
    if settings.sub_url:
        parse_address(restore_password(settings.sub_url, "", field="sub_url"), field="sub_url")
    place = settings.place
    # Also false for NaN.
    if place and not (-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180):
        raise InvalidArgument("place: latitude is -90 to 90 and longitude -180 to 180 degrees", field="place")


class Catalog:
    """The database file ``catalog.sqlite`` in a node's data folder."""

    def __init__(self, folder: Path, key: NodeKey, *, now_us: Callable[[], int] | None = None) -> None:
        """Opens or makes it, and brings it to the newest schema. Raises :exc:`StoreError`."""
        self._path = folder / FILE_NAME
        self._key = key
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._lock = threading.Lock()
        try:
            # Addresses and their user names are nobody else's business.
            self._path.touch(mode=0o600)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self._path}: the catalog cannot be opened: {error}",
                getattr(error, "errno", None),
                str(self._path),
            ) from error
        try:
            with self._errors():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def cameras(self, *, removed: bool = False) -> list[CatalogCamera]:
        """All cameras, ordered by name; with ``removed`` also those that were."""
        where = "" if removed else "WHERE removed_us IS NULL"
        with self._lock, self._errors():
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM camera {where} ORDER BY name, id"  # noqa: S608
            ).fetchall()
        return [self._camera(row) for row in rows]

    def camera(self, camera_id: str) -> CatalogCamera:
        """One camera, removed or not. Raises :exc:`CameraNotFound`."""
        with self._lock, self._errors():
            return self._get(camera_id)

    def add(self, settings: CameraSettings) -> CatalogCamera:
        """Adds a camera under a new id. Raises :exc:`CameraExists`, :exc:`InvalidArgument`."""
        check_settings(settings)
        with self._transaction():
            return self._insert(settings)

    def update(self, camera_id: str, settings: CameraSettings) -> CatalogCamera:
        """Replaces a camera's settings. Raises as :meth:`add` does, and :exc:`CameraNotFound`."""
        check_settings(settings)
        with self._transaction():
            old = self._get(camera_id)
            if old.removed_us is not None:
                raise CameraNotFound(f"the camera {camera_id} was removed", field="camera")
            self._refuse_taken(settings.name, camera_id)
            values = self._values(camera_id, settings)
            self._db.execute(
                "UPDATE camera SET name = ?, title = ?, main_masked = ?, main_sealed = ?, sub_masked = ?, "
                "sub_sealed = ?, latitude = ?, longitude = ?, enabled = ?, changed_us = ? WHERE id = ?",
                # Standbys keep the newest settings by it, also after the clock was set back.
                (*values, max(self._now_us(), old.changed_us + 1), camera_id),
            )
            return self._get(camera_id)

    def remove(self, camera_id: str) -> CatalogCamera:
        """Forgets a camera's addresses and keeps its id for its footage. Raises :exc:`CameraNotFound`."""
        with self._transaction():
            old = self._get(camera_id)
            if old.removed_us is None:
                now = self._now_us()
                self._db.execute(
                    "UPDATE camera SET main_masked = '', main_sealed = '', sub_masked = '', sub_sealed = '', "
                    "enabled = 0, changed_us = ?, removed_us = ? WHERE id = ?",
                    (now, now, camera_id),
                )
            return self._get(camera_id)

    def import_once(self, cameras: Iterable[CameraSettings]) -> list[CatalogCamera] | None:
        """Adds cameras when this has never been done; None when it has. All or none.

        A name that the catalog knows already is left as it is.
        """
        wanted = list(cameras)
        for settings in wanted:
            check_settings(settings)
        with self._transaction():
            if self._db.execute("SELECT 1 FROM fact WHERE name = ?", (_IMPORTED,)).fetchone():
                return None
            known = {
                row[0]
                for row in self._db.execute("SELECT name FROM camera WHERE removed_us IS NULL").fetchall()
            }
            added = [self._insert(settings) for settings in wanted if settings.name not in known]
            self._db.execute("INSERT INTO fact (name, value) VALUES (?, ?)", (_IMPORTED, str(self._now_us())))
            return added

    def _insert(self, settings: CameraSettings) -> CatalogCamera:
        self._refuse_taken(settings.name, "")
        camera_id, now = uuid7(), self._now_us()
        marks = ", ".join("?" * 13)
        self._db.execute(
            f"INSERT INTO camera ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (camera_id, *self._values(camera_id, settings), now, now, None),
        )
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
        place = settings.place
        return (
            settings.name,
            settings.title,
            mask_password(settings.main_url),
            self._sealed(settings.main_url, camera_id, "main"),
            mask_password(settings.sub_url),
            self._sealed(settings.sub_url, camera_id, "sub"),
            None if place is None else place.latitude,
            None if place is None else place.longitude,
            int(settings.enabled),
        )

    def _sealed(self, url: str, camera_id: str, stream: str) -> str:
        return seal(self._key, url, bound_to=f"{camera_id}/{stream}") if url else ""

    def _unsealed(self, text: str, camera_id: str, stream: str) -> str:
        return unseal(self._key, text, bound_to=f"{camera_id}/{stream}") if text else ""

    def _camera(self, row: tuple[object, ...]) -> CatalogCamera:
        camera_id, name, title, _, main, _, sub, latitude, longitude, enabled, created, changed, removed = row
        place = None
        if isinstance(latitude, float) and isinstance(longitude, float):
            place = Place(latitude, longitude)
        settings = CameraSettings(
            name=str(name),
            main_url=self._unsealed(str(main), str(camera_id), "main"),
            sub_url=self._unsealed(str(sub), str(camera_id), "sub"),
            title=str(title),
            place=place,
            enabled=bool(enabled),
        )
        return CatalogCamera(
            str(camera_id),
            settings,
            int(str(created)),
            int(str(changed)),
            None if removed is None else int(str(removed)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: the catalog: {error}", filename=str(self._path)) from error
