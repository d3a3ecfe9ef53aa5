"""The directory's tables, in SQLite with its R*Tree.

A directory can always be told anew by the nodes below: a file of another version
is made anew instead of migrated. What is gone stays as a row without content (a
tombstone), so that those above can be told of it.

A power failure may cost the newest changes, and their versions would be given to
others then. So a file that was not closed gets another epoch: who is told of it
begins anew.
"""

import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path

from nvr.errors import StoreError

__all__ = ["close_database", "open_database"]

VERSION = 2

_TABLES = """
CREATE TABLE fact (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- Where a child's batches stand. sweeping: of a snapshot that has not come to its end.
CREATE TABLE child (
    id TEXT NOT NULL PRIMARY KEY,
    epoch TEXT NOT NULL,
    version INTEGER NOT NULL,
    sweeping INTEGER NOT NULL
) STRICT;

CREATE TABLE node (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    child TEXT NOT NULL,
    entry BLOB NOT NULL,
    kept INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX node_version ON node (version);

-- One row for each node that has the camera. "first": the row that stands for all rows of the
-- camera: of the node that is to record it, else of the higher epoch. Its "removed" (from all) and its
-- times (of the main and the sub-stream: 0 to 0 without footage; the greatest integer as newest while
-- it records) are those of all rows together.
CREATE TABLE camera (
    key INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node (key),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    area TEXT NOT NULL,
    latitude REAL,
    longitude REAL,
    assigned INTEGER NOT NULL,
    state TEXT NOT NULL,
    first INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    main_oldest INTEGER NOT NULL,
    main_newest INTEGER NOT NULL,
    sub_oldest INTEGER NOT NULL,
    sub_newest INTEGER NOT NULL,
    entry BLOB NOT NULL,
    kept INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (node, id)
) STRICT;
CREATE INDEX camera_id ON camera (id) WHERE NOT gone;
CREATE INDEX camera_other ON camera (name, id) WHERE NOT first AND NOT gone;
CREATE INDEX camera_order ON camera (name, id, removed) WHERE first;
CREATE INDEX camera_area ON camera (area, name, id, removed) WHERE first;
CREATE INDEX camera_version ON camera (version);
CREATE INDEX camera_gone ON camera (version) WHERE gone;

-- Where cameras stand, and the bounds of what they show, by first rows; one whose view crosses the 180th
-- meridian is in "shown" twice, the second time under its negative key.
CREATE VIRTUAL TABLE stands USING rtree (key, south, north, west, east);
CREATE VIRTUAL TABLE shown USING rtree (key, south, north, west, east);
"""


def open_database(path: Path | None) -> sqlite3.Connection:
    """The database, made where there is none of this version. Raises :exc:`StoreError`."""
    where = ":memory:" if path is None else str(path)
    try:
        if path is not None:
            path.touch(mode=0o600)
        db = sqlite3.connect(where, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # A directory can be told anew: a power failure may cost its newest changes, and no more.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -16384")
            if _version(db) != VERSION:
                _make(db)
            _begin(db)
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        if path is not None and "not a database" in str(error):
            path.unlink()
            return open_database(path)
        hint = ": this Python's SQLite has no R*Tree" if "rtree" in str(error) else ""
        raise StoreError(f"{where}: the directory cannot be opened: {error}{hint}", filename=where) from error
    except OSError as error:
        raise StoreError(
            f"{where}: the directory cannot be opened: {error.strerror}", error.errno, where
        ) from error
    return db


def close_database(db: sqlite3.Connection) -> None:
    """Closes the file, all in it on disk: its versions go on from here."""
    with suppress(sqlite3.Error):
        _set_open(db, open_=False)
    db.close()


def _begin(db: sqlite3.Connection) -> None:
    row = db.execute("SELECT value FROM fact WHERE name = 'open'").fetchone()
    if row is not None and row[0] == "1":
        db.execute("UPDATE fact SET value = ? WHERE name = 'epoch'", (uuid.uuid4().hex,))
    _set_open(db, open_=True)


def _set_open(db: sqlite3.Connection, *, open_: bool) -> None:
    # This one must outlast a power failure, and all that was written before it.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("INSERT OR REPLACE INTO fact VALUES ('open', ?)", (str(int(open_)),))
    db.execute("PRAGMA synchronous = NORMAL")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _make(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
        ).fetchall():
            db.execute(f"DROP TABLE {name}")
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall():
            db.execute(f"DROP TABLE {name}")
        statement = ""
        for line in _TABLES.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                db.execute(statement)
                statement = ""
        db.execute("INSERT INTO fact VALUES ('epoch', ?), ('version', '0')", (uuid.uuid4().hex,))
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
