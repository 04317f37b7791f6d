"""Stock: copies in and out, and the ledger of one book."""

from typing import NamedTuple

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, stock
from bookstore.catalogue.stock import BY_HAND, MOST, NOTE_LENGTH, Movement, Reason
from bookstore.database.engine import reading
from bookstore.errors import Invalid, OutOfStock
from web.api.books import book_id
from web.api.field_types import Count, Line, Moment
from web.api.idempotency import made_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["staff"]


class MovementIn(Schema):
    delta = Count(
        -MOST, MOST, required=True, metadata={"description": "Negative when copies leave."}
    )
    reason = fields.Enum(
        Reason, by_value=True, required=True, validate=validate.OneOf(sorted(BY_HAND))
    )
    note = Line(NOTE_LENGTH, allow_none=True)


class MovementOut(Schema):
    id = fields.Integer(required=True)
    book_id = fields.Integer(required=True)
    delta = fields.Integer(required=True)
    reason = fields.Enum(Reason, by_value=True, required=True)
    note = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)


class MovedOut(MovementOut):
    stock = fields.Integer(required=True, metadata={"description": "Copies there are now."})


MovementPage = page_of(MovementOut)


class _Moved(NamedTuple):
    """A movement, and the copies there are now."""

    id: int
    movement: Movement
    stock: int


@operation(
    body=MovementIn,
    returns=(201, MovedOut),
    tags=TAGS,
    refusals=[Invalid, OutOfStock],
    once=True,
)
async def move_stock(request: web.Request, body: Fields) -> web.Response:
    """Put copies of a book on the shelf, or take them from it."""

    async def make(conn: AsyncConnection) -> _Moved:
        made = await stock.move(conn, book_id(request), **body, user_id=me(request).id, now=now())
        return _Moved(made.id, made, await stock.of(conn, made.book_id))

    async def again(conn: AsyncConnection, result_id: int) -> _Moved:
        made = await stock.movement(conn, result_id)
        return _Moved(result_id, made, await stock.of(conn, made.book_id))

    moved, headers = await made_once(request, body, make, again)
    content = {name: getattr(moved.movement, name) for name in Movement.__slots__}
    return answer(MovedOut, content | {"stock": moved.stock}, status=201, headers=headers)


@operation(query=PageQuery, returns=(200, MovementPage), tags=TAGS, refusals=[Invalid])
async def list_stock_movements(request: web.Request, query: Fields) -> web.Response:
    """Tell where the copies of a book came from and went to, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, book_id(request), withdrawn=True)
        page = await stock.movements(conn, book.id, **query)
    return page_answer(MovementPage, request, page)
