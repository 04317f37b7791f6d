"""Connections, transactions and statements; the tables are in `tables`."""

from bookstore.database import (
    documents,
    engine,
    failpoints,
    file_store,
    group_commit,
    pagination,
    statements,
    tables,
)
