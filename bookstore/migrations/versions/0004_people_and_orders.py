"""Addresses, preferences, how an order is paid, and what erasure leaves."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
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
    op.add_column("users", sa.Column("erased_at", Moment, nullable=True))
    # What was ordered before there was a choice is paid on invoice; so is what the code before
    # this migration writes.
    op.add_column(
        "orders",
        sa.Column("payment_provider", key(20), nullable=False, server_default="invoice"),
    )
    op.create_index("ix_orders_email", "orders", ["email"])
    op.create_table(
        "addresses",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("line1", sa.String(length=200), nullable=False),
        sa.Column("line2", sa.String(length=200), nullable=True),
        sa.Column("city", sa.String(length=100), nullable=False),
        sa.Column("postcode", sa.String(length=20), nullable=True),
        sa.Column("country", key(2), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_addresses_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
        **INNODB,
    )
    op.create_index("ix_addresses_user_id", "addresses", ["user_id"])
    op.create_table(
        "preferences",
        sa.Column("user_id", Id, autoincrement=False, nullable=False),
        sa.Column("email_when_delivered", sa.Boolean(), nullable=False),
        sa.Column("email_messages", sa.Boolean(), nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_preferences_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preferences")),
        **INNODB,
    )
    op.create_table(
        "sealed_invoices",
        sa.Column("order_id", Id, autoincrement=False, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("address", sa.JSON(), nullable=False),
        sa.Column("sealed_at", Moment, nullable=False),
        sa.Column("keep_until", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_sealed_invoices_order_id")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_sealed_invoices")),
        **INNODB,
    )
    op.create_index("ix_sealed_invoices_keep_until", "sealed_invoices", ["keep_until"])
