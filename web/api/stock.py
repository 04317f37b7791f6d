"""The stock of a book and its movements."""

from dataclasses import asdict, dataclass

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, stock
from bookstore.catalogue.stock import MAX_QUANTITY, STAFF_REASONS, Movement, StockReason
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, OutOfStock
from web.api.field_types import JsonInteger, SingleLine, UtcDateTime, described
from web.api.idempotency import create_once
from web.api.operations import Answer, Fields, operation
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read


class StockMovementIn(Schema):
    delta = described(
        "The change of the stock; negative for a removal.  The resulting stock is limited too.",
        JsonInteger(-MAX_QUANTITY, MAX_QUANTITY, required=True, metadata={"not": {"const": 0}}),
    )
    reason = fields.Enum(
        StockReason,
        by_value=True,
        required=True,
        validate=validate.OneOf(sorted(STAFF_REASONS)),
        metadata={"enum": sorted(STAFF_REASONS)},
    )
    note = SingleLine(stock.NOTE_LENGTH, allow_none=True)


class StockMovementOut(Schema):
    id = fields.Integer(required=True)
    book_id = fields.Integer(required=True)
    delta = fields.Integer(required=True)
    reason = fields.Enum(StockReason, by_value=True, required=True)
    note = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)


class NewStockMovementOut(StockMovementOut):
    stock = described("The current stock.", fields.Integer(required=True))


StockMovementPage = page_of(StockMovementOut)


@dataclass(frozen=True, slots=True)
class _NewStockMovement(Movement):
    """A stock movement with the current stock."""

    stock: int


@operation(
    body=StockMovementIn,
    returns=(201, NewStockMovementOut),
    refusals=[Invalid, OutOfStock],
    idempotent=True,
)
async def move_stock(request: web.Request, book_id: int, body: Fields) -> Answer:
    """Increase or decrease the stock of a book."""
    by = current_user(request).id

    async def create(conn: AsyncConnection) -> _NewStockMovement:
        movement = await stock.move(conn, book_id, **body, user_id=by, now=now())
        return await with_stock(conn, movement)

    async def load(conn: AsyncConnection, result_id: int) -> _NewStockMovement:
        return await with_stock(conn, await stock.movement(conn, result_id))

    async def with_stock(conn: AsyncConnection, movement: Movement) -> _NewStockMovement:
        current = await stock.quantity(conn, movement.book_id)
        return _NewStockMovement(**asdict(movement), stock=current)

    return await create_once(request, body, create, load)


@operation(query=PageQuery, returns=(200, StockMovementPage))
async def list_stock_movements(request: web.Request, book_id: int, query: Fields) -> Page[Movement]:
    """List the stock movements of a book, the newest first."""

    async def find(conn: AsyncConnection) -> Page[Movement]:
        await books.get(conn, book_id, withdrawn=True)
        return await stock.movements(conn, book_id, **query)

    return await read(request, find)
