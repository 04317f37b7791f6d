"""The index of books by category: the rows of `book_categories`.

A row repeats the columns that its book is sorted and filtered by (`COPIED_COLUMNS`).  A page of a
category is therefore read from an index of `book_categories`, in the same time for a category of
any size.  All code that writes these rows or changes one of these columns of a book must use this
module, in the same transaction, and after it has written the book's own row: the row lock on the
book protects both.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import Bulk
from bookstore.database.tables import book_categories, categories

#: The denormalised columns: `book_categories` holds a copy of their values in `books`.
COPIED_COLUMNS = ("withdrawn_at", "sort_title", "price_cents", "year", "language", "format")

_COLUMN_LIST = ", ".join(COPIED_COLUMNS)
_ADD = Bulk(
    "book_id BIGINT, category_id BIGINT, position INT",
    f"""
    INSERT INTO book_categories (book_id, category_id, position, {_COLUMN_LIST})
    SELECT v.book_id, v.category_id, v.position, {", ".join(f"b.{name}" for name in COPIED_COLUMNS)}
    FROM {{rows}} AS v {{join}} books AS b ON b.id = v.book_id
    """,  # noqa: S608 - names of ours
)
_CLEAR = Bulk(
    "book_id BIGINT",
    "DELETE c FROM {rows} AS v STRAIGHT_JOIN book_categories AS c ON c.book_id = v.book_id",
    sqlite="DELETE FROM book_categories WHERE book_id IN (SELECT book_id FROM {rows})",
)
_REFRESH = Bulk(
    "book_id BIGINT",
    f"""
    UPDATE {{rows}} AS v STRAIGHT_JOIN books AS b {{by_key}} ON b.id = v.book_id
    STRAIGHT_JOIN book_categories AS c {{by_key}} ON c.book_id = b.id
    SET {", ".join(f"c.{name} = b.{name}" for name in COPIED_COLUMNS)}
    """,  # noqa: S608 - names of ours
    sqlite=f"""
    UPDATE book_categories SET {", ".join(f"{name} = b.{name}" for name in COPIED_COLUMNS)}
    FROM {{rows}} AS v CROSS JOIN books AS b ON b.id = v.book_id
    WHERE book_categories.book_id = b.id
    """,  # noqa: S608 - names of ours
)


async def add(conn: AsyncConnection, entries: Iterable[tuple[int, int, int]]) -> None:
    """Put books into categories.  An entry is `(book_id, category_id, position)`; the position of
    the category among the book's categories counts from 0."""
    if rows := sorted(entries):
        await _ADD(conn, rows)


async def clear(conn: AsyncConnection, book_ids: Iterable[int]) -> None:
    """Remove these books from all categories."""
    if rows := [(book_id,) for book_id in sorted(book_ids)]:
        await _CLEAR(conn, rows)


async def remove(conn: AsyncConnection, category_id: int, book_ids: Iterable[int]) -> None:
    """Remove these books from one category."""
    await conn.execute(
        delete(book_categories).where(
            book_categories.c.category_id == category_id,
            book_categories.c.book_id.in_(sorted(book_ids)),
        )
    )


async def refresh(conn: AsyncConnection, book_ids: Iterable[int]) -> None:
    """Copy `COPIED_COLUMNS` from the rows of these books to their category rows."""
    if rows := [(book_id,) for book_id in sorted(book_ids)]:
        await _REFRESH(conn, rows)


def subtree_ids(slug: str) -> Select[tuple[int]]:
    """A query for the ids of a category and all its subcategories; no rows if it does not exist."""
    tree = select(categories.c.id).where(categories.c.slug == slug).cte("tree", recursive=True)
    tree = tree.union(select(categories.c.id).join(tree, categories.c.parent_id == tree.c.id))
    return select(tree.c.id)


async def load_ancestors(
    conn: AsyncConnection, category_ids: Collection[int]
) -> tuple[dict[int, int | None], dict[int, str]]:
    """The parent ids and the slugs, by id, of these categories and all their ancestors."""
    tree = (
        select(categories.c.id, categories.c.parent_id, categories.c.slug)
        .where(categories.c.id.in_(sorted(category_ids)))
        .cte("tree", recursive=True)
    )
    tree = tree.union(
        select(categories.c.id, categories.c.parent_id, categories.c.slug).join(
            tree, tree.c.parent_id == categories.c.id
        )
    )
    rows = (await conn.execute(select(tree))).all()
    return {row.id: row.parent_id for row in rows}, {row.id: row.slug for row in rows}


def ancestors(category_id: int, parents: Mapping[int, int | None]) -> Iterator[int]:
    """The id of the category and of all its ancestors, bottom up.

    Terminates even if a corrupted tree contains a cycle.
    """
    visited: set[int] = set()
    current: int | None = category_id
    while current is not None and current not in visited:
        yield current
        visited.add(current)
        current = parents.get(current)
