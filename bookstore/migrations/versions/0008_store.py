"""Texts that staff write, and the words of the catalogue."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"

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
        "texts",
        sa.Column("name", key(20), nullable=False),
        sa.Column("language", key(10), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("updated_by", Id, nullable=True),
        sa.ForeignKeyConstraint(["updated_by"], ["users.id"], name=op.f("fk_texts_updated_by")),
        sa.PrimaryKeyConstraint("name", "language", name=op.f("pk_texts")),
        **INNODB,
    )
    words = op.create_table(
        "search_words",
        sa.Column("word", key(40), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_search_words")),
        **INNODB,
    )
    # The words of the books that are there already, by the rule of `did_you_mean`.
    found: set[str] = set()
    for (indexed,) in op.get_bind().execute(sa.text("SELECT words FROM book_search")):
        found |= {word.removeprefix("__") for word in indexed.split()}
    rows = [{"word": it} for it in sorted(found) if 4 <= len(it) <= 40 and not it.isdecimal()]
    for start in range(0, len(rows), 1000):
        op.get_bind().execute(sa.insert(words), rows[start : start + 1000])


def downgrade() -> None:
    op.drop_table("search_words")
    op.drop_table("texts")
