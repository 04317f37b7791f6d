"""Carts, orders, their events and notes, the stock ledger and notifications."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, UniqueConstraint
from sqlalchemy.types import BigInteger, Boolean, Integer, SmallInteger, String, Text

from bookstore.database import documents
from bookstore.database.tables.columns import Id, Key, UtcDateTime, table

carts = table(
    "carts",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), unique=True),
    Column("checkout_no", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False, index=True),
    # SQLite must not reuse the id of a deleted cart: orders and sessions refer to it.
    sqlite_autoincrement=True,
)

cart_items = table(
    "cart_items",
    Column("cart_id", Id, ForeignKey("carts.id", ondelete="CASCADE"), primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, index=True),
    Column("quantity", SmallInteger, nullable=False),
    Column("unit_price_cents", Integer, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity_in_range"),
)

orders = table(
    "orders",
    Column("id", Id, primary_key=True),
    Column("number", Key(14), nullable=False, unique=True),
    # Not a foreign key: guests' carts are purged, but their orders stay.
    Column("cart_id", BigInteger, nullable=False),
    Column("checkout_no", Integer, nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("email", String(254), nullable=False),
    Column("status", Key(20), nullable=False),
    Column("payment_status", Key(20), nullable=False),
    Column("payment_provider", Key(20), nullable=False, server_default="invoice"),
    Column("currency", Key(3), nullable=False),
    Column("shipping_address", documents.ADDRESS, nullable=False),
    Column("terms", documents.TERMS, nullable=False),
    Column("note", String(1000)),
    # The language in which the order was placed, used for its e-mails.
    Column("language", Key(8), nullable=False, server_default="en"),
    Column("reason", Text),
    Column("tracking", String(200)),
    Column("total_cents", Integer),
    Column("last_seq", Integer, nullable=False),
    Column("placed_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("cart_id", "checkout_no"),
    CheckConstraint("total_cents >= 0", name="total_not_negative"),
    Index("ix_orders_user", "user_id", "id"),
    Index("ix_orders_status", "status", "id"),
    # For staff's lists.  New orders are appended to these indexes, and processing does not change
    # the indexed columns.
    Index("ix_orders_placed", "placed_at"),
    Index("ix_orders_payment", "payment_status", "id"),
    Index("ix_orders_email", "email"),
)

# Invoice data of customers whose account was erased, kept for tax law until `retain_until`.
retained_invoices = table(
    "retained_invoices",
    Column("order_id", Id, ForeignKey("orders.id"), primary_key=True, autoincrement=False),
    Column("email", String(254), nullable=False),
    Column("address", documents.ADDRESS, nullable=False),
    Column("retained_at", UtcDateTime, nullable=False),
    Column("retain_until", UtcDateTime, nullable=False, index=True),
)

order_lines = table(
    "order_lines",
    Column("order_id", Id, ForeignKey("orders.id"), primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, index=True),
    Column("isbn13", Key(13), nullable=False),
    Column("title", String(500), nullable=False),
    Column("quantity", SmallInteger, nullable=False),
    Column("unit_price_cents", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("unit_price_cents >= 0", name="price_not_negative"),
)

# The words by which staff find the order of a customer; see `orders/customer_terms.py`.
order_terms = table(
    "order_terms",
    Column("order_id", Id, ForeignKey("orders.id"), primary_key=True, autoincrement=False),
    Column("term", Key(40), primary_key=True, index=True),
)

order_events = table(
    "order_events",
    Column("id", Id, primary_key=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", Key(20), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Key(100), nullable=False),
    Column("detail", Text),
    Column("message_id", Key(36)),
    Column("attempt", SmallInteger),
    Column("worker", Key(100)),
    Column("waited_ms", Integer),
    Column("worked_ms", Integer),
    UniqueConstraint("order_id", "seq"),
)

stock_movements = table(
    "stock_movements",
    Column("id", Id, primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), nullable=False),
    Column("delta", Integer, nullable=False),
    Column("reason", Key(20), nullable=False),
    Column("order_id", Id, ForeignKey("orders.id")),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("note", String(500)),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("order_id", "book_id", "reason"),
    Index("ix_stock_movements_book", "book_id", "id"),
)

idempotency_keys = table(
    "idempotency_keys",
    Column("owner", Key(50), primary_key=True),
    Column("key", Key(255), primary_key=True),
    Column("request_hash", Key(64), nullable=False),
    # What the request created: an order, or another object (`result_id`).
    Column("order_id", Id, ForeignKey("orders.id")),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("result_id", BigInteger),
)

notifications = table(
    "notifications",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("order_id", Id, ForeignKey("orders.id")),
    Column("kind", Key(40), nullable=False),
    Column("status", Key(20), nullable=False),
    Column("in_doubt", Boolean, nullable=False),
    Column("recipient", String(254), nullable=False),
    # Only for messages that staff wrote; e-mails about orders are rendered from templates.
    Column("subject", String(200)),
    Column("body", Text),
    # Fixed when queued, even if the user changes language later; NULL: the order's language.
    Column("language", Key(8)),
    Column("attempts", SmallInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("smtp_answer", String(500)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("read_at", UtcDateTime),
    # One e-mail for each kind of event of an order, even if it is queued twice.
    UniqueConstraint("order_id", "kind"),
    Index("ix_notifications_user", "user_id", "id"),
    Index("ix_notifications_status", "status", "id"),
    Index("ix_notifications_in_doubt", "in_doubt", "id"),
)

# Staff's internal notes on an order; customers never see them.
order_notes = table(
    "order_notes",
    Column("id", Id, primary_key=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False, index=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("body", String(2000), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
