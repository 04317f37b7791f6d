"""The tables, as SQLAlchemy Core sees them.

Money is integer cents, time is UTC with microseconds, text is utf8mb4.  The migrations
build the same tables; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC: DATETIME alone drops the zone and the microseconds."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(
            mysql.DATETIME(fsp=6) if dialect.name == "mysql" else DateTime()
        )

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


#: SQLite counts up only in columns that are exactly INTEGER PRIMARY KEY.
Id = BigInteger().with_variant(Integer, "sqlite")
#: A piece of a file: MariaDB's plain BLOB ends at 64 KiB.
Chunk = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")
#: BLOB cannot be a key in MariaDB.
Hash = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def Key(length: int) -> String:
    """Text that is compared letter by letter: names of things, not words for people."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def _table(name: str, *parts: Any, **options: Any) -> Table:
    return Table(
        name,
        metadata,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_ci",
        **options,
    )


users = _table(
    "users",
    Column("id", Id, primary_key=True),
    Column("email", String(254), nullable=False),
    Column("email_key", Key(254), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", Key(20), nullable=False),
    Column("email_verified_at", UtcDateTime),
    Column("disabled_at", UtcDateTime),
    # When personal data was erased; the row stays, for the orders.
    Column("erased_at", UtcDateTime),
    # What the seed of the second factor is worked out from, with the store's secret; the step of
    # the last code that was taken, so that none is taken twice.
    Column("totp_nonce", Hash),
    Column("totp_at", UtcDateTime),
    Column("totp_step", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

recovery_codes = _table(
    "recovery_codes",
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("code_hash", Hash, primary_key=True),
)

addresses = _table(
    "addresses",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("line1", String(200), nullable=False),
    Column("line2", String(200)),
    Column("city", String(100), nullable=False),
    Column("postcode", String(20)),
    Column("country", Key(2), nullable=False),
    Column("phone", String(40)),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# Only of users who have chosen; the others get every letter.
preferences = _table(
    "preferences",
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("email_when_delivered", Boolean, nullable=False),
    Column("email_messages", Boolean, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

sessions = _table(
    "sessions",
    Column("id_hash", Hash, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), index=True),
    Column("data", Text, nullable=False),
    Column("address", Key(45)),
    Column("user_agent", String(255)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

api_tokens = _table(
    "api_tokens",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("token_hash", Hash, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, index=True),
    Column("last_used_at", UtcDateTime),
    sqlite_autoincrement=True,
)

# What letters lead to, once.  The link's secret is worked out from `nonce` and never stored.
links = _table(
    "links",
    Column("id", Id, primary_key=True),
    Column("purpose", Key(20), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column(
        "notification_id",
        Id,
        ForeignKey("notifications.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    # The address that the letter went to, which the link proves.
    Column("email", String(254), nullable=False),
    Column("nonce", Hash, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    sqlite_autoincrement=True,
)

# Failures by whose they are (an account, a network, a device), as a hash.
guesses = _table(
    "guesses",
    Column("name_hash", Hash, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", UtcDateTime, nullable=False),
    Column("forget_at", UtcDateTime, nullable=False, index=True),
)

books = _table(
    "books",
    Column("id", Id, primary_key=True),
    Column("isbn13", Key(13), nullable=False, unique=True),
    Column("title", String(500), nullable=False),
    Column("sort_title", Key(200), nullable=False),
    Column("subtitle", String(500)),
    Column("description", Text),
    Column("publisher", String(200)),
    Column("year", SmallInteger),
    Column("language", Key(35)),
    Column("format", Key(20)),
    Column("pages", Integer),
    Column("price_cents", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    # From so few copies on the book is low; NULL means what the store thinks of all others.
    Column("low_stock", SmallInteger),
    Column("withdrawn_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # The name of its picture in `book_covers`; without one it gets a typographic cover.
    Column("cover", Key(40)),
    CheckConstraint("price_cents >= 0", name="price_not_negative"),
    CheckConstraint("pages > 0", name="pages_positive"),
    Index("ix_books_title", "withdrawn_at", "sort_title", "id"),
    Index("ix_books_price", "withdrawn_at", "price_cents", "id"),
    Index("ix_books_newest", "withdrawn_at", "id"),
    Index("ix_books_year", "withdrawn_at", "year", "id"),
)

# Narrow and apart, so that workers lock it without touching the book's own row: foreign
# keys from lines and carts to books then never wait for a worker.
book_stock = _table(
    "book_stock",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("stock", Integer, nullable=False),
    CheckConstraint("stock >= 0", name="stock_not_negative"),
)

authors = _table(
    "authors",
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("name_key", Key(255), nullable=False, unique=True),
)

book_authors = _table(
    "book_authors",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("author_id", Id, ForeignKey("authors.id"), nullable=False, index=True),
    Column("role", Key(20), nullable=False),
)

categories = _table(
    "categories",
    Column("id", Id, primary_key=True),
    Column("slug", Key(100), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("parent_id", Id, ForeignKey("categories.id"), index=True),
    Column("position", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

book_categories = _table(
    "book_categories",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True),
    Column("category_id", Id, ForeignKey("categories.id"), primary_key=True),
    Column("position", SmallInteger, nullable=False),
    Index("ix_book_categories_category", "category_id", "book_id"),
)

# Books with the same `work_id` are editions of one work; the number is that of its oldest book.
editions = _table(
    "editions",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("work_id", Id, ForeignKey("books.id"), nullable=False, index=True),
)

# On SQLite the migration makes this an FTS5 table whose rowid is the book's id.
book_search = _table(
    "book_search",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("words", Text, nullable=False),
    Index("ft_book_search_words", "words", mysql_prefix="FULLTEXT").ddl_if(dialect="mysql"),
)

# Every word by which a book was ever found, for those who mistype one.
search_words = _table("search_words", Column("word", Key(40), primary_key=True))

carts = _table(
    "carts",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), unique=True),
    Column("checkout_no", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False, index=True),
    # The id of a cart that is gone must not come back: orders and sessions remember it.
    sqlite_autoincrement=True,
)

cart_items = _table(
    "cart_items",
    Column("cart_id", Id, ForeignKey("carts.id", ondelete="CASCADE"), primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, index=True),
    Column("quantity", SmallInteger, nullable=False),
    Column("unit_price_cents", Integer, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity_in_range"),
)

orders = _table(
    "orders",
    Column("id", Id, primary_key=True),
    Column("number", Key(14), nullable=False, unique=True),
    # Not a foreign key: carts of guests are purged, their orders stay.
    Column("cart_id", BigInteger, nullable=False),
    Column("checkout_no", Integer, nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("email", String(254), nullable=False),
    Column("status", Key(20), nullable=False),
    Column("payment_status", Key(20), nullable=False),
    Column("payment_provider", Key(20), nullable=False, server_default="invoice"),
    Column("currency", Key(3), nullable=False),
    Column("shipping_address", JSON, nullable=False),
    Column("terms", JSON, nullable=False),
    Column("note", String(1000)),
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
    # For staff: each new row goes to the end of these, and the order service changes neither.
    Index("ix_orders_placed", "placed_at"),
    Index("ix_orders_payment", "payment_status", "id"),
    Index("ix_orders_email", "email"),
)

# What invoices say about customers who were erased: kept for the tax office alone, until then.
sealed_invoices = _table(
    "sealed_invoices",
    Column("order_id", Id, ForeignKey("orders.id"), primary_key=True, autoincrement=False),
    Column("email", String(254), nullable=False),
    Column("address", JSON, nullable=False),
    Column("sealed_at", UtcDateTime, nullable=False),
    Column("keep_until", UtcDateTime, nullable=False, index=True),
)

order_lines = _table(
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

order_events = _table(
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

stock_movements = _table(
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

idempotency_keys = _table(
    "idempotency_keys",
    Column("owner", Key(50), primary_key=True),
    Column("key", Key(255), primary_key=True),
    Column("request_hash", Key(64), nullable=False),
    # What the request made: an order, or whatever else its operation makes.
    Column("order_id", Id, ForeignKey("orders.id")),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("made_id", BigInteger),
)

notifications = _table(
    "notifications",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("order_id", Id, ForeignKey("orders.id")),
    Column("kind", Key(40), nullable=False),
    Column("status", Key(20), nullable=False),
    Column("in_doubt", Boolean, nullable=False),
    Column("recipient", String(254), nullable=False),
    # Letters about orders are set from their template; only staff's own words are kept.
    Column("subject", String(200)),
    Column("body", Text),
    Column("attempts", SmallInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("smtp_answer", String(500)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("read_at", UtcDateTime),
    # One letter for each thing that happens to an order, whoever tells it twice.
    UniqueConstraint("order_id", "kind"),
    Index("ix_notifications_user", "user_id", "id"),
    Index("ix_notifications_status", "status", "id"),
    Index("ix_notifications_in_doubt", "in_doubt", "id"),
)

tasks = _table(
    "tasks",
    Column("id", Id, primary_key=True),
    Column("task", Key(40), nullable=False),
    Column("ref_id", BigInteger, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("offers", Integer, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("error", Text),
    Column("parked_at", UtcDateTime),
    Column("request_id", Key(64)),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("task", "ref_id"),
    Index("ix_tasks_due", "parked_at", "due_at"),
    # Without it SQLite gives an id out again once its row is gone.
    sqlite_autoincrement=True,
)

files = _table(
    "files",
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("media_type", Key(100), nullable=False),
    Column("size", BigInteger, nullable=False),
    # NULL until all of it is there.
    Column("sha256", Key(64)),
    Column("kind", Key(20), nullable=False),
    Column("owner_id", Id, ForeignKey("users.id"), index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, index=True),
    # An address that somebody kept must not lead to another file.
    sqlite_autoincrement=True,
)

book_covers = _table(
    "book_covers",
    Column("name", Key(60), primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), nullable=False, index=True),
    Column("file_id", Id, ForeignKey("files.id"), nullable=False, index=True),
)

file_chunks = _table(
    "file_chunks",
    Column("file_id", Id, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("content", Chunk, nullable=False),
)

jobs = _table(
    "jobs",
    Column("id", Id, primary_key=True),
    Column("kind", Key(20), nullable=False),
    Column("state", Key(20), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), index=True),
    Column("file_id", Id, ForeignKey("files.id", ondelete="SET NULL"), index=True),
    Column("result_id", Id, ForeignKey("files.id", ondelete="SET NULL"), index=True),
    Column("options", JSON, nullable=False),
    # What the job found out about its file, and the rules that decided.
    Column("findings", JSON, nullable=False),
    Column("read", Integer, nullable=False),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    # How far it is, in whatever its total counts; NULL until that is known.
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_jobs_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

# What became of single lines of an import: those refused, and where a report is wanted, all.
job_lines = _table(
    "job_lines",
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("outcome", Key(20), nullable=False),
    Column("isbn13", Key(13)),
    Column("field", String(100)),
    Column("value", String(100)),
    Column("reason", String(500)),
    # The row as the file has it, to be mended and sent again.
    Column("cells", JSON),
)

heartbeats = _table(
    "heartbeats",
    Column("name", Key(100), primary_key=True),
    Column("beat_at", UtcDateTime, nullable=False),
)

audit_log = _table(
    "audit_log",
    Column("id", Id, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("action", Key(40), nullable=False),
    Column("object_type", Key(20), nullable=False),
    Column("object_id", Key(100), nullable=False),
    # {field: [before, after]}; of personal data the name only, with null.
    Column("changes", JSON, nullable=False),
    # Whose request it was; NULL for what was done on the command line.
    Column("address", Key(45)),
    Index("ix_audit_log_object", "object_type", "object_id", "id"),
    Index("ix_audit_log_user", "user_id", "id"),
)

# Each seals the rows of the audit log after `after_id` up to its own, and the seal before.
audit_seals = _table(
    "audit_seals",
    Column("up_to_id", BigInteger, primary_key=True, autoincrement=False),
    # Unique: a chain has one next link.
    Column("after_id", BigInteger, nullable=False, unique=True),
    # NULL until all rows that it is about can be seen.
    Column("digest", Hash),
    Column("marked_at", UtcDateTime, nullable=False),
)

# What staff tell each other about an order; customers never see it.
order_notes = _table(
    "order_notes",
    Column("id", Id, primary_key=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False, index=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("body", String(2000), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# A task's row knows its last error and goes when the work is done; this stays to be read.
task_failures = _table(
    "task_failures",
    Column("id", Id, primary_key=True),
    Column("task", Key(40), nullable=False),
    Column("ref_id", BigInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_task_failures_of", "task", "ref_id"),
    Index("ix_task_failures_at", "at"),
)

# `rows` is [[book id, version, before, after], ...]: what was shown is what is done.
bulk_changes = _table(
    "bulk_changes",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("field", Key(20), nullable=False),
    Column("wanted", String(200), nullable=False),
    Column("rows", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("applied_at", UtcDateTime),
    Column("undone_at", UtcDateTime),
)

# What staff have written in place of the texts that the store comes with, as Markdown.
texts = _table(
    "texts",
    Column("name", Key(20), primary_key=True),
    Column("language", Key(10), primary_key=True),
    Column("body", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", Id, ForeignKey("users.id")),
)
