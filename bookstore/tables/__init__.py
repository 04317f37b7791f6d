"""The tables, as SQLAlchemy Core sees them.

Money is integer cents, time is UTC with microseconds, text is utf8mb4.  The migrations
build the same tables; a test compares the two.
"""

from bookstore.tables.catalogue import (
    authors,
    book_authors,
    book_categories,
    book_covers,
    book_search,
    book_stock,
    books,
    categories,
    editions,
    search_words,
)
from bookstore.tables.columns import Chunk, Hash, Id, Key, UtcDateTime, metadata
from bookstore.tables.ordering import (
    cart_items,
    carts,
    idempotency_keys,
    notifications,
    order_events,
    order_lines,
    order_notes,
    orders,
    sealed_invoices,
    stock_movements,
)
from bookstore.tables.people import (
    addresses,
    api_tokens,
    guesses,
    links,
    preferences,
    recovery_codes,
    sessions,
    users,
)
from bookstore.tables.staff import (
    audit_log,
    audit_seals,
    bulk_changes,
    texts,
)
from bookstore.tables.work import (
    file_chunks,
    files,
    heartbeats,
    job_lines,
    jobs,
    task_failures,
    tasks,
)

__all__ = [
    "Chunk",
    "Hash",
    "Id",
    "Key",
    "UtcDateTime",
    "addresses",
    "api_tokens",
    "audit_log",
    "audit_seals",
    "authors",
    "book_authors",
    "book_categories",
    "book_covers",
    "book_search",
    "book_stock",
    "books",
    "bulk_changes",
    "cart_items",
    "carts",
    "categories",
    "editions",
    "file_chunks",
    "files",
    "guesses",
    "heartbeats",
    "idempotency_keys",
    "job_lines",
    "jobs",
    "links",
    "metadata",
    "notifications",
    "order_events",
    "order_lines",
    "order_notes",
    "orders",
    "preferences",
    "recovery_codes",
    "sealed_invoices",
    "search_words",
    "sessions",
    "stock_movements",
    "task_failures",
    "tasks",
    "texts",
    "users",
]
