"""Carts, orders and workers, in this process."""

from datetime import UTC, datetime
from itertools import count

from actors.batching import BatchProcessor
from bookstore.carts import carts
from bookstore.database import engine as db
from bookstore.database.statements import Bulk
from bookstore.idempotency import Key
from bookstore.operations import doctor
from bookstore.orders import processing
from bookstore.orders.checkout import CheckoutRequest, Checkouts
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from tests.actors.conftest import ADDRESS, RATES
from tests.factories import NOON, add_book

_keys = count(1)
#: A statement without any effect.
NOTHING = Bulk("row INT", "DO 0", sqlite="SELECT 0")


def nothing(*_args, **_named):
    """A statement in place of a guard."""
    return NOTHING.of([])


def clock():
    return datetime.now(UTC)


def batches(engine, work=processing.process, name="test"):
    return BatchProcessor(engine, Task.PROCESS_ORDERS, work, worker=name, clock=clock)


async def full_cart(engine, quantities):
    async with db.transaction(engine) as conn:
        cart_id = await carts.make_guest(conn, now=clock())  # The relay purges old carts.
        for book_id, quantity in quantities.items():
            await carts.add(conn, cart_id, book_id, quantity, now=clock())
    return CheckoutRequest(
        key=Key(f"cart:{cart_id}", str(next(_keys))),
        request_hash="0" * 64,
        cart_id=cart_id,
        user_id=None,
        email="mira@example.com",
        shipping_address=ADDRESS,
    )


async def place(engine, quantities):
    return (await Checkouts(engine, RATES).place(await full_cart(engine, quantities))).order


async def books(engine, stock, number=1):
    async with db.transaction(engine) as conn:
        return [await add_book(conn, stock=stock) for _ in range(number)]


async def findings(engine):
    async with db.reading(engine) as conn:
        return {found.invariant async for found in doctor.examine(conn, now=NOON)}


async def unfinished(engine, task=Task.PROCESS_ORDERS):
    async with db.reading(engine) as conn:
        return [row for row in await outbox.find(conn) if row.task is task]
