"""Run by Alembic, on the connection that :mod:`nvr.network_catalog.store.engine` has open."""

from alembic import context

from nvr.network_catalog.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
