"""Tables of the catalog.

An entry's row says since which version it holds and, once it was changed or taken
out, until which: so the state at any version, what a version changed, and the way
back are all one query. Rows are never changed otherwise.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

__all__ = ["CURRENT", "ENTRIES", "area", "camera", "fact", "former_area", "metadata", "node", "version"]

metadata = MetaData()
CURRENT = "until IS NULL"
# SQLite numbers rows by itself only where the type is spelt INTEGER.
_KEY = BigInteger().with_variant(Integer, "sqlite")

fact = Table(
    "fact", metadata, Column("name", String(63), primary_key=True), Column("value", Text, nullable=False)
)

version = Table(
    "version",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False, unique=True),
    Column("made_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("undoes", BigInteger, nullable=True),
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("removed", Integer, nullable=False),
)


def _entries(name: str, id_column: str, *columns: Column[object]) -> Table:
    table = Table(
        name,
        metadata,
        Column("key", _KEY, primary_key=True),
        Column(id_column, String(64), nullable=False),
        *columns,
        Column("since", BigInteger, ForeignKey("version.number"), nullable=False, index=True),
        Column("until", BigInteger, ForeignKey("version.number"), nullable=True, index=True),
    )
    current = text(CURRENT)
    # One row at most of each entry holds now.
    Index(f"{name}_current", table.c[id_column], unique=True, sqlite_where=current, postgresql_where=current)
    return table


area = _entries(
    "area",
    "code",
    Column("name", Text, nullable=False),
    Column("parent", String(64), nullable=True),
    Column("level", String(64), nullable=False),
)

former_area = _entries(
    "former_area",
    "code",
    Column("name", Text, nullable=False),
    Column("parent", String(64), nullable=True),
    Column("level", String(64), nullable=False),
    # Codes, in JSON.
    Column("into", Text, nullable=False),
)

node = _entries(
    "node",
    "node_id",
    Column("name", String(63), nullable=False),
    Column("title", Text, nullable=False),
    Column("area", String(64), nullable=False),
)

camera = _entries(
    "camera",
    "camera_id",
    Column("node_id", String(64), nullable=False, index=True),
    Column("name", String(63), nullable=False),
    Column("title", Text, nullable=False),
    Column("area", String(64), nullable=False),
    Column("latitude", Float(53), nullable=True),
    Column("longitude", Float(53), nullable=True),
    Column("height_m", Float(53), nullable=True),
    Column("direction_deg", Float(53), nullable=True),
    Column("angle_deg", Float(53), nullable=True),
    Column("reach_m", Float(53), nullable=True),
    Column("owner", String(32), nullable=False),
)

ENTRIES = (area, former_area, node, camera)
