"""A backup of the catalog that any engine takes: gzip of JSON lines.

The first line says what it is; then a line for each row of each table, in the
order of the tables; the last line counts them, so that a file that was cut off is
seen.
"""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table, insert, select

from nvr.errors import ConfigError, DamagedError
from nvr.network_catalog.store import tables
from nvr.network_catalog.store.engine import newest_form
from nvr.network_catalog.store.store import CatalogStore

__all__ = ["back_up", "restore"]

_WHAT = "nvr network catalog"
_AT_ONCE = 1_000
_TABLES = (tables.fact, tables.version, *tables.ENTRIES)


def back_up(store: CatalogStore) -> bytes:
    """The whole database as of one instant. Raises as :class:`CatalogStore` does."""
    out = io.BytesIO()
    # The same catalog gives the same bytes.
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, store.transaction() as connection:
        count = 0
        _line(packed, {"what": _WHAT, "form": newest_form(), "catalog_id": store.catalog_id})
        for table in _TABLES:
            key = next(iter(table.primary_key.columns))
            for row in connection.execute(select(*_columns(table)).order_by(key)).mappings():
                _line(packed, {"table": table.name, "row": dict(row)})
                count += 1
        _line(packed, {"rows": count})
    return out.getvalue()


def restore(store: CatalogStore, path: Path) -> int:
    """Fills an empty database (opened just now) from a backup, wholly or not at all; how many rows.

    Raises :exc:`ConfigError` where the database has versions, :exc:`DamagedError` for a
    file that is no backup, or is cut off.
    """
    with store.transaction() as connection:
        if connection.execute(select(tables.version.c.number).limit(1)).first() is not None:
            raise ConfigError(f"{store.where} has a catalog already; restore into an empty database")
        connection.execute(tables.fact.delete())
        count = 0
        for table, rows in _batches(_rows(path)):
            connection.execute(insert(table), rows)
            count += len(rows)
    # What is there now, and its id.
    store.open()
    return count


def _columns(table: Table) -> list[Column[Any]]:
    """What is kept of a table: all but numbers that the database gives."""
    return [column for column in table.columns if column.name != "key"]


def _line(packed: gzip.GzipFile, value: dict[str, Any]) -> None:
    packed.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    count, whole = 0, False
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines, "{}"))
            if head.get("what") != _WHAT:
                raise DamagedError(f"{path}: not a backup of a network catalog")
            if head.get("form") != newest_form():
                raise DamagedError(
                    f"{path}: of form {head.get('form')}; this version restores form {newest_form()}. "
                    "Restore it with the version that made it, then upgrade"
                )
            # To the very end: the sum that follows the last line is checked there.
            for text in lines:
                line = json.loads(text)
                if "rows" in line and not whole:
                    whole = line["rows"] == count
                    continue
                whole = False
                count += 1
                yield line["table"], line["row"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: not a backup of a network catalog: {error}") from error
    if not whole:
        raise DamagedError(f"{path}: cut off, or put together, after {count} rows")


def _batches(rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    by_name = {table.name: table for table in _TABLES}
    batch: list[dict[str, Any]] = []
    of = ""
    for name, row in rows:
        if name not in by_name or set(row) != {column.name for column in _columns(by_name[name])}:
            raise DamagedError(f"a backup with rows that this version does not know, of table {name[:60]!r}")
        if batch and (name != of or len(batch) == _AT_ONCE):
            yield by_name[of], batch
            batch = []
        of = name
        batch.append(row)
    if batch:
        yield by_name[of], batch
