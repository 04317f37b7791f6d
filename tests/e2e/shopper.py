"""A customer who uses the store through its REST API only."""

import asyncio
import time
from collections.abc import Collection, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests import planted

ADDRESS = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "city": "Hamburg",
    "postcode": "22767",
    "country": "DE",
}
DECIDED = {"confirmed", "rejected"}
_numbers = count(1)


class Shopper:
    """A browser with a cookie jar of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            f"{self.url}/api/v1/", cookie_jar=aiohttp.CookieJar(unsafe=True)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()

    async def ask(
        self, method: str, path: str, body: Any = None, *, expect: int = 200, **headers: str
    ) -> Any:
        """The JSON of the answer, which must have the status `expect`."""
        async with self.http.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == expect, f"{method} {path}: {answer.status} {text}"
            return await answer.json(content_type=None) if text else None

    async def register(self) -> dict[str, Any]:
        number = next(_numbers)
        user: dict[str, Any] = await self.ask(
            "POST",
            "users",
            {
                "email": f"shopper-{number}-{time.time_ns()}@example.com",
                "password": planted.CUSTOMER,
                "name": f"Shopper {number}",
            },
            expect=201,
        )
        return user

    async def fill_cart(self, quantities: Mapping[int, int]) -> dict[str, Any]:
        cart: dict[str, Any] = {}
        for book_id, quantity in quantities.items():
            cart = await self.ask("POST", "cart/items", {"book_id": book_id, "quantity": quantity})
        return cart

    async def order(
        self, *, key: str | None = None, email: str | None = None, **facts: Any
    ) -> dict[str, Any]:
        body = {"shipping_address": ADDRESS, **({"email": email} if email else {}), **facts}
        key = key or f"key-{next(_numbers)}-{time.time_ns()}"
        order: dict[str, Any] = await self.ask(
            "POST", "orders", body, expect=202, **{"Idempotency-Key": key}
        )
        return order

    async def decided(self, order: Mapping[str, Any], timeout_s: float = 30) -> dict[str, Any]:
        """The order, as soon as it is confirmed or rejected."""
        query = f"?access_token={order['access_token']}" if order.get("access_token") else ""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            now: dict[str, Any] = await self.ask("GET", f"orders/{order['number']}{query}")
            if now["status"] in DECIDED:
                return now
            await asyncio.sleep(0.02)
        raise AssertionError(f"order {order['number']} is still {now['status']}")


async def some_books(shopper: Shopper, count: int, *, stock: int = 5) -> list[dict[str, Any]]:
    """Books with at least this stock."""
    found: Collection[dict[str, Any]] = (
        await shopper.ask("GET", "books?in_stock=true&limit=100&sort=title")
    )["items"]
    return [book for book in found if book["stock"] >= stock][:count]
