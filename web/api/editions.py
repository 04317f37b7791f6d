"""Editions: which books are the same work."""

from typing import Any

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, editions
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import Invalid, Stale
from web.api.book_schemas import BookOut, shown
from web.api.books import FOR_ALL, STAFF, TAGS, book_id
from web.api.field_types import Count
from web.api.operations import Fields, answer, operation
from web.api.preconditions import IF_MATCH, seen_version
from web.auth.sessions import me
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE, RATES
from web.server.request_context import now


class EditionsIn(Schema):
    book_ids = fields.List(
        Count(1, LARGEST_ID),
        required=True,
        validate=validate.Length(max=editions.MOST),
        metadata={"description": "The other editions; an empty list lets the book stand alone."},
    )


class EditionsOut(Schema):
    items = fields.List(
        fields.Nested(BookOut),
        required=True,
        metadata={"description": "The other editions that are sold, the newest first."},
    )


@operation(returns=(200, EditionsOut), tags=TAGS, kept=True)
async def list_editions(request: web.Request) -> web.Response:
    """Show the other editions of a book."""
    async with reading(request.config_dict[ENGINE]) as conn:
        content = await _others(request, conn)
    return answer(EditionsOut, content, headers=FOR_ALL)


@operation(
    body=EditionsIn,
    headers=IF_MATCH,
    returns=(200, EditionsOut),
    tags=STAFF,
    refusals=[Invalid, Stale, IfMatchRequired],
)
async def link_editions(request: web.Request, body: Fields) -> web.Response:
    """Say which books are other editions of this one.

    A book that is named leaves the work that it was in; those that are named no more stay
    together without this book.
    """

    async def work() -> dict[str, Any]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id(request))
            seen = seen_version(request, book.version)
            await editions.link(
                conn, book.id, seen, body["book_ids"], user_id=me(request).id, now=now()
            )
            return await _others(request, conn)

    return answer(EditionsOut, await retry_transaction(work))


async def _others(request: web.Request, conn: AsyncConnection) -> dict[str, Any]:
    currency = request.config_dict[RATES].currency
    found = await editions.of(conn, book_id(request))
    return {"items": [shown(book, currency) for book in found]}
