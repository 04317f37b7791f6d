"""Books: the catalogue."""

from collections.abc import Mapping

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, listing
from bookstore.catalogue.listing import BookQuery
from bookstore.catalogue.models import Book
from bookstore.catalogue.validation import BookInput
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import (
    Invalid,
    InvalidIsbn,
    IsbnTaken,
    NotAllowed,
    Stale,
)
from bookstore.users.permissions import Permission, permits
from web.api.book_schemas import (
    BookChangesIn,
    BookIn,
    BookOut,
    BookQueryIn,
    book_content,
)
from web.api.idempotency import create_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.preconditions import IF_MATCH, check_if_match
from web.api.schemas import page_of
from web.auth.sessions import current_user
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE, RATES
from web.server.request_context import now

TAGS = ["books"]
STAFF = ["staff"]
#: Caches may store the response but must revalidate it on each use, because stock changes.
REVALIDATE = {"Cache-Control": "no-cache"}

BookPage = page_of(BookOut)


@operation(query=BookQueryIn, returns=(200, BookPage), tags=TAGS, refusals=[Invalid], cached=True)
async def list_books(request: web.Request, query: Fields) -> web.Response:
    """List books, or find them.

    A book must match all parameters.  Without `sort`, the results of a search (`q`) are sorted by
    relevance; other lists start with the newest book.
    """
    limit, cursor = query.pop("limit"), query.pop("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await listing.find(conn, BookQuery(**query), cursor=cursor, limit=limit)
    currency = request.config_dict[RATES].currency
    content = Page([book_content(book, currency) for book in page.items], page.next)
    return page_answer(BookPage, request, content, headers=REVALIDATE)


@operation(returns=(200, BookOut), tags=TAGS, cached=True)
async def show_book(request: web.Request) -> web.Response:
    """Show a book."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return book_answer(request, await books.get(conn, book_id(request)))


@operation(returns=(200, BookOut), tags=TAGS, refusals=[InvalidIsbn], cached=True)
async def show_book_by_isbn(request: web.Request) -> web.Response:
    """Show the book with this ISBN-10 or ISBN-13, with or without hyphens."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return book_answer(request, await books.by_isbn(conn, request.match_info["isbn"]))


@operation(
    body=BookIn,
    returns=(201, BookOut),
    tags=STAFF,
    refusals=[Invalid, InvalidIsbn, IsbnTaken],
    idempotent=True,
)
async def create_book(request: web.Request, body: Fields) -> web.Response:
    """Create a book in the catalogue."""
    book_input = BookInput(**body)

    async def create(conn: AsyncConnection) -> Book:
        return await books.create(conn, book_input, user_id=current_user(request).id, now=now())

    async def load(conn: AsyncConnection, result_id: int) -> Book:
        return await books.get(conn, result_id, withdrawn=True)

    book, headers = await create_once(request, body, create, load)
    headers["Location"] = f"/api/v1/books/{book.id}"
    return book_answer(request, book, status=201, headers=headers)


@operation(
    body=BookChangesIn,
    headers=IF_MATCH,
    returns=(200, BookOut),
    tags=STAFF,
    refusals=[Invalid, InvalidIsbn, IsbnTaken, Stale, IfMatchRequired, NotAllowed],
)
async def change_book(request: web.Request, body: Fields) -> web.Response:
    """Change the fields of a book that are sent.

    Fields that are not sent stay unchanged, and null clears a field.  Changing the price requires
    the permission `change-prices`.
    """
    user = current_user(request)
    if "price_cents" in body and not permits(user.role, Permission.CHANGE_PRICES):
        raise NotAllowed

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _expected_version(request, conn)
            return await books.change(
                conn, book_id(request), version, body, user_id=user.id, now=now()
            )

    return book_answer(request, await retry_transaction(work))


@operation(headers=IF_MATCH, returns=(204, None), tags=STAFF, refusals=[Stale, IfMatchRequired])
async def withdraw_book(request: web.Request) -> web.Response:
    """Withdraw a book.

    It is no longer sold or listed, but stays in existing orders.
    """

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _expected_version(request, conn)
            await books.withdraw(
                conn, book_id(request), version, user_id=current_user(request).id, now=now()
            )

    await retry_transaction(work)
    return web.Response(status=204)


def book_id(request: web.Request) -> int:
    """The id in the URL."""
    return int(request.match_info["book_id"])


async def _expected_version(request: web.Request, conn: AsyncConnection) -> int:
    book = await books.get(conn, book_id(request))
    return check_if_match(request, book.version)


def book_answer(
    request: web.Request,
    book: Book,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The response with a book.  Its ETag contains the version and the stock."""
    etag = f"{book.version}.{book.stock}"
    content = book_content(book, request.config_dict[RATES].currency)
    return answer(
        BookOut, content, status=status, etag=etag, headers={**REVALIDATE, **(headers or {})}
    )
