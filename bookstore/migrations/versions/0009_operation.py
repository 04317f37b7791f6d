"""What operators see: seals on the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("up_to_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("after_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")),
        sa.Column(
            "marked_at", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("up_to_id", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("after_id", name=op.f("uq_audit_seals_after_id")),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_ci",
    )
