"""The same tests over both engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nvr.network_catalog.store.store import CatalogStore
from tests.network_catalog.databases import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'network.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def store(database: str) -> Iterator[CatalogStore]:
    opened = CatalogStore(database)
    opened.open()
    yield opened
    opened.close()
