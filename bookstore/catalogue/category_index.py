"""Shelves: which books stand in a category, and in which order they are listed there.

A row of `book_categories` repeats what its book is listed by (`COPIED`), so that a page of a shelf
is read from an index of its own, whatever the size of the shelf.  Whoever writes these rows, or
changes one of these facts of a book, does it by this module, in the same transaction and after
the book's own row, which is the lock for both.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import Bulk
from bookstore.database.tables import book_categories, categories

#: The columns that `books` and `book_categories` both have.
COPIED = ("withdrawn_at", "sort_title", "price_cents", "year", "language", "format")

_NAMES = ", ".join(COPIED)
_ADD = Bulk(
    "book_id BIGINT, category_id BIGINT, position INT",
    f"""
    INSERT INTO book_categories (book_id, category_id, position, {_NAMES})
    SELECT v.book_id, v.category_id, v.position, {", ".join(f"b.{name}" for name in COPIED)}
    FROM {{rows}} AS v {{join}} books AS b ON b.id = v.book_id
    """,  # noqa: S608 - names of ours
)
_CLEAR = Bulk(
    "book_id BIGINT",
    "DELETE c FROM {rows} AS v STRAIGHT_JOIN book_categories AS c ON c.book_id = v.book_id",
    sqlite="DELETE FROM book_categories WHERE book_id IN (SELECT book_id FROM {rows})",
)
_FOLLOW = Bulk(
    "book_id BIGINT",
    f"""
    UPDATE {{rows}} AS v STRAIGHT_JOIN books AS b {{by_key}} ON b.id = v.book_id
    STRAIGHT_JOIN book_categories AS c {{by_key}} ON c.book_id = b.id
    SET {", ".join(f"c.{name} = b.{name}" for name in COPIED)}
    """,  # noqa: S608 - names of ours
    sqlite=f"""
    UPDATE book_categories SET {", ".join(f"{name} = b.{name}" for name in COPIED)}
    FROM {{rows}} AS v CROSS JOIN books AS b ON b.id = v.book_id
    WHERE book_categories.book_id = b.id
    """,  # noqa: S608 - names of ours
)


async def add(conn: AsyncConnection, places: Iterable[tuple[int, int, int]]) -> None:
    """Put books into categories: each place is a book's id, a category's, and which of the
    book's categories it is, counted from 0."""
    if rows := sorted(places):
        await _ADD(conn, rows)


async def clear(conn: AsyncConnection, book_ids: Iterable[int]) -> None:
    """Take these books out of all categories."""
    if rows := [(book_id,) for book_id in sorted(book_ids)]:
        await _CLEAR(conn, rows)


async def take_out(conn: AsyncConnection, category_id: int, book_ids: Iterable[int]) -> None:
    """Take these books out of one category."""
    await conn.execute(
        delete(book_categories).where(
            book_categories.c.category_id == category_id,
            book_categories.c.book_id.in_(sorted(book_ids)),
        )
    )


async def follow(conn: AsyncConnection, book_ids: Iterable[int]) -> None:
    """List these books by what their own rows say now."""
    if rows := [(book_id,) for book_id in sorted(book_ids)]:
        await _FOLLOW(conn, rows)


def below(slug: str) -> Select[tuple[int]]:
    """The ids of a category and of all that lie within it; none where there is no such category."""
    tree = select(categories.c.id).where(categories.c.slug == slug).cte("tree", recursive=True)
    tree = tree.union(select(categories.c.id).join(tree, categories.c.parent_id == tree.c.id))
    return select(tree.c.id)


async def above(
    conn: AsyncConnection, category_ids: Collection[int]
) -> tuple[dict[int, int | None], dict[int, str]]:
    """The parents and the slugs of these categories, and of all that they lie within."""
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


def upwards(category_id: int, parents: Mapping[int, int | None]) -> Iterator[int]:
    """The category and all that it lies within; ends even where a tree is broken."""
    passed: set[int] = set()
    above: int | None = category_id
    while above is not None and above not in passed:
        yield above
        passed.add(above)
        above = parents.get(above)
