"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Hash = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
INNODB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
}


def key(length: int) -> sa.types.TypeEngine[str]:
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql")


def upgrade() -> None:
    op.create_table(
        "authors",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("name_key", key(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authors")),
        sa.UniqueConstraint("name_key", name=op.f("uq_authors_name_key")),
        **INNODB,
    )
    op.create_table(
        "books",
        sa.Column("id", Id, nullable=False),
        sa.Column("isbn13", key(13), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("sort_title", key(200), nullable=False),
        sa.Column("subtitle", sa.String(length=500), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("publisher", sa.String(length=200), nullable=True),
        sa.Column("year", sa.SmallInteger(), nullable=True),
        sa.Column("language", key(35), nullable=True),
        sa.Column("format", key(20), nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("withdrawn_at", Moment, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.CheckConstraint("pages > 0", name=op.f("ck_books_pages_positive")),
        sa.CheckConstraint("price_cents >= 0", name=op.f("ck_books_price_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_books")),
        sa.UniqueConstraint("isbn13", name=op.f("uq_books_isbn13")),
        **INNODB,
    )
    op.create_index("ix_books_newest", "books", ["withdrawn_at", "id"])
    op.create_index("ix_books_price", "books", ["withdrawn_at", "price_cents", "id"])
    op.create_index("ix_books_title", "books", ["withdrawn_at", "sort_title", "id"])
    op.create_index("ix_books_year", "books", ["withdrawn_at", "year", "id"])
    op.create_table(
        "categories",
        sa.Column("id", Id, nullable=False),
        sa.Column("slug", key(100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("parent_id", Id, nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["categories.id"], name=op.f("fk_categories_parent_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("slug", name=op.f("uq_categories_slug")),
        **INNODB,
    )
    op.create_index("ix_categories_parent_id", "categories", ["parent_id"])
    op.create_table(
        "heartbeats",
        sa.Column("name", key(100), nullable=False),
        sa.Column("beat_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
        **INNODB,
    )
    op.create_table(
        "tasks",
        sa.Column("id", Id, nullable=False),
        sa.Column("task", key(40), nullable=False),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("offers", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parked_at", Moment, nullable=True),
        sa.Column("request_id", key(64), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("task", "ref_id", name=op.f("uq_tasks_task_ref_id")),
        **INNODB,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_due", "tasks", ["parked_at", "due_at"])
    op.create_table(
        "users",
        sa.Column("id", Id, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("email_key", key(254), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", key(20), nullable=False),
        sa.Column("email_verified_at", Moment, nullable=True),
        sa.Column("disabled_at", Moment, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
        **INNODB,
    )
    op.create_table(
        "audit_log",
        sa.Column("id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("action", key(40), nullable=False),
        sa.Column("object_type", key(20), nullable=False),
        sa.Column("object_id", key(100), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_log_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        **INNODB,
    )
    op.create_index("ix_audit_log_object", "audit_log", ["object_type", "object_id", "id"])
    op.create_table(
        "book_authors",
        sa.Column("book_id", Id, nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("author_id", Id, nullable=False),
        sa.Column("role", key(20), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["authors.id"], name=op.f("fk_book_authors_author_id")
        ),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_book_authors_book_id")),
        sa.PrimaryKeyConstraint("book_id", "position", name=op.f("pk_book_authors")),
        **INNODB,
    )
    op.create_index("ix_book_authors_author_id", "book_authors", ["author_id"])
    op.create_table(
        "book_categories",
        sa.Column("book_id", Id, nullable=False),
        sa.Column("category_id", Id, nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_book_categories_book_id")),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["categories.id"],
            name=op.f("fk_book_categories_category_id"),
        ),
        sa.PrimaryKeyConstraint("book_id", "category_id", name=op.f("pk_book_categories")),
        **INNODB,
    )
    op.create_index("ix_book_categories_category", "book_categories", ["category_id", "book_id"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE book_search USING"
            " fts5(words, tokenize='unicode61 remove_diacritics 2')"
        )
    else:
        op.create_table(
            "book_search",
            sa.Column("book_id", Id, autoincrement=False, nullable=False),
            sa.Column("words", sa.Text(), nullable=False),
            sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_book_search_book_id")),
            sa.PrimaryKeyConstraint("book_id", name=op.f("pk_book_search")),
            **INNODB,
        )
        op.create_index("ft_book_search_words", "book_search", ["words"], mysql_prefix="FULLTEXT")
    op.create_table(
        "book_stock",
        sa.Column("book_id", Id, autoincrement=False, nullable=False),
        sa.Column("stock", sa.Integer(), nullable=False),
        sa.CheckConstraint("stock >= 0", name=op.f("ck_book_stock_stock_not_negative")),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_book_stock_book_id")),
        sa.PrimaryKeyConstraint("book_id", name=op.f("pk_book_stock")),
        **INNODB,
    )
    op.create_table(
        "carts",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("checkout_no", sa.Integer(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_carts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carts")),
        sa.UniqueConstraint("user_id", name=op.f("uq_carts_user_id")),
        sqlite_autoincrement=True,
        **INNODB,
    )
    op.create_index("ix_carts_updated_at", "carts", ["updated_at"])
    op.create_table(
        "orders",
        sa.Column("id", Id, nullable=False),
        sa.Column("number", key(14), nullable=False),
        sa.Column("cart_id", sa.BigInteger(), nullable=False),
        sa.Column("checkout_no", sa.Integer(), nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("status", key(20), nullable=False),
        sa.Column("payment_status", key(20), nullable=False),
        sa.Column("currency", key(3), nullable=False),
        sa.Column("shipping_address", sa.JSON(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("tracking", sa.String(length=200), nullable=True),
        sa.Column("total_cents", sa.Integer(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("placed_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.CheckConstraint("total_cents >= 0", name=op.f("ck_orders_total_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_orders_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("cart_id", "checkout_no", name=op.f("uq_orders_cart_id_checkout_no")),
        sa.UniqueConstraint("number", name=op.f("uq_orders_number")),
        **INNODB,
    )
    op.create_index("ix_orders_status", "orders", ["status", "id"])
    op.create_index("ix_orders_user", "orders", ["user_id", "id"])
    op.create_table(
        "sessions",
        sa.Column("id_hash", Hash, nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("address", key(45), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("last_seen_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_sessions")),
        **INNODB,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "cart_items",
        sa.Column("cart_id", Id, nullable=False),
        sa.Column("book_id", Id, nullable=False),
        sa.Column("quantity", sa.SmallInteger(), nullable=False),
        sa.Column("unit_price_cents", sa.Integer(), nullable=False),
        sa.Column("added_at", Moment, nullable=False),
        sa.CheckConstraint(
            "quantity BETWEEN 1 AND 99", name=op.f("ck_cart_items_quantity_in_range")
        ),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_cart_items_book_id")),
        sa.ForeignKeyConstraint(
            ["cart_id"],
            ["carts.id"],
            name=op.f("fk_cart_items_cart_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("cart_id", "book_id", name=op.f("pk_cart_items")),
        **INNODB,
    )
    op.create_index("ix_cart_items_book_id", "cart_items", ["book_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", key(50), nullable=False),
        sa.Column("key", key(255), nullable=False),
        sa.Column("request_hash", key(64), nullable=False),
        sa.Column("order_id", Id, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_idempotency_keys_order_id")
        ),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
        **INNODB,
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "notifications",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("order_id", Id, nullable=True),
        sa.Column("kind", key(40), nullable=False),
        sa.Column("status", key(20), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", Moment, nullable=True),
        sa.Column("smtp_answer", sa.String(length=500), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("sent_at", Moment, nullable=True),
        sa.Column("read_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_notifications_order_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notifications_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("order_id", "kind", name=op.f("uq_notifications_order_id_kind")),
        **INNODB,
    )
    op.create_index("ix_notifications_status", "notifications", ["status", "id"])
    op.create_index("ix_notifications_user", "notifications", ["user_id", "id"])
    op.create_table(
        "order_events",
        sa.Column("id", Id, nullable=False),
        sa.Column("order_id", Id, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", key(20), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("actor", key(100), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("message_id", key(36), nullable=True),
        sa.Column("attempt", sa.SmallInteger(), nullable=True),
        sa.Column("worker", key(100), nullable=True),
        sa.Column("waited_ms", sa.Integer(), nullable=True),
        sa.Column("worked_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
        sa.UniqueConstraint("order_id", "seq", name=op.f("uq_order_events_order_id_seq")),
        **INNODB,
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", Id, nullable=False),
        sa.Column("book_id", Id, nullable=False),
        sa.Column("isbn13", key(13), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("quantity", sa.SmallInteger(), nullable=False),
        sa.Column("unit_price_cents", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_lines_quantity_positive")),
        sa.CheckConstraint("unit_price_cents >= 0", name=op.f("ck_order_lines_price_not_negative")),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_order_lines_book_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_lines_order_id")),
        sa.PrimaryKeyConstraint("order_id", "book_id", name=op.f("pk_order_lines")),
        **INNODB,
    )
    op.create_index("ix_order_lines_book_id", "order_lines", ["book_id"])
    op.create_table(
        "stock_movements",
        sa.Column("id", Id, nullable=False),
        sa.Column("book_id", Id, nullable=False),
        sa.Column("delta", sa.Integer(), nullable=False),
        sa.Column("reason", key(20), nullable=False),
        sa.Column("order_id", Id, nullable=True),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_stock_movements_book_id")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_stock_movements_order_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_stock_movements_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_movements")),
        sa.UniqueConstraint(
            "order_id",
            "book_id",
            "reason",
            name=op.f("uq_stock_movements_order_id_book_id_reason"),
        ),
        **INNODB,
    )
    op.create_index("ix_stock_movements_book", "stock_movements", ["book_id", "id"])


def downgrade() -> None:
    for table in (
        "stock_movements",
        "order_lines",
        "order_events",
        "notifications",
        "idempotency_keys",
        "cart_items",
        "sessions",
        "orders",
        "carts",
        "book_stock",
        "book_search",
        "book_categories",
        "book_authors",
        "audit_log",
        "users",
        "tasks",
        "heartbeats",
        "categories",
        "books",
        "authors",
    ):
        op.drop_table(table)
