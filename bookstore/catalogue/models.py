"""The `Book` model, loaded from rows in batches, without a query per book."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import release
from bookstore.database.tables import (
    authors,
    book_authors,
    book_categories,
    book_stock,
    books,
    categories,
)

#: The fields of `Book` that are columns of the same name in `books`.
COLUMNS = (
    "isbn13",
    "title",
    "subtitle",
    "description",
    "publisher",
    "year",
    "language",
    "format",
    "pages",
    "price_cents",
    "on_sale_from",
)


@dataclass(frozen=True, slots=True)
class Contributor:
    id: int
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class CategoryRef:
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class Book:
    """A book; `description` is sanitised HTML.

    `cover` is the file name of an uploaded cover (see `covers.uploaded`); None means that a
    typographic cover is drawn.  `forthcoming` is whether it must not be sold before
    `on_sale_from` (ISO 8601, as exact as known); `available` is whether it is on sale and in stock.
    """

    id: int
    isbn13: str
    title: str
    subtitle: str | None
    description: str | None
    authors: list[Contributor]
    categories: list[CategoryRef]
    publisher: str | None
    year: int | None
    language: str | None
    format: str | None
    pages: int | None
    price_cents: int
    on_sale_from: str | None
    cover: str | None
    stock: int
    forthcoming: bool
    available: bool
    withdrawn_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


def select_books() -> Select[Any]:
    """A query for the rows that `load` needs."""
    columns = [column for column in books.c if column.name != "sort_title"]
    return select(*columns, book_stock.c.stock).join_from(
        books, book_stock, book_stock.c.book_id == books.c.id
    )


async def load(conn: AsyncConnection, rows: Sequence[Any]) -> list[Book]:
    """The books of rows that `select_books` returned, in the same order.

    Runs two more statements, whatever the number of books.
    """
    ids = [row.id for row in rows]
    now = datetime.now(UTC)
    people = await contributors(conn, ids)
    refs = await category_refs(conn, ids)
    return [
        Book(
            **{name: row._mapping[name] for name in COLUMNS},
            id=row.id,
            authors=people.get(row.id, []),
            categories=refs.get(row.id, []),
            cover=row.cover,
            stock=row.stock,
            forthcoming=not release.is_released(row.on_sale_from, now),
            available=row.withdrawn_at is None
            and row.stock > 0
            and release.is_released(row.on_sale_from, now),
            withdrawn_at=row.withdrawn_at,
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


async def contributors(
    conn: AsyncConnection, book_ids: Collection[int]
) -> dict[int, list[Contributor]]:
    """The contributors of each of these books, in the order in which the cover names them."""
    found: dict[int, list[Contributor]] = {}
    if book_ids:
        for row in await conn.execute(
            select(
                book_authors.c.book_id,
                book_authors.c.author_id,
                authors.c.name,
                book_authors.c.role,
            )
            .join(authors, authors.c.id == book_authors.c.author_id)
            .where(book_authors.c.book_id.in_(book_ids))
            .order_by(book_authors.c.book_id, book_authors.c.position)
        ):
            contributor = Contributor(row.author_id, row.name, row.role)
            found.setdefault(row.book_id, []).append(contributor)
    return found


async def category_refs(
    conn: AsyncConnection, book_ids: Collection[int]
) -> dict[int, list[CategoryRef]]:
    """The categories of each of these books, the main category first."""
    found: dict[int, list[CategoryRef]] = {}
    if book_ids:
        for row in await conn.execute(
            select(book_categories.c.book_id, categories.c.slug, categories.c.name)
            .join(categories, categories.c.id == book_categories.c.category_id)
            .where(book_categories.c.book_id.in_(book_ids))
            .order_by(book_categories.c.book_id, book_categories.c.position)
        ):
            found.setdefault(row.book_id, []).append(CategoryRef(row.slug, row.name))
    return found
