"""``nvr catalog backup`` and ``restore``: the whole catalog in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from nvr.cli.asking import asked
from nvr.cli.settings import Settings, with_node, with_output
from nvr.client._progress import Progress, following
from nvr.client._show import size_text
from nvr.errors import ConfigError, Incomplete, InvalidArgument
from nvr.files import write_whole
from nvr.footage.types import End, Notice, ReadContext
from nvr.network_catalog.remote import RemoteCatalog

if TYPE_CHECKING:
    from nvr.network_catalog.store.store import CatalogStore


@with_node
def backup(
    settings: Settings,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="catalog.backup", dir_okay=False, show_default=False)
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of this name.")] = False,
) -> None:
    """Save the whole catalog with its history, as of one instant. At the root.

    The file appears whole or not at all. It fits any database: SQLite's can go to PostgreSQL.
    """
    output = settings.output
    if file.exists() and not overwrite:
        raise InvalidArgument(f"{file} exists already; --overwrite replaces it", field="file")

    async def ask(catalog: RemoteCatalog, context: ReadContext) -> bytes:
        data = bytearray()
        with following(output.progress) as tell:
            async for step in catalog.backup(context):
                if isinstance(step, Notice):
                    output.warn([step])
                elif isinstance(step, End):
                    if not step.complete:
                        raise Incomplete("the backup is not whole; nothing was saved")
                else:
                    data += step
                    tell(Progress(file.name, len(data), len(data), 0))
        return bytes(data)

    data = asked(settings, RemoteCatalog, ask)
    write_whole(file, data)
    if output.as_json:
        output.record({"type": "backup", "path": str(file), "size_bytes": len(data)})
    else:
        output.line(f"{file}: {size_text(len(data))}")


@with_output
def restore(
    settings: Settings,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="From nvr catalog backup.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="Settings of the root, whose database it goes into.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the file, and that the database is empty.")
    ] = False,
) -> None:
    """Fill the empty database of a root that is stopped from a backup, wholly or not at all."""
    from nvr.gateway.config import load_settings
    from nvr.network_catalog.holder import CatalogHolder
    from nvr.network_catalog.store.backup import restore as fill
    from nvr.node.data_folder import make_data_folder
    from nvr.node.folder_lock import FolderLocks

    gateway = load_settings(config)
    folder = gateway.node.data
    database = gateway.catalog.address(folder)
    if not database:
        raise ConfigError(f"{config}: catalog.database: is not set: the catalog is not written at this node")
    output = settings.output
    make_data_folder(folder)
    with FolderLocks([folder], "nvr catalog restore"):
        if dry_run:
            _check_empty(database)
        with _scratch() if dry_run else _opened(database) as store:
            if not output.as_json and output.progress:
                output.note(f"filling {store.where}")
            rows = fill(store, file)
            newest, content = store.read()
            catalog_id, where = store.catalog_id, store.where
        held = CatalogHolder(folder).held
    counts = {
        "areas": len(content.areas),
        "nodes": len(content.nodes),
        "cameras": len(content.cameras),
    }
    if output.as_json:
        output.record(
            {
                "type": "restored",
                "catalog_id": catalog_id,
                "version": newest.number,
                "rows": rows,
                **counts,
                "dry_run": dry_run,
            }
        )
    else:
        what = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        into = f"{file} is good" if dry_run else f"{where}: restored"
        output.line(f"{into}: version {newest.number} of catalog {catalog_id}: {what}")
    if held.catalog_id and held.catalog_id != catalog_id:
        output.note(
            f"warning: this node holds version {held.version.number} of another catalog, {held.catalog_id}: "
            "it refuses to start until that is released: start it once without [catalog] database, and run "
            "nvr catalog release"
        )
    elif held.version.number > newest.number:
        output.note(
            f"warning: this node holds version {held.version.number}, newer than the backup: nothing is "
            "written until nvr catalog adopt"
        )


def _check_empty(database: str) -> None:
    """Raises :exc:`ConfigError` for a database with versions. Changes nothing."""
    from sqlalchemy import inspect, select

    from nvr.network_catalog.store import tables
    from nvr.network_catalog.store.engine import open_engine, parse_url, reported

    url = parse_url(database)
    if url.drivername == "sqlite" and not Path(url.database or "").exists():
        # Only looking would make the file.
        return
    engine = open_engine(url)
    try:
        with reported(url), engine.connect() as connection:
            if inspect(connection).has_table(tables.version.name):
                column = tables.version.c.number
                if connection.execute(select(column).limit(1)).first() is not None:
                    where = url.render_as_string(hide_password=True)
                    raise ConfigError(f"{where} has a catalog already; restore into an empty database")
    finally:
        engine.dispose()


@contextmanager
def _opened(database: str) -> Iterator[CatalogStore]:
    from nvr.network_catalog.store.store import CatalogStore

    store = CatalogStore(database)
    try:
        store.open()
        yield store
    finally:
        store.close()


@contextmanager
def _scratch() -> Iterator[CatalogStore]:
    """A database that is gone afterwards: a backup is good when it can be restored."""
    with (
        TemporaryDirectory(prefix="nvr-restore-") as folder,
        _opened(f"sqlite:///{folder}/catalog.sqlite") as store,
    ):
        yield store
