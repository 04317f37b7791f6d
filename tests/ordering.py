"""Orders for tests: placed by the checkout and processed by the worker, in one transaction."""

from collections.abc import Mapping
from itertools import count

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import orders, pricing
from bookstore.carts import carts
from bookstore.database.tables import book_stock, stock_movements
from bookstore.idempotency import Key
from bookstore.orders import checkout, processing
from bookstore.orders.states import State
from bookstore.tasks import outbox
from tests.factories import NOON, Trace

RATES = pricing.Rates("EUR", 290, 4000, 700)
ADDRESS = {
    "name": "Mira",
    "line1": "Quay 9",
    "city": "Hamburg",
    "postcode": "20095",
    "country": "DE",
}
_keys = count(1)


async def checkout_request(
    conn: AsyncConnection, quantities: Mapping[int, int], **facts: object
) -> checkout.CheckoutRequest:
    cart_id = await carts.make_guest(conn, now=NOON)
    for book_id, quantity in quantities.items():
        await carts.add(conn, cart_id, book_id, quantity, now=NOON)
    number = next(_keys)
    values: dict[str, object] = {
        "key": Key(f"cart:{cart_id}", str(number)),
        "request_hash": f"{number:064}",
        "cart_id": cart_id,
        "user_id": None,
        "email": "mira@example.com",
        "shipping_address": ADDRESS,
    }
    return checkout.CheckoutRequest(**{**values, **facts})


async def place(conn: AsyncConnection, quantities: Mapping[int, int]) -> orders.Order:
    (placed,) = await checkout.check_out(
        conn, [await checkout_request(conn, quantities)], RATES, now=NOON
    )
    assert isinstance(placed, checkout.Placed)
    return placed.order


async def process(conn: AsyncConnection, *placed: orders.Order) -> list[State]:
    ids = [order.id for order in placed]
    await processing.process(conn, ids, trace=Trace(), now=NOON)
    await outbox.complete(conn, outbox.Task.PROCESS_ORDERS, ids)
    return [(await orders.get(conn, order.number)).status for order in placed]


async def stock_of(conn: AsyncConnection, book_id: int) -> tuple[int, int]:
    stock = await conn.scalar(select(book_stock.c.stock).where(book_stock.c.book_id == book_id))
    ledger = await conn.scalar(
        select(func.sum(stock_movements.c.delta)).where(stock_movements.c.book_id == book_id)
    )
    return int(stock or 0), int(ledger or 0)
