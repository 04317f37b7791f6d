"""Editions: links between books that are the same work."""

from typing import Any

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, editions
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import Invalid, Stale
from web.api.book_schemas import BookOut, book_content
from web.api.books import REVALIDATE, STAFF, TAGS, book_id
from web.api.field_types import JsonInteger
from web.api.operations import Fields, answer, operation
from web.api.preconditions import IF_MATCH, check_if_match
from web.auth.sessions import current_user
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE, RATES
from web.server.request_context import now


class EditionsIn(Schema):
    book_ids = fields.List(
        JsonInteger(1, LARGEST_ID),
        required=True,
        validate=validate.Length(max=editions.MAX_EDITIONS),
        metadata={
            "description": "The ids of the other editions.  An empty list removes the book from its"
            " work."
        },
    )


class EditionsOut(Schema):
    items = fields.List(
        fields.Nested(BookOut),
        required=True,
        metadata={"description": "The other editions on sale, the newest first."},
    )


@operation(returns=(200, EditionsOut), tags=TAGS, cached=True)
async def list_editions(request: web.Request) -> web.Response:
    """List the other editions of a book."""
    async with reading(request.config_dict[ENGINE]) as conn:
        content = await _others(request, conn)
    return answer(EditionsOut, content, headers=REVALIDATE)


@operation(
    body=EditionsIn,
    headers=IF_MATCH,
    returns=(200, EditionsOut),
    tags=STAFF,
    refusals=[Invalid, Stale, IfMatchRequired],
)
async def link_editions(request: web.Request, body: Fields) -> web.Response:
    """Set which books are other editions of this book.

    A listed book leaves the work that it belonged to.  Previous editions that are not listed
    remain linked to each other, without this book.
    """

    async def work() -> dict[str, Any]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id(request))
            version = check_if_match(request, book.version)
            await editions.link(
                conn,
                book.id,
                version,
                body["book_ids"],
                user_id=current_user(request).id,
                now=now(),
            )
            return await _others(request, conn)

    return answer(EditionsOut, await retry_transaction(work))


async def _others(request: web.Request, conn: AsyncConnection) -> dict[str, Any]:
    currency = request.config_dict[RATES].currency
    found = await editions.find_others(conn, book_id(request))
    return {"items": [book_content(book, currency) for book in found]}
