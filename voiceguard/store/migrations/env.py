"""Alembic's entry: runs the migrations on the connection that `voiceguard.store.migrate` opened."""

from __future__ import annotations

from alembic import context

from voiceguard.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
