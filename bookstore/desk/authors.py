"""Authors as staff list them."""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import records, search
from bookstore.authors import Author
from bookstore.desk import slices
from bookstore.desk.slices import Slice
from bookstore.records import Book
from bookstore.tables import authors as table
from bookstore.tables import book_authors, books

SORTS: dict[str, ColumnElement[object]] = {"name": table.c.name_key, "new": table.c.id}
BY_NAME = "name"


async def find(
    conn: AsyncConnection, q: str, *, sort: str, cursor: str | None, limit: int
) -> Slice[Author]:
    """Authors in whose names all words of `q` begin a word.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    counted = (
        select(func.count(book_authors.c.book_id.distinct()))
        .join(books, books.c.id == book_authors.c.book_id)
        .where(book_authors.c.author_id == table.c.id, books.c.withdrawn_at.is_(None))
        .scalar_subquery()
    )
    query = select(table.c.id, table.c.name, counted.label("book_count"))
    for word in search.normal(q).split():
        query = query.where((" " + table.c.name_key).contains(f" {word}", autoescape=True))
    by = slices.order(sort, SORTS, table.c.id, BY_NAME)
    found = await slices.cut(conn, query, by, cursor=cursor, limit=limit)
    return found.of([Author(row.id, row.name, row.book_count) for row in found.items])


async def books_of(conn: AsyncConnection, author_id: int, *, limit: int) -> list[Book]:
    """The newest books of an author, withdrawn ones too."""
    written = select(book_authors.c.book_id).where(book_authors.c.author_id == author_id)
    query = records.select_books().where(books.c.id.in_(written))
    rows = (await conn.execute(query.order_by(books.c.id.desc()).limit(limit))).all()
    return await records.load(conn, rows)
