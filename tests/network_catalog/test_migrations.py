"""The database's form: from nothing, from each form that ever was, and from one that is too new."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from nvr.errors import StoreError
from nvr.network_catalog.store.engine import (
    _config,
    form_of,
    newest_form,
    open_engine,
    parse_url,
    upgrade,
)
from nvr.network_catalog.store.store import CatalogStore
from nvr.network_catalog.store.tables import metadata
from nvr.network_catalog.types import Catalog

with _config() as _found:
    FORMS = [script.revision for script in ScriptDirectory.from_config(_found).walk_revisions()][::-1]

# What a database of each form holds, as that form had it.
ROWS = {
    "0001": (
        "INSERT INTO fact (name, value) VALUES ('catalog_id', 'c0ffee')",
        "INSERT INTO version (number, id, made_us, actor, summary, request_id, added, changed, removed) "
        "VALUES (1, 'v1', 5, 'local', 'first', 'r', 2, 0, 0)",
        "INSERT INTO version (number, id, made_us, actor, summary, request_id, added, changed, removed) "
        "VALUES (2, 'v2', 6, 'local', 'second', 'r', 0, 1, 0)",
        "INSERT INTO area (code, name, parent, level, since, until) "
        "VALUES ('38', 'Thanh Hoá', NULL, 'province', 1, 2)",
        "INSERT INTO area (code, name, parent, level, since, until) "
        "VALUES ('38', 'Thanh Hóa', NULL, 'province', 2, NULL)",
        "INSERT INTO camera (camera_id, node_id, name, title, area, latitude, longitude, owner, since) "
        "VALUES ('0190b3a0-0000-7000-8000-000000000001', '', 'gate', '', '38', 19.8, 105.7, 'state', 1)",
    ),
}


def test_the_forms_make_the_tables_that_are_used(database: str) -> None:
    url = parse_url(database)
    engine = open_engine(url)
    upgrade(engine)
    with engine.begin() as connection:
        assert form_of(connection) == newest_form() == FORMS[-1]
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    # Once more does nothing.
    upgrade(engine)
    engine.dispose()


@pytest.mark.parametrize("form", FORMS)
def test_from_each_form_to_the_newest(database: str, form: str) -> None:
    engine = open_engine(parse_url(database))
    upgrade(engine, to=form)
    with engine.begin() as connection:
        for statement in ROWS[form]:
            connection.execute(text(statement))
    engine.dispose()
    store = CatalogStore(database)
    store.open()
    try:
        assert store.catalog_id == "c0ffee"
        newest, content = store.read()
        assert newest.number == 2
        assert [area.name for area in content.areas] == ["Thanh Hóa"]
        assert content.cameras[0].latitude == 19.8
        assert [area.name for area in store.read_at(1).areas] == ["Thanh Hoá"]
    finally:
        store.close()


def test_a_form_of_a_newer_version_is_refused(database: str) -> None:
    store = CatalogStore(database)
    store.open()
    engine = open_engine(parse_url(database))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    again = CatalogStore(database)
    with pytest.raises(StoreError, match="form 9999"):
        again.open()
    again.close()
    engine.dispose()
    assert store.read()[1] == Catalog()
    store.close()


def test_a_step_that_fails_leaves_the_form_before(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(parse_url(database))
    with engine.begin() as connection:
        # The last table of the step is there already.
        connection.execute(text("CREATE TABLE camera (x INTEGER)"))
    with pytest.raises(Exception, match="camera"):
        upgrade(engine)
    with engine.begin() as connection:
        assert form_of(connection) is None
        connection.execute(text("DROP TABLE camera"))
    upgrade(engine)
    with engine.begin() as connection:
        assert form_of(connection) == newest_form()
    engine.dispose()
