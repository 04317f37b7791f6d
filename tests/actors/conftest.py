"""Workers in the test's own process, and orders for them to process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.embedded import workers
from bookstore.carts import carts
from bookstore.database import engine as db
from bookstore.idempotency import Key
from bookstore.orders.checkout import CheckoutRequest, Checkouts
from bookstore.orders.orders import Order
from bookstore.pricing import Rates
from bookstore.tasks import outbox
from bookstore.tasks.publisher import Publisher
from config.settings import Settings

RATES = Rates("EUR", 290, 4000, 700)
ADDRESS = {
    "name": "Mira",
    "line1": "Quay 9",
    "city": "Hamburg",
    "postcode": "20095",
    "country": "DE",
}
_keys = count(1)

MakeCheckoutRequest = Callable[[dict[int, int]], Awaitable[CheckoutRequest]]
PlaceOrder = Callable[..., Awaitable[Order]]


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """The publisher of running workers."""
    async with workers(settings) as publisher:
        yield publisher


@pytest.fixture
def make_checkout_request(engine: AsyncEngine) -> MakeCheckoutRequest:
    """Makes a guest's checkout request for `{book_id: quantity}`, with its own cart."""

    async def make(quantities: dict[int, int]) -> CheckoutRequest:
        now = datetime.now(UTC)  # Workers delete old carts.
        async with db.transaction(engine) as conn:
            cart_id = await carts.make_guest(conn, now=now)
            for book_id, quantity in quantities.items():
                await carts.add(conn, cart_id, book_id, quantity, now=now)
        return CheckoutRequest(
            key=Key(f"cart:{cart_id}", str(next(_keys))),
            request_hash="0" * 64,
            cart_id=cart_id,
            user_id=None,
            email="mira@example.com",
            shipping_address=ADDRESS,
        )

    return make


@pytest.fixture
def place_order(engine: AsyncEngine, make_checkout_request: MakeCheckoutRequest) -> PlaceOrder:
    """Places a guest's order of `{book_id: quantity}`; no message is published."""

    async def place(
        quantities: dict[int, int], through: AsyncEngine = engine, **facts: Any
    ) -> Order:
        request = replace(await make_checkout_request(quantities), **facts)
        return (await Checkouts(through, RATES).place(request)).order

    return place


async def all_tasks_done(engine: AsyncEngine, timeout_s: float = 15) -> None:
    """Wait until all work is done or dead."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        async with db.reading(engine) as conn:
            unfinished = (await outbox.count(conn))["waiting"]
        if not unfinished:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{unfinished} tasks are still waiting")
