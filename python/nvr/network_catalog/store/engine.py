"""Opening the catalog's database, and bringing it to the form that this version writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from nvr.errors import CatalogAway, ConfigError, StoreError

__all__ = ["ADVISORY_LOCK", "form_of", "newest_form", "open_engine", "parse_url", "reported", "upgrade"]

ADVISORY_LOCK = 0x6E7672_636174
"""Who changes a PostgreSQL database's form holds it: several nodes may start at once."""
_CONNECT_S = 5
_ANSWER_MS = 30_000


def parse_url(text: str) -> URL:
    """``sqlite:////var/lib/nvr/network.sqlite``, ``postgresql://user@host/database``.

    Raises :exc:`ConfigError`, without the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "catalog.database: not an address such as postgresql://user@host/database"
        ) from None
    match url.drivername:
        case "sqlite":
            return url
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigError(f"catalog.database: {other}: only sqlite and postgresql are supported")


def open_engine(url: URL) -> Engine:
    """Connects when it is first used. Raises :exc:`ConfigError` where the driver is not installed."""
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _CONNECT_S})
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    try:
        return create_engine(
            url,
            # A server that was restarted is met by a new connection, not by an error.
            pool_pre_ping=True,
            pool_size=2,
            connect_args={
                "connect_timeout": _CONNECT_S,
                "application_name": "nvr",
                "options": f"-c statement_timeout={_ANSWER_MS} -c lock_timeout={_ANSWER_MS}",
            },
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            "catalog.database: PostgreSQL needs its driver: pip install 'nvr[postgresql]'"
        ) from error


def _on_sqlite_connect(connection: Any, record: object) -> None:
    # Transactions begin where SQLAlchemy begins them, not at the first write.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def reported(url: URL) -> Iterator[None]:
    """Failures of the database as ours: :exc:`CatalogAway` when it is out of reach, or :exc:`StoreError`."""
    where = url.render_as_string(hide_password=True)
    try:
        yield
    except DBAPIError as error:
        # The driver's text may hold what the statement held, and is for the log of the database.
        what = str(error.orig).strip().splitlines()[0][:300] if error.orig and str(error.orig).strip() else ""
        if _is_away(error, url):
            raise CatalogAway(f"the catalog's database {where} is out of reach: {what}") from error
        raise StoreError(f"the catalog's database {where}: {what}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"the catalog's database {where}: {type(error).__name__}") from error


def _is_away(error: DBAPIError, url: URL) -> bool:
    if error.connection_invalidated:
        return True
    if url.drivername == "sqlite":
        return type(error.orig).__name__ == "OperationalError"
    sqlstate = getattr(error.orig, "sqlstate", None)
    # No answer at all; connection exceptions; the server is full, or starts or stops.
    return sqlstate is None or sqlstate[:2] in ("08", "53", "57")


def upgrade(engine: Engine, *, to: str = "head") -> None:
    """Brings the database to the newest form, each step whole or not at all.

    Raises :exc:`StoreError` for one that a newer version has written.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        with _config() as config:
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            form = form_of(connection)
            if form is not None and form not in known:
                raise StoreError(
                    f"the catalog's database has form {form}, which this version of nvr does not know: "
                    "run a newer one"
                )
            config.attributes["connection"] = connection
            command.upgrade(config, to)


def form_of(connection: Connection) -> str | None:
    """The form of the database; None: it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_form() -> str:
    """The form that this version writes."""
    with _config() as config:
        head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


@contextmanager
def _config() -> Iterator[Config]:
    with as_file(files("nvr.network_catalog.store") / "_migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(Path(folder)))
        config.set_main_option("path_separator", "os")
        yield config
