"""Run by alembic: migrates the connection that `millrace.catalog.migrate.upgrade` passes on, in its transaction."""

from __future__ import annotations

from alembic import context

from millrace.catalog.schema import REVISION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=REVISION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
