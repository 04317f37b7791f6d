"""The tables, as SQLAlchemy Core sees them.

Money is integer cents, time is UTC with microseconds, text is utf8mb4.  The migrations
build the same tables; a test compares the two.
"""

# fmt: off
# isort: off
from bookstore.database.tables.catalogue import (
    authors, book_authors, book_categories, book_covers, book_search, book_stock, books,
    categories, editions, search_words,
)
from bookstore.database.tables.columns import Chunk, Hash, Id, Key, UtcDateTime, metadata, parse_utc
from bookstore.database.tables.ordering import (
    cart_items, carts, idempotency_keys, notifications, order_events, order_lines, order_notes,
    order_terms, orders, retained_invoices, stock_movements,
)
from bookstore.database.tables.people import (
    addresses, api_tokens, failed_attempts, link_tokens, preferences, recovery_codes, sessions,
    users,
)
from bookstore.database.tables.staff import audit_chain, audit_log, bulk_changes, legal_texts
from bookstore.database.tables.work import (
    file_chunks, files, heartbeats, job_lines, jobs, task_failures, tasks,
)
