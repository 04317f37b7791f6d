"""The authors list of the back office."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.catalogue import models, search
from bookstore.catalogue.authors import Author
from bookstore.catalogue.models import Book
from bookstore.database.tables import authors as table
from bookstore.database.tables import book_authors, books
from bookstore.users.permissions import Permission


@dataclass(frozen=True, slots=True)
class AuthorQuery:
    """A filter for authors: each word of `q` must be the prefix of a word of the name."""

    q: str = ""


async def books_of(conn: AsyncConnection, author_id: int, *, limit: int) -> list[Book]:
    """The newest books of an author, including withdrawn ones."""
    written = select(book_authors.c.book_id).where(book_authors.c.author_id == author_id)
    query = models.select_books().where(books.c.id.in_(written))
    rows = (await conn.execute(query.order_by(books.c.id.desc()).limit(limit))).all()
    return await models.load(conn, rows)


async def _select(conn: AsyncConnection, query: AuthorQuery) -> Select[Any]:
    book_count = (
        select(func.count(book_authors.c.book_id.distinct()))
        .join(books, books.c.id == book_authors.c.book_id)
        .where(book_authors.c.author_id == table.c.id, books.c.withdrawn_at.is_(None))
        .scalar_subquery()
    )
    found: Select[Any] = select(table.c.id, table.c.name, book_count.label("book_count"))
    for word in search.normalize(query.q).split():
        found = found.where((" " + table.c.name_key).contains(f" {word}", autoescape=True))
    return found


def _author(row: Any) -> Author:
    return Author(row.id, row.name, row.book_count)


AUTHORS = List(
    name="authors",
    query=AuthorQuery,
    select=_select,
    load=lists.each(_author),
    id=table.c.id,
    sorts={"name": table.c.name_key, "new": table.c.id},
    default_sort="name",
    columns={"id": "id", "name": "name", "books": "book_count"},
    export_permission=Permission.EXPORT_BOOKS,
)
