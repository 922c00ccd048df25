"""Alembic's entry: runs the scripts on the connection and version table that `store.migrate` passes in.

It opens nothing itself, so a migration is one transaction with the lock that guards it.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
