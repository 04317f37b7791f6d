"""Alembic's entry point: connection and target tables come from `bookstore.database`."""

from alembic import context

from bookstore.database.tables import metadata


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    # Skip SQLite's full-text table and the tables in which FTS5 stores its index.
    return not (kind == "table" and (name or "").startswith("book_search"))


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    include_name=_is_compared if connection.dialect.name == "sqlite" else None,
)
with context.begin_transaction():
    context.run_migrations()
