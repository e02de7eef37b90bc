"""Alembic's entry point. The connection is handed in by `homeserver.storage.upgrade`."""

from alembic import context

from homeserver.storage.schema.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
