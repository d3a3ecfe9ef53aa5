"""Areas, nodes and cameras, each row with the versions for which it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this form."""
    op.create_table(
        "fact",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "version",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("made_us", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("undoes", sa.BigInteger, nullable=True),
        sa.Column("added", sa.Integer, nullable=False),
        sa.Column("changed", sa.Integer, nullable=False),
        sa.Column("removed", sa.Integer, nullable=False),
    )
    _entries(
        "area",
        "code",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("parent", sa.String(64), nullable=True),
        sa.Column("level", sa.String(64), nullable=False),
    )
    _entries(
        "former_area",
        "code",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("parent", sa.String(64), nullable=True),
        sa.Column("level", sa.String(64), nullable=False),
        sa.Column("into", sa.Text, nullable=False),
    )
    _entries(
        "node",
        "node_id",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("area", sa.String(64), nullable=False),
    )
    _entries(
        "camera",
        "camera_id",
        sa.Column("node_id", sa.String(64), nullable=False, index=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("area", sa.String(64), nullable=False),
        sa.Column("latitude", sa.Float(53), nullable=True),
        sa.Column("longitude", sa.Float(53), nullable=True),
        sa.Column("height_m", sa.Float(53), nullable=True),
        sa.Column("direction_deg", sa.Float(53), nullable=True),
        sa.Column("angle_deg", sa.Float(53), nullable=True),
        sa.Column("reach_m", sa.Float(53), nullable=True),
        sa.Column("owner", sa.String(32), nullable=False),
    )


def _entries(name: str, id_column: str, *columns: "sa.Column[object]") -> None:
    op.create_table(
        name,
        sa.Column("key", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column(id_column, sa.String(64), nullable=False),
        *columns,
        sa.Column("since", sa.BigInteger, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("until", sa.BigInteger, sa.ForeignKey("version.number"), nullable=True, index=True),
    )
    current = sa.text("until IS NULL")
    op.create_index(
        f"{name}_current", name, [id_column], unique=True, sqlite_where=current, postgresql_where=current
    )
