"""Editions: links between books that are the same work."""

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import editions
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import Invalid
from web.api.book_schemas import BookOut, book_content
from web.api.books import expected_version
from web.api.field_types import JsonInteger, described
from web.api.operations import Fields, operation
from web.auth.sessions import current_user
from web.server.keys import RATES
from web.server.request_context import now
from web.server.transactions import read, write


class EditionsIn(Schema):
    book_ids = described(
        "The ids of the other editions.  An empty list removes the book from its work.",
        fields.List(
            JsonInteger(1, LARGEST_ID),
            required=True,
            validate=validate.Length(max=editions.MAX_EDITIONS),
        ),
    )


class EditionsOut(Schema):
    items = described(
        "The other editions on sale, the newest first.",
        fields.List(fields.Nested(BookOut), required=True),
    )


@operation(returns=(200, EditionsOut), cached=True)
async def list_editions(request: web.Request, book_id: int) -> Fields:
    """List the other editions of a book."""
    return await read(request, _others, request, book_id)


@operation(body=EditionsIn, versioned=True, returns=(200, EditionsOut), refusals=[Invalid])
async def link_editions(request: web.Request, book_id: int, body: Fields) -> Fields:
    """Set which books are other editions of this book.

    A listed book leaves the work that it belonged to.  Previous editions that are not listed
    remain linked to each other, without this book.
    """
    by, book_ids = current_user(request).id, body["book_ids"]

    async def link(conn: AsyncConnection) -> Fields:
        version = await expected_version(conn, request, book_id)
        await editions.link(conn, book_id, version, book_ids, user_id=by, now=now())
        return await _others(conn, request, book_id)

    return await write(request, link)


async def _others(conn: AsyncConnection, request: web.Request, book_id: int) -> Fields:
    currency = request.config_dict[RATES].currency
    found = await editions.find_others(conn, book_id)
    return {"items": [book_content(book, currency) for book in found]}
