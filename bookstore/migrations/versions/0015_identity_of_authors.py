"""Who an author is, apart from the words by which lists find the name; a search that knows marks.

Names that an earlier release took for one author stay one.
"""

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from bookstore.catalogue import authors, books, search

revision = "0015"
down_revision = "0014"

_KEY = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)
_BATCH = 1000


def upgrade() -> None:
    op.add_column("authors", sa.Column("identity_key", _KEY))
    _fill("authors", "name", {"identity_key": authors.key, "name_key": authors.sort_key})
    with op.batch_alter_table("authors") as batch:
        batch.alter_column("identity_key", existing_type=_KEY, nullable=False)
        batch.drop_constraint("uq_authors_name_key", type_="unique")
        batch.create_unique_constraint("uq_authors_identity_key", ["identity_key"])
    op.create_index("ix_authors_name_key", "authors", ["name_key"])
    _fill("books", "title", {"sort_title": books.sort_title}, only_foreign=True)
    _index_foreign_books()


def downgrade() -> None:
    # The earlier release takes names with the same words for one author, so that its key has to be
    # unique: of several, all but the first are told apart by their ids.
    conn = op.get_bind()
    rows = conn.execute(sa.text("SELECT id, name_key FROM authors ORDER BY id")).all()
    seen: set[str] = set()
    for author_id, key in rows:
        if key in seen:
            conn.execute(
                sa.text("UPDATE authors SET name_key = :key WHERE id = :id"),
                {"key": f"{key[:240]} {author_id}", "id": author_id},
            )
        seen.add(key)
    op.drop_index("ix_authors_name_key", "authors")
    with op.batch_alter_table("authors") as batch:
        batch.drop_constraint("uq_authors_identity_key", type_="unique")
        batch.create_unique_constraint("uq_authors_name_key", ["name_key"])
        batch.drop_column("identity_key")


def _fill(
    table: str,
    source: str,
    columns: Mapping[str, Callable[[str], str]],
    *,
    only_foreign: bool = False,
) -> None:
    """Compute these columns from another, row by row."""
    conn = op.get_bind()
    last = 0
    names = ", ".join(columns)
    assigned = ", ".join(f"{name} = :{name}" for name in columns)
    while rows := conn.execute(
        sa.text(
            f"SELECT id, {source}, {names} FROM {table} WHERE id > :last ORDER BY id"  # noqa: S608
            f" LIMIT {_BATCH}"
        ),
        {"last": last},
    ).all():
        last = rows[-1].id
        changes = []
        for row in rows:
            text = row[1]
            if only_foreign and text.isascii():
                continue
            values = {name: compute(text) for name, compute in columns.items()}
            if tuple(values.values()) != tuple(row[2:]):
                changes.append({"id": row.id, **values})
        if changes:
            conn.execute(
                sa.text(f"UPDATE {table} SET {assigned} WHERE id = :id"),  # noqa: S608
                changes,
            )


def _index_foreign_books() -> None:
    """Index the books again whose words have letters beyond ASCII."""
    conn = op.get_bind()
    people: dict[int, list[str]] = {}
    for book_id, name in conn.execute(
        sa.text(
            "SELECT b.book_id, a.name FROM book_authors AS b JOIN authors AS a"
            " ON a.id = b.author_id ORDER BY b.book_id, b.position"
        )
    ):
        people.setdefault(book_id, []).append(name)
    key = "rowid" if conn.dialect.name == "sqlite" else "book_id"
    last = 0
    while rows := conn.execute(
        sa.text(
            "SELECT id, isbn13, title, subtitle, publisher FROM books WHERE id > :last ORDER BY id"
            " LIMIT :most"
        ),
        {"last": last, "most": _BATCH},
    ).all():
        last = rows[-1].id
        changes = []
        for row in rows:
            entry = search.SearchEntry(
                row.isbn13, row.title, row.subtitle, row.publisher, people.get(row.id, [])
            )
            if not "".join(filter(None, (*row[2:], *entry.authors))).isascii():
                changes.append({"id": row.id, "words": search.index_text(entry.words())})
        if changes:
            conn.execute(
                sa.text(f"UPDATE book_search SET words = :words WHERE {key} = :id"),  # noqa: S608
                changes,
            )
