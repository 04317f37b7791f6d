"""A million books: a shelf has its own order, so that its lists read none of its other books."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"

#: Books that are copied at once, so that nobody waits long for one of them.
SLICE = 10_000
COPIED = ("withdrawn_at", "sort_title", "price_cents", "year", "language", "format")


def key(length: int) -> sa.types.TypeEngine[str]:
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql")


def upgrade() -> None:
    moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    # With what the code before this migration leaves out.
    for column in (
        sa.Column("withdrawn_at", moment),
        sa.Column("sort_title", key(200), nullable=False, server_default=""),
        sa.Column("price_cents", sa.Integer, nullable=False, server_default="0"),
        sa.Column("year", sa.SmallInteger),
        sa.Column("language", key(35)),
        sa.Column("format", key(20)),
    ):
        op.add_column("book_categories", column)
    _copy()
    for name, by in (
        ("newest", []),
        ("title", ["sort_title"]),
        ("price", ["price_cents"]),
        ("year", ["year"]),
    ):
        op.create_index(
            f"ix_book_categories_{name}",
            "book_categories",
            ["category_id", "withdrawn_at", *by, "book_id", "language", "format"],
        )
    op.drop_index("ix_book_categories_category", "book_categories")


def _copy() -> None:
    """What the books say, a slice after the other."""
    last_id = op.get_bind().scalar(sa.text("SELECT MAX(book_id) FROM book_categories")) or 0
    mysql_ = op.get_context().dialect.name == "mysql"
    if mysql_:
        values = ", ".join(f"c.{name} = b.{name}" for name in COPIED)
        statement = "UPDATE books AS b STRAIGHT_JOIN book_categories AS c ON c.book_id = b.id"
        statement += f" SET {values} WHERE b.id BETWEEN :first AND :last"
    else:
        values = ", ".join(f"{name} = b.{name}" for name in COPIED)
        statement = f"UPDATE book_categories SET {values} FROM books AS b"  # noqa: S608 - ours
        statement += " WHERE b.id = book_id AND book_id BETWEEN :first AND :last"
    for first in range(1, last_id + 1, SLICE):
        span = {"first": first, "last": first + SLICE - 1}
        op.get_bind().execute(sa.text(statement), span)
        if mysql_:
            op.get_bind().commit()
