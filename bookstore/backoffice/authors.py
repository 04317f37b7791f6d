"""The authors list of the back office."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import models, search
from bookstore.catalogue.authors import Author
from bookstore.catalogue.models import Book
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import authors as table
from bookstore.database.tables import book_authors, books

SORTS: dict[str, ColumnElement[object]] = {"name": table.c.name_key, "new": table.c.id}
BY_NAME = "name"


@dataclass(frozen=True, slots=True)
class AuthorQuery:
    """A filter for authors: each word of `q` must be the prefix of a word of the name."""

    q: str = ""


async def find(
    conn: AsyncConnection, query: AuthorQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[Author]:
    """The authors that match the query.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    book_count = (
        select(func.count(book_authors.c.book_id.distinct()))
        .join(books, books.c.id == book_authors.c.book_id)
        .where(book_authors.c.author_id == table.c.id, books.c.withdrawn_at.is_(None))
        .scalar_subquery()
    )
    selected = _filtered(query).add_columns(table.c.name, book_count.label("book_count"))
    by = list_pagination.order(sort, SORTS, table.c.id, BY_NAME)
    found = await list_pagination.select_page(conn, selected, by, cursor=cursor, limit=limit)
    return found.with_items([Author(row.id, row.name, row.book_count) for row in found.items])


async def count(
    conn: AsyncConnection, query: AuthorQuery, up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many authors match the query, at most `up_to`."""
    return await list_pagination.count(conn, _filtered(query), up_to)


async def books_of(conn: AsyncConnection, author_id: int, *, limit: int) -> list[Book]:
    """The newest books of an author, including withdrawn ones."""
    written = select(book_authors.c.book_id).where(book_authors.c.author_id == author_id)
    query = models.select_books().where(books.c.id.in_(written))
    rows = (await conn.execute(query.order_by(books.c.id.desc()).limit(limit))).all()
    return await models.load(conn, rows)


def _filtered(query: AuthorQuery) -> Select[Any]:
    found = select(table.c.id)
    for word in search.normalize(query.q).split():
        found = found.where((" " + table.c.name_key).contains(f" {word}", autoescape=True))
    return found
