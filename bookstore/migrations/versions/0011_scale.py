"""A million books: filters by language and format find theirs without reading all the others."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("ix_books_language", "books", ["withdrawn_at", "language", "id"])
    op.create_index("ix_books_format", "books", ["withdrawn_at", "format", "id"])
