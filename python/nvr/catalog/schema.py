"""The catalog's tables, as an ordered list of steps from nothing to now.

``PRAGMA user_version`` is the number of steps done. A step that has been
released never changes: a later one corrects it. The SQL keeps to what
PostgreSQL understands too, ``STRICT`` apart.
"""

import sqlite3
from collections.abc import Sequence

from nvr.errors import StoreError

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS: Sequence[str] = (
    # 1: cameras. A removed camera stays as a row without addresses, so that its
    # id never returns and its footage stays attributable; its name is free again.
    """
    CREATE TABLE camera (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        title TEXT NOT NULL,
        main_masked TEXT NOT NULL,
        main_sealed TEXT NOT NULL,
        sub_masked TEXT NOT NULL,
        sub_sealed TEXT NOT NULL,
        latitude REAL,
        longitude REAL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_us INTEGER NOT NULL,
        changed_us INTEGER NOT NULL,
        removed_us INTEGER,
        CHECK ((latitude IS NULL) = (longitude IS NULL))
    ) STRICT;
    CREATE UNIQUE INDEX camera_name ON camera (name) WHERE removed_us IS NULL;
    CREATE TABLE fact (
        name TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    """,
    # 2: where a camera looks, its area, and whose it is.
    """
    ALTER TABLE camera ADD COLUMN height_m REAL;
    ALTER TABLE camera ADD COLUMN direction_deg REAL;
    ALTER TABLE camera ADD COLUMN angle_deg REAL;
    ALTER TABLE camera ADD COLUMN reach_m REAL;
    ALTER TABLE camera ADD COLUMN area TEXT NOT NULL DEFAULT '';
    ALTER TABLE camera ADD COLUMN owner TEXT NOT NULL DEFAULT 'unknown';
    """,
    # 3: cameras of other nodes whose footage is copied here, as those nodes describe
    # them: what is told of them when their node is away.
    """
    CREATE TABLE copied_camera (
        id TEXT NOT NULL PRIMARY KEY,
        node TEXT NOT NULL,
        name TEXT NOT NULL,
        title TEXT NOT NULL,
        latitude REAL,
        longitude REAL,
        height_m REAL,
        direction_deg REAL,
        angle_deg REAL,
        reach_m REAL,
        area TEXT NOT NULL,
        owner TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        changed_us INTEGER NOT NULL,
        CHECK ((latitude IS NULL) = (longitude IS NULL))
    ) STRICT;
    """,
    # 4: leases. A camera without a row is held under epoch 0. A row outlives the
    # camera: an epoch that was once known is never taken for a new one.
    """
    CREATE TABLE lease (
        camera_id TEXT NOT NULL PRIMARY KEY,
        epoch INTEGER NOT NULL CHECK (epoch >= 0),
        held INTEGER NOT NULL CHECK (held IN (0, 1)),
        taker_id TEXT NOT NULL,
        since_us INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE prepared (
        camera_id TEXT NOT NULL PRIMARY KEY,
        sender_id TEXT NOT NULL,
        sealed TEXT NOT NULL,
        changed_us INTEGER NOT NULL
    ) STRICT;
    """,
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Brings a database to the last step; each step happens wholly or not at all.

    Raises :exc:`StoreError` for a database of a later version of the software.
    """
    done = version(connection)
    if done > len(migrations):
        raise StoreError(
            f"the catalog has version {done} and this software knows {len(migrations)}: "
            "it was written by a later version; install that one again"
        )
    for number in range(done + 1, len(migrations) + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            if version(connection) < number:
                for statement in _statements(migrations[number - 1]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def version(connection: sqlite3.Connection) -> int:
    """How many steps the database has done."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """The statements of a script, one by one: ``executescript`` would end the transaction."""
    found, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun)
            begun = ""
    return found
