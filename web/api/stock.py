"""The stock of a book and its movements."""

from typing import NamedTuple

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, stock
from bookstore.catalogue.stock import (
    MAX_QUANTITY,
    NOTE_LENGTH,
    STAFF_REASONS,
    Movement,
    StockReason,
)
from bookstore.database.engine import reading
from bookstore.errors import Invalid, OutOfStock
from web.api.books import book_id
from web.api.field_types import JsonInteger, SingleLine, UtcDateTime
from web.api.idempotency import create_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["staff"]


class StockMovementIn(Schema):
    delta = JsonInteger(
        -MAX_QUANTITY,
        MAX_QUANTITY,
        required=True,
        metadata={"description": "The change of the stock; negative for a removal."},
    )
    reason = fields.Enum(
        StockReason, by_value=True, required=True, validate=validate.OneOf(sorted(STAFF_REASONS))
    )
    note = SingleLine(NOTE_LENGTH, allow_none=True)


class StockMovementOut(Schema):
    id = fields.Integer(required=True)
    book_id = fields.Integer(required=True)
    delta = fields.Integer(required=True)
    reason = fields.Enum(StockReason, by_value=True, required=True)
    note = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)


class NewStockMovementOut(StockMovementOut):
    stock = fields.Integer(required=True, metadata={"description": "The current stock."})


StockMovementPage = page_of(StockMovementOut)


class _NewStockMovement(NamedTuple):
    """A stock movement and the current stock."""

    id: int
    movement: Movement
    stock: int


@operation(
    body=StockMovementIn,
    returns=(201, NewStockMovementOut),
    tags=TAGS,
    refusals=[Invalid, OutOfStock],
    idempotent=True,
)
async def move_stock(request: web.Request, body: Fields) -> web.Response:
    """Increase or decrease the stock of a book."""

    async def create(conn: AsyncConnection) -> _NewStockMovement:
        movement = await stock.move(
            conn, book_id(request), **body, user_id=current_user(request).id, now=now()
        )
        return _NewStockMovement(
            movement.id, movement, await stock.quantity(conn, movement.book_id)
        )

    async def load(conn: AsyncConnection, result_id: int) -> _NewStockMovement:
        movement = await stock.movement(conn, result_id)
        return _NewStockMovement(result_id, movement, await stock.quantity(conn, movement.book_id))

    recorded, headers = await create_once(request, body, create, load)
    content = {name: getattr(recorded.movement, name) for name in Movement.__slots__}
    return answer(
        NewStockMovementOut, content | {"stock": recorded.stock}, status=201, headers=headers
    )


@operation(query=PageQuery, returns=(200, StockMovementPage), tags=TAGS, refusals=[Invalid])
async def list_stock_movements(request: web.Request, query: Fields) -> web.Response:
    """List the stock movements of a book, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, book_id(request), withdrawn=True)
        page = await stock.movements(conn, book.id, **query)
    return page_answer(StockMovementPage, request, page)
