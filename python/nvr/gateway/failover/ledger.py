"""What an authority must not forget, in SQLite: on disk before anything follows from it."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from nvr.catalog.database import Database
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
        path = folder / FILE_NAME

        def prepare(connection: sqlite3.Connection) -> None:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > _VERSION:
                raise StoreError(
                    f"{path}: written by a later version of the software; install that one again",
                    filename=str(path),
                )
            if version == 0:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("COMMIT")

        self._database = Database(path, "the ledger of leases", prepare)
        self._db = self._database.connection

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def records(self, group: str) -> list[LeaseRecord]:
        """All of a group. Raises :exc:`StoreError`."""
        with self._database.reading():
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM lease WHERE group_name = ?",  # noqa: S608
                (group,),
            ).fetchall()
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
        with self._database.transaction():
            self._db.executemany(
                f"INSERT INTO lease (group_name, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
                "ON CONFLICT (group_name, camera_id) DO UPDATE SET name = excluded.name, "
                "home = excluded.home, holder = excluded.holder, epoch = excluded.epoch, "
                "placed = excluded.placed, change = excluded.change, "
                "came_from = excluded.came_from, retired = excluded.retired "
                "WHERE excluded.epoch >= lease.epoch",
                rows,
            )
