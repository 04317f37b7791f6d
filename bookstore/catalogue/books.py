"""Books: the catalogue.

A book is never deleted, it is withdrawn: gone from lists and carts, kept in old orders.
Each change by staff counts the book's `version` up; sales do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import authors, category_index, isbn, models, search, stock, validation
from bookstore.catalogue.listing import Query, Sort, find
from bookstore.catalogue.models import Book, CategoryRef, Contributor
from bookstore.catalogue.validation import Contribution, Draft
from bookstore.database.pagination import LARGEST_ID
from bookstore.database.tables import book_authors, book_stock, books, categories
from bookstore.errors import Invalid, IsbnTaken, NotFound, Stale

__all__ = [
    "Book",
    "CategoryRef",
    "Contributor",
    "Draft",
    "Query",
    "Sort",
    "by_isbn",
    "change",
    "create",
    "find",
    "get",
    "restore",
    "touch",
    "withdraw",
]

SORT_TITLE_LENGTH = 200


async def create(
    conn: AsyncConnection, draft: Draft, *, user_id: int | None, now: datetime
) -> Book:
    """Take a book into the catalogue; authors who are new are written down with it.

    Raises:
        Invalid: a field breaks a rule, or a category does not exist.
        IsbnTaken: there is a book with this ISBN, perhaps a withdrawn one.
    """
    facts = validation.checked(asdict(draft) | {"authors": draft.authors}, now=now)
    columns = {name: facts[name] for name in models.COLUMNS}
    category_ids = await _category_ids(conn, facts["categories"])
    try:
        inserted = await conn.execute(
            insert(books).values(
                **columns,
                sort_title=sort_title(facts["title"]),
                version=1,
                created_at=now,
                updated_at=now,
            )
        )
    except IntegrityError:
        raise IsbnTaken(facts["isbn13"]) from None
    book_id: int = inserted.lastrowid
    await conn.execute(insert(book_stock).values(book_id=book_id, stock=0))
    await _write_authors(conn, book_id, facts["authors"])
    await _write_categories(conn, book_id, category_ids)
    if facts["stock"]:
        received = stock.Reason.RECEIVED
        await stock.move(conn, book_id, facts["stock"], received, user_id=user_id, now=now)
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

    What is the same as before is no change: when nothing else is left, the version stays.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is not at `version` any more.
        Invalid: a field breaks a rule, a category does not exist, or it is the stock, which
            moves by `stock.move`.
        IsbnTaken: another book has the new ISBN.
    """
    if "stock" in changes:
        raise Invalid("stock", "Copies come and go by stock movements.")
    book = await get(conn, book_id)
    if book.version != version:
        raise Stale(book.version)
    before = _facts(book)
    after = {
        field: value
        for field, value in validation.checked(changes, now=now).items()
        if value != before[field]
    }
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
    told = {field: [_plain(before[field]), _plain(value)] for field, value in after.items()}
    await audit.record(conn, "change", "book", book_id, told, user_id=user_id, now=now)
    return changed


async def withdraw(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> None:
    """Sell a book no longer.

    Raises:
        NotFound: there is no such book, or it is withdrawn already.
        Stale: the book is not at `version` any more.
    """
    book = await get(conn, book_id)
    if book.version != version:
        raise Stale(book.version)
    await _update(conn, book_id, version, {"withdrawn_at": now}, now=now)
    told = {"withdrawn_at": [None, now.isoformat()]}
    await audit.record(conn, "withdraw", "book", book_id, told, user_id=user_id, now=now)


async def restore(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> Book:
    """Sell a withdrawn book again; one that is sold stays as it is.

    Raises:
        NotFound: there is no such book.
        Stale: the book is not at `version` any more.
    """
    book = await get(conn, book_id, withdrawn=True)
    if book.version != version:
        raise Stale(book.version)
    if book.withdrawn_at is None:
        return book
    await _update(conn, book_id, version, {"withdrawn_at": None}, now=now)
    told = {"withdrawn_at": [book.withdrawn_at.isoformat(), None]}
    await audit.record(conn, "restore", "book", book_id, told, user_id=user_id, now=now)
    return await get(conn, book_id)


async def touch(conn: AsyncConnection, book_id: int, version: int, *, now: datetime) -> None:
    """Count the version up, because something beside the book's own row changes.

    Raises:
        NotFound: there is no such book.
        Stale: the book is not at `version` any more.
    """
    await _update(conn, book_id, version, {}, now=now)


async def get(conn: AsyncConnection, book_id: int, *, withdrawn: bool = False) -> Book:
    """One book; a withdrawn one only if asked for.

    Raises:
        NotFound: there is no such book.
    """
    if not 0 < book_id <= LARGEST_ID:
        raise NotFound("This book")
    return await _one(conn, models.select_books().where(books.c.id == book_id), withdrawn=withdrawn)


async def by_isbn(conn: AsyncConnection, text: str, *, withdrawn: bool = False) -> Book:
    """The book with this ISBN, spelled in any way.

    Raises:
        InvalidIsbn: this is none.
        NotFound: the store has no such book.
    """
    query = models.select_books().where(books.c.isbn13 == isbn.parse(text))
    return await _one(conn, query, withdrawn=withdrawn)


def sort_title(title: str) -> str:
    """By what a title stands in a list: plain words, or the title where it has none."""
    return (search.normal(title) or title.casefold())[:SORT_TITLE_LENGTH]


async def _one(conn: AsyncConnection, query: Select[Any], *, withdrawn: bool) -> Book:
    row = (await conn.execute(query)).one_or_none()
    if row is None or (row.withdrawn_at is not None and not withdrawn):
        raise NotFound("This book")
    return (await models.load(conn, [row]))[0]


async def _update(
    conn: AsyncConnection, book_id: int, version: int, columns: dict[str, Any], *, now: datetime
) -> None:
    """The one statement that decides between two who change a book at once."""
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
    if not columns.keys().isdisjoint(category_index.COPIED):
        await category_index.follow(conn, [book_id])


async def _category_ids(conn: AsyncConnection, slugs: Sequence[str]) -> list[int]:
    if not slugs:
        return []
    # A slug with half a surrogate pair in it cannot even be asked for.
    asked = [slug for slug in slugs if slug.isprintable()]
    found = await conn.execute(
        select(categories.c.slug, categories.c.id).where(categories.c.slug.in_(asked))
    )
    ids = {row.slug: row.id for row in found}
    for slug in slugs:
        if slug not in ids:
            raise Invalid("categories", f"There is no category {slug!r}.")
    return [ids[slug] for slug in slugs]


async def _write_authors(
    conn: AsyncConnection, book_id: int, contributions: Sequence[Contribution]
) -> None:
    ids = await authors.ensure(conn, [contribution.name for contribution in contributions])
    await conn.execute(
        insert(book_authors),
        [
            {
                "book_id": book_id,
                "position": position,
                "author_id": ids[authors.key(contribution.name)],
                "role": contribution.role,
            }
            for position, contribution in enumerate(contributions)
        ],
    )


async def _write_categories(
    conn: AsyncConnection, book_id: int, category_ids: Sequence[int]
) -> None:
    await category_index.add(
        conn, [(book_id, category_id, place) for place, category_id in enumerate(category_ids)]
    )


async def _index(conn: AsyncConnection, book: Book) -> None:
    await search.index(conn, {book.id: search.Entry.of(book).words()})


def _facts(book: Book) -> dict[str, Any]:
    """The book in the words of a draft, to be compared with one."""
    return {name: getattr(book, name) for name in models.COLUMNS} | {
        "authors": [Contribution(person.name, person.role) for person in book.authors],
        "categories": [category.slug for category in book.categories],
    }


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, list):
        return [
            f"{part.name} ({part.role})" if isinstance(part, Contribution) else part
            for part in value
        ]
    return value
