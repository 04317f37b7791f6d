"""Books: the catalogue."""

from collections.abc import Mapping

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, listing
from bookstore.catalogue.listing import Query
from bookstore.catalogue.models import Book
from bookstore.catalogue.validation import Draft
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
    BookQuery,
    shown,
)
from web.api.idempotency import made_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.preconditions import IF_MATCH, seen_version
from web.api.schemas import page_of
from web.auth.sessions import me
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE, RATES
from web.server.request_context import now

TAGS = ["books"]
STAFF = ["staff"]
#: The same for everybody, and to be asked for again each time: stock moves.
FOR_ALL = {"Cache-Control": "no-cache"}

BookPage = page_of(BookOut)


@operation(query=BookQuery, returns=(200, BookPage), tags=TAGS, refusals=[Invalid], kept=True)
async def list_books(request: web.Request, query: Fields) -> web.Response:
    """Find books.

    All conditions hold together.  Without `sort` a question is answered by relevance, and
    everything else with the newest first.
    """
    limit, cursor = query.pop("limit"), query.pop("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await listing.find(conn, Query(**query), cursor=cursor, limit=limit)
    currency = request.config_dict[RATES].currency
    shown_page = Page([shown(book, currency) for book in page.items], page.next)
    return page_answer(BookPage, request, shown_page, headers=FOR_ALL)


@operation(returns=(200, BookOut), tags=TAGS, kept=True)
async def show_book(request: web.Request) -> web.Response:
    """Show one book."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return book_answer(request, await books.get(conn, book_id(request)))


@operation(returns=(200, BookOut), tags=TAGS, refusals=[InvalidIsbn], kept=True)
async def show_book_by_isbn(request: web.Request) -> web.Response:
    """Show the book with this ISBN, in any spelling."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return book_answer(request, await books.by_isbn(conn, request.match_info["isbn"]))


@operation(
    body=BookIn,
    returns=(201, BookOut),
    tags=STAFF,
    refusals=[Invalid, InvalidIsbn, IsbnTaken],
    once=True,
)
async def create_book(request: web.Request, body: Fields) -> web.Response:
    """Take a book into the catalogue."""
    draft = Draft(**body)

    async def make(conn: AsyncConnection) -> Book:
        return await books.create(conn, draft, user_id=me(request).id, now=now())

    async def again(conn: AsyncConnection, result_id: int) -> Book:
        return await books.get(conn, result_id, withdrawn=True)

    book, headers = await made_once(request, body, make, again)
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
    """Change a book's fields, those that are sent and no others.

    A null empties a field.  Changing the price needs the permission `change-prices`.
    """
    user = me(request)
    if "price_cents" in body and not permits(user.role, Permission.CHANGE_PRICES):
        raise NotAllowed

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _seen(request, conn)
            return await books.change(
                conn, book_id(request), version, body, user_id=user.id, now=now()
            )

    return book_answer(request, await retry_transaction(work))


@operation(headers=IF_MATCH, returns=(204, None), tags=STAFF, refusals=[Stale, IfMatchRequired])
async def withdraw_book(request: web.Request) -> web.Response:
    """Withdraw a book: it is sold no longer, and stays in the orders that have it."""

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _seen(request, conn)
            await books.withdraw(conn, book_id(request), version, user_id=me(request).id, now=now())

    await retry_transaction(work)
    return web.Response(status=204)


def book_id(request: web.Request) -> int:
    """The id in the address."""
    return int(request.match_info["book_id"])


async def _seen(request: web.Request, conn: AsyncConnection) -> int:
    book = await books.get(conn, book_id(request))
    return seen_version(request, book.version)


def book_answer(
    request: web.Request,
    book: Book,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The book; its tag has the version, and the stock that sales move."""
    etag = f"{book.version}.{book.stock}"
    content = shown(book, request.config_dict[RATES].currency)
    return answer(
        BookOut, content, status=status, etag=etag, headers={**FOR_ALL, **(headers or {})}
    )
