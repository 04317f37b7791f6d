"""Covers, editions, versions of categories, keys of all requests that make something."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INNODB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
}


def key(length: int) -> sa.types.TypeEngine[str]:
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql")


def upgrade() -> None:
    op.add_column(
        "categories", sa.Column("version", sa.Integer, nullable=False, server_default="1")
    )
    op.create_table(
        "editions",
        sa.Column("book_id", Id, autoincrement=False, nullable=False),
        sa.Column("work_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_editions_book_id")),
        sa.ForeignKeyConstraint(["work_id"], ["books.id"], name=op.f("fk_editions_work_id")),
        sa.PrimaryKeyConstraint("book_id", name=op.f("pk_editions")),
        **INNODB,
    )
    op.create_index("ix_editions_work_id", "editions", ["work_id"])
    op.add_column("books", sa.Column("cover", key(40), nullable=True))
    op.create_table(
        "book_covers",
        sa.Column("name", key(60), nullable=False),
        sa.Column("book_id", Id, nullable=False),
        sa.Column("file_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_book_covers_book_id")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_book_covers_file_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_book_covers")),
        **INNODB,
    )
    op.create_index("ix_book_covers_book_id", "book_covers", ["book_id"])
    op.create_index("ix_book_covers_file_id", "book_covers", ["file_id"])
    # SQLite cannot change a column; there alembic copies the table.
    with op.batch_alter_table("idempotency_keys") as table:
        table.alter_column("order_id", existing_type=Id, nullable=True)
        table.add_column(sa.Column("made_id", sa.BigInteger, nullable=True))
