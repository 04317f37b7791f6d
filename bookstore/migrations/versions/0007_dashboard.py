"""What the dashboard remembers: staff's notes, failed attempts, bulk changes, from where."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"

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
    op.create_table(
        "order_notes",
        sa.Column("id", Id, nullable=False),
        sa.Column("order_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("body", sa.String(length=2000), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_notes_order_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_order_notes_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_notes")),
        **INNODB,
    )
    op.create_index("ix_order_notes_order_id", "order_notes", ["order_id"])
    op.create_table(
        "task_failures",
        sa.Column("id", Id, nullable=False),
        sa.Column("task", key(40), nullable=False),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_failures")),
        **INNODB,
    )
    op.create_index("ix_task_failures_of", "task_failures", ["task", "ref_id"])
    op.create_index("ix_task_failures_at", "task_failures", ["at"])
    op.create_table(
        "bulk_changes",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("field", key(20), nullable=False),
        sa.Column("wanted", sa.String(length=200), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("applied_at", Moment, nullable=True),
        sa.Column("undone_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_bulk_changes_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_changes")),
        **INNODB,
    )
    # Adding a column needs no new table on SQLite either, so nobody's foreign keys notice.
    op.add_column("books", sa.Column("low_stock", sa.SmallInteger(), nullable=True))
    op.add_column("audit_log", sa.Column("address", key(45), nullable=True))
    op.create_index("ix_audit_log_user", "audit_log", ["user_id", "id"])
    # Each new row goes to the end of these, and the order service changes none of them.
    op.create_index("ix_orders_placed", "orders", ["placed_at"])
    op.create_index("ix_orders_payment", "orders", ["payment_status", "id"])
    op.create_index("ix_notifications_in_doubt", "notifications", ["in_doubt", "id"])
