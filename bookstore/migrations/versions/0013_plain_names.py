"""The trade's words: tables, columns and values get the names that the code and its readers use.

Stop the store before this migration: the code before it does not know these names.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

TABLES = {
    "audit_seals": "audit_chain",
    "guesses": "failed_attempts",
    "links": "link_tokens",
    "sealed_invoices": "retained_invoices",
    "texts": "legal_texts",
}
#: By the table's new name.
COLUMNS = [
    ("idempotency_keys", "made_id", "result_id"),
    ("retained_invoices", "sealed_at", "retained_at"),
    ("retained_invoices", "keep_until", "retain_until"),
    ("tasks", "offers", "publish_count"),
    ("tasks", "parked_at", "dead_at"),
]
#: Indexes are named for their table and column.
INDEXES = [
    ("failed_attempts", "ix_guesses_forget_at", "ix_failed_attempts_forget_at", "forget_at"),
    ("link_tokens", "ix_links_expires_at", "ix_link_tokens_expires_at", "expires_at"),
    ("link_tokens", "ix_links_user_id", "ix_link_tokens_user_id", "user_id"),
    (
        "retained_invoices",
        "ix_sealed_invoices_keep_until",
        "ix_retained_invoices_retain_until",
        "retain_until",
    ),
]
UNIQUE = [
    ("audit_chain", "uq_audit_seals_after_id", "uq_audit_chain_after_id", "after_id"),
    (
        "link_tokens",
        "uq_links_notification_id",
        "uq_link_tokens_notification_id",
        "notification_id",
    ),
]


def upgrade() -> None:
    for old, new in TABLES.items():
        op.rename_table(old, new)
    for table, old, new in COLUMNS:
        _rename_column(table, old, new)
    for table, old, new, column in INDEXES:
        _rename_index(table, old, new, column)
    for table, old, new, column in UNIQUE:
        _rename_unique(table, old, new, column)
    op.execute("UPDATE bulk_changes SET field = 'resend-emails' WHERE field = 'resend-letters'")


def downgrade() -> None:
    op.execute("UPDATE bulk_changes SET field = 'resend-letters' WHERE field = 'resend-emails'")
    columns = {new: old for _, old, new in COLUMNS}
    for table, old, new, column in UNIQUE:
        _rename_unique(table, new, old, column)
    for table, old, new in reversed(COLUMNS):
        _rename_column(table, new, old)
    for table, old, new, column in INDEXES:
        _rename_index(table, new, old, columns.get(column, column))
    for old, new in reversed(TABLES.items()):
        op.rename_table(new, old)


def _rename_column(table: str, old: str, new: str) -> None:
    # The same on all databases; alembic's own way wants the whole column again on MariaDB.
    op.execute(sa.text(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}"))


def _rename_index(table: str, old: str, new: str, column: str) -> None:
    # The new one first: MariaDB keeps an index for each foreign key.
    op.create_index(new, table, [column])
    op.drop_index(old, table)


def _rename_unique(table: str, old: str, new: str, column: str) -> None:
    # SQLite copies the table for it; without the option the copy would give ids out again.
    counts_up = {"sqlite_autoincrement": True} if table == "link_tokens" else {}
    with op.batch_alter_table(table, table_kwargs=counts_up) as batch:
        batch.create_unique_constraint(new, [column])
        batch.drop_constraint(old, type_="unique")
