"""The catalog with all its versions, in a database.

Methods block and may be called from any thread; each is one transaction. They
raise :exc:`nvr.errors.CatalogAway` while the database is out of reach, having
changed nothing, and :exc:`nvr.errors.StoreError` for other failures of it.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from nvr.errors import CatalogConflict, NotFound, StoreError
from nvr.network_catalog.store import tables
from nvr.network_catalog.store.engine import open_engine, parse_url, reported, upgrade
from nvr.network_catalog.store.rows import KINDS, row_of
from nvr.network_catalog.types import Catalog
from nvr.network_catalog.versions import Difference, Entry, EntryKey, Version, catalog_of

__all__ = ["NOTHING_YET", "CatalogStore"]

NOTHING_YET = Version(0, "", 0, "", "")
"""What is there before the first version."""


class CatalogStore:
    """``database``: an address, see :func:`nvr.network_catalog.store.engine.parse_url`."""

    def __init__(self, database: str) -> None:
        """Nothing is connected yet. Raises :exc:`ConfigError` for an address that is none."""
        self._url = parse_url(database)
        self._engine = open_engine(self._url)
        self._catalog_id = ""

    @property
    def where(self) -> str:
        """Its address without the password."""
        return self._url.render_as_string(hide_password=True)

    def open(self) -> None:
        """Brings the database to this version's form, and an empty one to life."""
        with reported(self._url):
            upgrade(self._engine)
        with self._transaction() as connection:
            found = _fact(connection, "catalog_id")
            if found is None:
                found = uuid.uuid4().hex
                connection.execute(insert(tables.fact), {"name": "catalog_id", "value": found})
            self._catalog_id = found

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @property
    def catalog_id(self) -> str:
        """Minted when the database was empty; a backup keeps it."""
        return self._catalog_id

    def newest(self) -> Version:
        """The newest version, or :data:`NOTHING_YET`."""
        with self._transaction() as connection:
            return _newest(connection)

    def version(self, number: int) -> Version:
        """A version by its number. Raises :exc:`NotFound`."""
        with self._transaction() as connection:
            return _version(connection, number)

    def known_as(self, number: int) -> str | None:
        """The id of a version; None: there is none of that number."""
        with self._transaction() as connection:
            table = tables.version
            found: str | None = connection.execute(
                select(table.c.id).where(table.c.number == number)
            ).scalar()
            return found

    def versions(self, limit: int) -> list[Version]:
        """The newest versions, newest first."""
        table = tables.version
        with self._transaction() as connection:
            rows = connection.execute(select(table).order_by(table.c.number.desc()).limit(limit))
            return [_version_of(row._mapping) for row in rows]

    def read(self) -> tuple[Version, Catalog]:
        """The newest version and all that holds in it."""
        entries: list[Entry] = []
        with self._transaction() as connection:
            newest = _newest(connection)
            for kind in KINDS.values():
                current = select(kind.table).where(kind.table.c.until.is_(None))
                entries += (kind.entry(row) for row in connection.execute(current).mappings())
        return newest, catalog_of(entries)

    def read_at(self, number: int) -> Catalog:
        """What held in a version. Raises :exc:`NotFound`."""
        entries: list[Entry] = []
        with self._transaction() as connection:
            _version(connection, number)
            for kind in KINDS.values():
                columns = kind.table.c
                held = and_(columns.since <= number, or_(columns.until.is_(None), columns.until > number))
                rows = connection.execute(select(kind.table).where(held)).mappings()
                entries += (kind.entry(row) for row in rows)
        return catalog_of(entries)

    def changes_of(self, number: int) -> list[Difference]:
        """What a version changed. Raises :exc:`NotFound`."""
        changes = []
        with self._transaction() as connection:
            _version(connection, number)
            for name, kind in KINDS.items():
                columns = kind.table.c
                touched = or_(columns.since == number, columns.until == number)
                before: dict[str, Entry] = {}
                after: dict[str, Entry] = {}
                for row in connection.execute(select(kind.table).where(touched)).mappings():
                    (after if row["since"] == number else before)[row[kind.id_column]] = kind.entry(row)
                changes += [
                    Difference(EntryKey(name, each), before.get(each), after.get(each))
                    for each in sorted(before.keys() | after.keys())
                ]
        return changes

    def write(self, base: int, version: Version, changes: Sequence[Difference]) -> None:
        """Makes a version. ``base``: the one that was the newest when the changes were made.

        Raises :exc:`CatalogConflict` when it is not the newest any more.
        """
        try:
            with self._transaction() as connection:
                newest = _newest(connection)
                if newest.number != base:
                    raise _conflict(base, newest.number)
                connection.execute(insert(tables.version), _row_of_version(version))
                for name, kind in KINDS.items():
                    of_kind = [change for change in changes if change.key.kind == name]
                    ends = [
                        {"ends": change.key.id, "at": version.number}
                        for change in of_kind
                        if change.before is not None
                    ]
                    if ends:
                        column = kind.table.c[kind.id_column]
                        connection.execute(
                            update(kind.table)
                            .where(column == bindparam("ends"), kind.table.c.until.is_(None))
                            .values(until=bindparam("at")),
                            ends,
                        )
                    begins = [
                        {**row_of(change.after), "since": version.number}
                        for change in of_kind
                        if change.after is not None
                    ]
                    if begins:
                        connection.execute(insert(kind.table), begins)
        except _Doubled as error:
            newest = self.newest()
            if newest.number == base:
                raise StoreError(f"the catalog's database {self.where} has an entry twice") from error
            # Another process wrote at the same time.
            raise _conflict(base, newest.number) from None

    def remember(self, name: str, value: str) -> None:
        """Keeps a fact about the catalog."""
        with self._transaction() as connection:
            table = tables.fact
            done = connection.execute(update(table).where(table.c.name == name).values(value=value))
            if done.rowcount == 0:
                connection.execute(insert(table), {"name": name, "value": value})

    def recall(self, name: str) -> str | None:
        """A fact that was kept."""
        with self._transaction() as connection:
            return _fact(connection, name)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """For backup and restore: the whole database in one transaction."""
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with reported(self._url):
            try:
                with self._engine.begin() as connection:
                    if connection.dialect.name == "postgresql":
                        # All of a transaction's reads are of one instant, as they are in SQLite.
                        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    yield connection
            except IntegrityError as error:
                raise _Doubled from error


class _Doubled(Exception):  # noqa: N818
    """A row that must be one of its kind is there already."""


def _conflict(base: int, newest: int) -> CatalogConflict:
    return CatalogConflict(
        f"the catalog was changed in between: the change is of version {base}, the newest is {newest}",
        facts={"version": str(newest)},
    )


def _fact(connection: Connection, name: str) -> str | None:
    table = tables.fact
    value: str | None = connection.execute(select(table.c.value).where(table.c.name == name)).scalar()
    return value


def _newest(connection: Connection) -> Version:
    table = tables.version
    row = connection.execute(select(table).order_by(table.c.number.desc()).limit(1)).mappings().first()
    return NOTHING_YET if row is None else _version_of(row)


def _version(connection: Connection, number: int) -> Version:
    row = (
        connection.execute(select(tables.version).where(tables.version.c.number == number)).mappings().first()
    )
    if row is None:
        raise NotFound(f"the catalog has no version {number}", field="number")
    return _version_of(row)


def _version_of(row: Any) -> Version:
    return Version(**{**row, "undoes": row["undoes"] or 0})


def _row_of_version(version: Version) -> dict[str, Any]:
    columns = tables.version.c.keys()
    row: dict[str, Any] = {name: getattr(version, name) for name in columns}
    return {**row, "undoes": version.undoes or None}
