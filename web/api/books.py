"""Books: the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import web
from marshmallow import fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, did_you_mean, listing
from bookstore.catalogue.listing import BookQuery
from bookstore.catalogue.models import Book
from bookstore.catalogue.validation import BookInput
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, InvalidIsbn, IsbnTaken, NotAllowed
from bookstore.users.permissions import Permission, permits
from web.api.book_schemas import BookChangesIn, BookIn, BookOut, BookQueryIn, book_content
from web.api.field_types import described
from web.api.idempotency import create_once
from web.api.operations import Answer, Fields, operation
from web.api.preconditions import check_if_match
from web.api.schemas import page_of
from web.auth.sessions import current_user
from web.server.keys import RATES
from web.server.request_context import now
from web.server.transactions import read, write

#: Caches may store the response but must revalidate it on each use, because stock changes.
REVALIDATE = {"Cache-Control": "no-cache"}


class BookPage(page_of(BookOut)):  # type: ignore[misc]
    corrected_query = described(
        "Only if the search found nothing as it was sent: the query with its spelling corrected,"
        " whose results these are.",
        fields.String(),
    )


@dataclass(frozen=True, slots=True)
class _CorrectedPage(Page[Fields]):
    """The results of a corrected query."""

    corrected_query: str = ""


@operation(query=BookQueryIn, returns=(200, BookPage), cached=True)
async def list_books(request: web.Request, query: Fields) -> Page[Fields]:
    """List books, or find them.

    A book must match all parameters.  Without `sort`, the results of a search (`q`) are sorted by
    relevance; other lists start with the newest book.  A search that finds nothing is repeated with
    its spelling corrected, as on the pages of the store; then `corrected_query` is the correction.
    """
    limit, cursor = query.pop("limit"), query.pop("cursor")
    corrected: str | None = None

    async def find(conn: AsyncConnection) -> Page[Book]:
        nonlocal corrected
        wanted = BookQuery(**query)
        page = await listing.find(conn, wanted, cursor=cursor, limit=limit)
        corrected = None
        if wanted.q and not page.items:
            corrected = await did_you_mean.suggest(conn, wanted.q)
        if corrected is None:
            return page
        return await listing.find(conn, replace(wanted, q=corrected), cursor=cursor, limit=limit)

    page = await read(request, find)
    currency = request.config_dict[RATES].currency
    items = [book_content(book, currency) for book in page.items]
    if corrected is None:
        return Page(items, page.next)
    return _CorrectedPage(items, page.next, corrected_query=corrected)


@operation(returns=(200, BookOut), cached=True)
async def show_book(request: web.Request, book_id: int) -> Answer:
    """Show a book."""
    return book_answer(request, await read(request, books.get, book_id))


@operation(returns=(200, BookOut), refusals=[InvalidIsbn], cached=True)
async def show_book_by_isbn(request: web.Request, isbn: str) -> Answer:
    """Show the book with this ISBN-10 or ISBN-13, with or without hyphens."""
    return book_answer(request, await read(request, books.by_isbn, isbn))


@operation(
    body=BookIn,
    returns=(201, BookOut),
    refusals=[Invalid, InvalidIsbn, IsbnTaken],
    idempotent=True,
)
async def create_book(request: web.Request, body: Fields) -> Answer:
    """Create a book in the catalogue."""
    by = current_user(request).id
    create = partial(books.create, book_input=BookInput(**body), user_id=by, now=now())
    load = partial(books.get, withdrawn=True)
    created = await create_once(request, body, create, load, location_by="id")
    return book_answer(request, created.content, created.headers)


@operation(
    body=BookChangesIn,
    versioned=True,
    returns=(200, BookOut),
    refusals=[Invalid, InvalidIsbn, IsbnTaken, NotAllowed],
)
async def change_book(request: web.Request, book_id: int, body: Fields) -> Answer:
    """Change the fields of a book that are sent.

    Fields that are not sent stay unchanged, and null clears a field.  Changing the price requires
    the permission `change-prices`.
    """
    user = current_user(request)
    if "price_cents" in body and not permits(user.role, Permission.CHANGE_PRICES):
        raise NotAllowed

    async def change(conn: AsyncConnection) -> Book:
        version = await expected_version(conn, request, book_id)
        return await books.change(conn, book_id, version, body, user_id=user.id, now=now())

    return book_answer(request, await write(request, change))


@operation(versioned=True, returns=(204, None))
async def withdraw_book(request: web.Request, book_id: int) -> None:
    """Withdraw a book.

    It is no longer sold or listed, but stays in existing orders.
    """

    by = current_user(request).id

    async def withdraw(conn: AsyncConnection) -> None:
        version = await expected_version(conn, request, book_id)
        await books.withdraw(conn, book_id, version, user_id=by, now=now())

    await write(request, withdraw)


async def expected_version(conn: AsyncConnection, request: web.Request, book_id: int) -> int:
    """The current version of the book, if `If-Match` of the request matches it.

    Raises:
        NotFound: there is no such book.
        IfMatchRequired, Stale: as for `check_if_match`.
    """
    return check_if_match(request, (await books.get(conn, book_id)).version)


def book_answer(request: web.Request, book: Book, headers: Mapping[str, str] = {}) -> Answer:
    """The response with a book.  Its ETag contains the version and the stock."""
    content = book_content(book, request.config_dict[RATES].currency)
    return Answer(content, {**REVALIDATE, **headers}, etag=str(book.stock), version=book.version)
