"""Authors as staff list them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import models, search
from bookstore.catalogue.authors import Author
from bookstore.catalogue.models import Book
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import authors as table
from bookstore.database.tables import book_authors, books

SORTS: dict[str, ColumnElement[object]] = {"name": table.c.name_key, "new": table.c.id}
BY_NAME = "name"


@dataclass(frozen=True, slots=True)
class Query:
    """Which authors: those in whose names all words of `q` begin a word."""

    q: str = ""


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Author]:
    """Authors that meet the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    counted = (
        select(func.count(book_authors.c.book_id.distinct()))
        .join(books, books.c.id == book_authors.c.book_id)
        .where(book_authors.c.author_id == table.c.id, books.c.withdrawn_at.is_(None))
        .scalar_subquery()
    )
    wanted = _filtered(query).add_columns(table.c.name, counted.label("book_count"))
    by = list_pagination.order(sort, SORTS, table.c.id, BY_NAME)
    found = await list_pagination.cut(conn, wanted, by, cursor=cursor, limit=limit)
    return found.of([Author(row.id, row.name, row.book_count) for row in found.items])


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How many authors meet the query, up to `most`."""
    return await list_pagination.count(conn, _filtered(query), most)


async def books_of(conn: AsyncConnection, author_id: int, *, limit: int) -> list[Book]:
    """The newest books of an author, withdrawn ones too."""
    written = select(book_authors.c.book_id).where(book_authors.c.author_id == author_id)
    query = models.select_books().where(books.c.id.in_(written))
    rows = (await conn.execute(query.order_by(books.c.id.desc()).limit(limit))).all()
    return await models.load(conn, rows)


def _filtered(query: Query) -> Select[Any]:
    found = select(table.c.id)
    for word in search.normal(query.q).split():
        found = found.where((" " + table.c.name_key).contains(f" {word}", autoescape=True))
    return found
