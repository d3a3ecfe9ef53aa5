"""What an authority must not forget, in SQLite: on disk before anything follows from it."""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from nvr.errors import StoreError
from nvr.gateway.failover.types import Change, LeaseRecord

__all__ = ["Ledger"]

FILE_NAME = "leases.sqlite"
_VERSION = 1
_COLUMNS = "camera_id, name, home, holder, epoch, placed, change, came_from, retired"
_SCHEMA = """
CREATE TABLE lease (
    group_name TEXT NOT NULL,
    camera_id TEXT NOT NULL,
    name TEXT NOT NULL,
    home TEXT NOT NULL,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    placed TEXT NOT NULL,
    change TEXT NOT NULL,
    came_from TEXT NOT NULL,
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    PRIMARY KEY (group_name, camera_id)
) STRICT
"""


class Ledger:
    """The file ``leases.sqlite`` in a gateway's data folder. Calls block, and may come from any thread."""

    def __init__(self, folder: Path) -> None:
        """Opens or makes it. Raises :exc:`StoreError`, also for a file of a later version."""
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute(_SCHEMA)
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if version > _VERSION:
            self._db.close()
            raise StoreError(
                f"{self._path}: written by a later version of the software; install that one again",
                filename=str(self._path),
            )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def records(self, group: str) -> list[LeaseRecord]:
        """All of a group. Raises :exc:`StoreError`."""
        try:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {_COLUMNS} FROM lease WHERE group_name = ?",  # noqa: S608
                    (group,),
                ).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return [
            LeaseRecord(
                camera_id=camera_id,
                name=name,
                home=home,
                holder=holder,
                epoch=epoch,
                placed=placed,
                change=cast("Change", change),
                came_from=came_from,
                retired=bool(retired),
            )
            for camera_id, name, home, holder, epoch, placed, change, came_from, retired in rows
        ]

    def keep(self, group: str, records: Iterable[LeaseRecord]) -> None:
        """Keeps all of them or none; they are on disk when it returns. Raises :exc:`StoreError`.

        An epoch in the file never goes down, whatever is asked.
        """
        rows: Sequence[tuple[object, ...]] = [
            (
                group,
                each.camera_id,
                each.name,
                each.home,
                each.holder,
                each.epoch,
                each.placed,
                each.change,
                each.came_from,
                int(each.retired),
            )
            for each in records
        ]
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(
                        f"INSERT INTO lease (group_name, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
                        "ON CONFLICT (group_name, camera_id) DO UPDATE SET name = excluded.name, "
                        "home = excluded.home, holder = excluded.holder, epoch = excluded.epoch, "
                        "placed = excluded.placed, change = excluded.change, "
                        "came_from = excluded.came_from, retired = excluded.retired "
                        "WHERE excluded.epoch >= lease.epoch",
                        rows,
                    )
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"{self._path}: the ledger of leases: {error}", filename=str(self._path))
