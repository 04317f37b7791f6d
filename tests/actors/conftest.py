"""Workers in the test's own process, and orders for them to work on."""

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
ADDRESS = {"name": "Mira", "line1": "Quay 9", "city": "Hamburg", "postcode": "1", "country": "DE"}
_keys = count(1)

MakeWish = Callable[[dict[int, int]], Awaitable[CheckoutRequest]]
PlaceOrder = Callable[..., Awaitable[Order]]


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Workers are at work; this offers tasks to them."""
    async with workers(settings) as publisher:
        yield publisher


@pytest.fixture
def make_wish(engine: AsyncEngine) -> MakeWish:
    """A guest's wish to order the `{book_id: quantity}` that is in a cart of its own."""

    async def make(quantities: dict[int, int]) -> CheckoutRequest:
        now = datetime.now(UTC)  # Workers purge the carts of long ago.
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
def place_order(engine: AsyncEngine, make_wish: MakeWish) -> PlaceOrder:
    """Places a guest's order of `{book_id: quantity}`; no worker is told."""

    async def place(
        quantities: dict[int, int], through: AsyncEngine = engine, **facts: Any
    ) -> Order:
        wish = replace(await make_wish(quantities), **facts)
        return (await Checkouts(through, RATES).place(wish)).order

    return place


async def nothing_left(engine: AsyncEngine, timeout_s: float = 15) -> None:
    """Wait until all work is done or dead."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        async with db.reading(engine) as conn:
            left = (await outbox.count(conn))["waiting"]
        if not left:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{left} tasks are still waiting")
