"""Creating, changing and reading books.

A book is never deleted but withdrawn: it disappears from lists and carts and stays in old orders.
Each change by staff increases the book's `version`, for optimistic locking.  Sales do not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import authors, category_index, isbn, models, search, stock, validation
from bookstore.catalogue.listing import BookQuery as BookQuery
from bookstore.catalogue.listing import Sort as Sort
from bookstore.catalogue.listing import find as find
from bookstore.catalogue.models import Book as Book
from bookstore.catalogue.models import CategoryRef as CategoryRef
from bookstore.catalogue.models import Contributor as Contributor
from bookstore.catalogue.validation import BookInput as BookInput
from bookstore.catalogue.validation import Contribution
from bookstore.database.pagination import LARGEST_ID
from bookstore.database.tables import book_authors, book_stock, books, categories
from bookstore.errors import Invalid, IsbnTaken, NotFound, Stale

SORT_TITLE_LENGTH = 200


async def create(
    conn: AsyncConnection, book_input: BookInput, *, user_id: int | None, now: datetime
) -> Book:
    """Add a book to the catalogue.  Authors that do not exist are created.

    Raises:
        Invalid: a field breaks a rule, or a category does not exist.
        IsbnTaken: a book with this ISBN exists; it may be withdrawn.
    """
    values = validation.validate(asdict(book_input) | {"authors": book_input.authors}, now=now)
    columns = {name: values[name] for name in models.COLUMNS}
    category_ids = await _category_ids(conn, values["categories"])
    row = columns | {"sort_title": sort_title(values["title"]), "version": 1}
    try:
        inserted = await conn.execute(
            insert(books).values(row | {"created_at": now, "updated_at": now})
        )
    except IntegrityError:
        raise IsbnTaken(values["isbn13"]) from None
    book_id: int = inserted.lastrowid
    await conn.execute(insert(book_stock).values(book_id=book_id, stock=0))
    await _write_authors(conn, book_id, values["authors"])
    await _write_categories(conn, book_id, category_ids)
    if values["stock"]:
        received = stock.StockReason.RECEIVED
        await stock.move(conn, book_id, values["stock"], received, user_id=user_id, now=now)
    book = await get(conn, book_id)
    await _index(conn, book)
    changes = {name: [None, value] for name, value in columns.items() if value is not None}
    await audit.record(conn, "create", "book", book_id, changes, user_id=user_id, now=now)
    return book


async def change(
    conn: AsyncConnection,
    book_id: int,
    version: int,
    changes: Mapping[str, Any],
    *,
    user_id: int | None,
    now: datetime,
) -> Book:
    """Change the fields in `changes` and no others; None empties a field (RFC 7396).

    Fields that keep their value are ignored.  If no field changes, the version stays the same.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is no longer at `version`.
        Invalid: a field breaks a rule, a category does not exist, or `changes` contains `stock`,
            which only `stock.move` changes.
        IsbnTaken: another book has the new ISBN.
    """
    if "stock" in changes:
        raise Invalid("stock", "Change the stock with a stock movement.")
    book = await _at_version(conn, book_id, version)
    before = _field_values(book)
    values = validation.validate(changes, now=now)
    after = {field: value for field, value in values.items() if value != before[field]}
    if not after:
        return book
    columns = {name: after[name] for name in models.COLUMNS if name in after}
    if "title" in after:
        columns["sort_title"] = sort_title(after["title"])
    await _update(conn, book_id, version, columns, now=now)
    if "authors" in after:
        await conn.execute(delete(book_authors).where(book_authors.c.book_id == book_id))
        await _write_authors(conn, book_id, after["authors"])
    if "categories" in after:
        category_ids = await _category_ids(conn, after["categories"])
        await category_index.clear(conn, [book_id])
        await _write_categories(conn, book_id, category_ids)
    changed = await get(conn, book_id)
    await _index(conn, changed)
    audited = {
        field: [_json_value(before[field]), _json_value(value)] for field, value in after.items()
    }
    await audit.record(conn, "change", "book", book_id, audited, user_id=user_id, now=now)
    return changed


async def withdraw(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> None:
    """Withdraw a book from sale.

    Raises:
        NotFound: there is no such book, or it is already withdrawn.
        Stale: the book is no longer at `version`.
    """
    await _at_version(conn, book_id, version)
    await _update(conn, book_id, version, {"withdrawn_at": now}, now=now)
    changes = {"withdrawn_at": [None, now.isoformat()]}
    await audit.record(conn, "withdraw", "book", book_id, changes, user_id=user_id, now=now)


async def restore(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> Book:
    """Put a withdrawn book on sale again.  A book that is on sale is returned unchanged.

    Raises:
        NotFound: there is no such book.
        Stale: the book is no longer at `version`.
    """
    book = await _at_version(conn, book_id, version, withdrawn=True)
    if book.withdrawn_at is None:
        return book
    await _update(conn, book_id, version, {"withdrawn_at": None}, now=now)
    changes = {"withdrawn_at": [book.withdrawn_at.isoformat(), None]}
    await audit.record(conn, "restore", "book", book_id, changes, user_id=user_id, now=now)
    return await get(conn, book_id)


async def touch(conn: AsyncConnection, book_id: int, version: int, *, now: datetime) -> None:
    """Increase the book's version, because data outside the book's own row changes.

    Raises:
        NotFound: there is no such book.
        Stale: the book is no longer at `version`.
    """
    await _update(conn, book_id, version, {}, now=now)


async def get(conn: AsyncConnection, book_id: int, *, withdrawn: bool = False) -> Book:
    """One book; a withdrawn one only with `withdrawn=True`.

    Raises:
        NotFound: there is no such book.
    """
    if not 0 < book_id <= LARGEST_ID:
        raise NotFound("This book")
    query = models.select_books().where(books.c.id == book_id)
    return await _fetch_one(conn, query, withdrawn=withdrawn)


async def by_ids(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, Book]:
    """These books, including withdrawn ones; ids without a book are left out."""
    if not book_ids:
        return {}
    query = models.select_books().where(books.c.id.in_(sorted(book_ids)))
    rows = (await conn.execute(query)).all()
    return {book.id: book for book in await models.load(conn, rows)}


async def by_isbn(conn: AsyncConnection, text: str, *, withdrawn: bool = False) -> Book:
    """The book with this ISBN, in any spelling; a withdrawn one only with `withdrawn=True`.

    Raises:
        InvalidIsbn: `text` is not an ISBN.
        NotFound: the store has no such book.
    """
    query = models.select_books().where(books.c.isbn13 == isbn.parse(text))
    return await _fetch_one(conn, query, withdrawn=withdrawn)


def sort_title(title: str) -> str:
    """The key that lists sort a title by: its normalised words, or the title if it has none."""
    return (search.normalize(title) or title.casefold())[:SORT_TITLE_LENGTH]


async def _at_version(
    conn: AsyncConnection, book_id: int, version: int, *, withdrawn: bool = False
) -> Book:
    book = await get(conn, book_id, withdrawn=withdrawn)
    if book.version != version:
        raise Stale(book.version)
    return book


async def _fetch_one(conn: AsyncConnection, query: Select[Any], *, withdrawn: bool) -> Book:
    row = (await conn.execute(query)).one_or_none()
    if row is None or (row.withdrawn_at is not None and not withdrawn):
        raise NotFound("This book")
    return (await models.load(conn, [row]))[0]


async def _update(
    conn: AsyncConnection, book_id: int, version: int, columns: dict[str, Any], *, now: datetime
) -> None:
    """Update the book's row if it is still at `version`, and increase the version.

    Of two concurrent changes only one passes this statement; the other raises `Stale`.
    """
    try:
        changed = await conn.execute(
            update(books)
            .where(books.c.id == book_id, books.c.version == version)
            .values(**columns, version=version + 1, updated_at=now)
        )
    except IntegrityError:
        raise IsbnTaken(columns["isbn13"]) from None
    if changed.rowcount == 0:
        raise Stale((await get(conn, book_id, withdrawn=True)).version)
    if not columns.keys().isdisjoint(category_index.COPIED_COLUMNS):
        await category_index.refresh(conn, [book_id])


async def _category_ids(conn: AsyncConnection, slugs: Sequence[str]) -> list[int]:
    if not slugs:
        return []
    # The database driver cannot encode a slug that contains a lone surrogate.
    encodable = [slug for slug in slugs if slug.isprintable()]
    found = await conn.execute(
        select(categories.c.slug, categories.c.id).where(categories.c.slug.in_(encodable))
    )
    ids = {row.slug: row.id for row in found}
    for slug in slugs:
        if slug not in ids:
            raise Invalid("categories", f"There is no category {slug!r}.")
    return [ids[slug] for slug in slugs]


async def _write_authors(
    conn: AsyncConnection, book_id: int, contributions: Sequence[Contribution]
) -> None:
    ids = await authors.get_or_create(conn, [it.name for it in contributions])
    keys = ("book_id", "position", "author_id", "role")
    rows = [
        dict(zip(keys, (book_id, position, ids[authors.key(it.name)], it.role), strict=True))
        for position, it in enumerate(contributions)
    ]
    await conn.execute(insert(book_authors), rows)


async def _write_categories(
    conn: AsyncConnection, book_id: int, category_ids: Sequence[int]
) -> None:
    rows = [(book_id, category_id, position) for position, category_id in enumerate(category_ids)]
    await category_index.add(conn, rows)


async def _index(conn: AsyncConnection, book: Book) -> None:
    await search.index(conn, {book.id: search.SearchEntry.of(book).words()})


def _field_values(book: Book) -> dict[str, Any]:
    """The book's values in the form that `validation.validate` returns, for comparison."""
    return {name: getattr(book, name) for name in models.COLUMNS} | {
        "authors": [Contribution(person.name, person.role) for person in book.authors],
        "categories": [category.slug for category in book.categories],
    }


def _json_value(value: Any) -> Any:
    """The value in a form that can be stored as JSON."""
    if isinstance(value, list):
        return [
            f"{part.name} ({part.role})" if isinstance(part, Contribution) else part
            for part in value
        ]
    return value
