"""Customers in a separate process: `python -m tests.benchmarks.clients '{"port": ...}'`.

Each customer has one keep-alive connection and repeats: fill a cart, place the order. With
`sessions`, each orders the prepared carts of those sessions. The results go to stdout as JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ADDRESS = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "city": "Hamburg",
    "postcode": "22767",
    "country": "DE",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the customers do."""

    port: int
    book_ids: Sequence[int]
    seconds: float
    customers: int = 32
    #: Books in a cart; each is added by one request.
    lines: int = 3
    #: The number of guests with filled carts, numbered from 1; None: customers fill their carts.
    sessions: int | None = None
    #: Orders per second of all customers together; None: as fast as possible.
    rate: float | None = None


@dataclass(slots=True)
class Seen:
    """The results of the customers; times as `time.time()`, waits in seconds."""

    began: float = 0.0
    ended: float = 0.0
    #: Number, time of the response and wait of each order.
    orders: list[tuple[str, float, float]] = field(default_factory=list)
    #: The wait for each cart change.
    changes: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)


class Customer:
    """A keep-alive connection with a cookie; a client that uses little CPU time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cookie = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def come(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, content: Any = None, more: str = "") -> Any:
        """The status and the body of the response."""
        body = b"" if content is None else json.dumps(content).encode()
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{self.cookie}{more}\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = 0
        for line in head.split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Content-Length":
                length = int(value)
            elif name == "Set-Cookie":
                self.cookie = f"Cookie: {value.partition(';')[0]}\r\n"
        return int(head[9:12]), await self._reader.readexactly(length)


async def live(plan: Plan, seen: Seen, number: int) -> None:
    """Place orders until the time is over."""
    dice = random.Random(number)
    customer = Customer(plan.port)
    await customer.come()
    guest = number + 1
    pause = plan.customers / plan.rate if plan.rate else 0.0
    due = time.time() + pause * number / plan.customers
    for turn in range(sys.maxsize):
        if pause:
            if due >= seen.began + plan.seconds:
                return
            await asyncio.sleep(max(0.0, due - time.time()))
            due += pause
        if time.time() >= seen.began + plan.seconds:
            return
        if plan.sessions is None:
            await _fill_cart(customer, dice.sample(plan.book_ids, plan.lines), seen)
        elif guest > plan.sessions:
            raise SystemExit("too few sessions")
        else:
            customer.cookie = f"Cookie: sid={session_id(guest)}\r\n"
            guest += plan.customers
        started = time.perf_counter()
        status, body = await customer.ask(
            "POST",
            "/api/v1/orders",
            {"shipping_address": ADDRESS, "email": f"reader-{number}@example.com"},
            f"Idempotency-Key: {number}-{turn}-{seen.began}\r\n",
        )
        if _count(seen, status, 202):
            waited = time.perf_counter() - started
            seen.orders.append((json.loads(body)["number"], time.time(), waited))


async def _fill_cart(customer: Customer, book_ids: Sequence[int], seen: Seen) -> None:
    for book_id in book_ids:
        started = time.perf_counter()
        content = {"book_id": book_id, "quantity": 1}
        status, _ = await customer.ask("POST", "/api/v1/cart/items", content)
        seen.changes.append(time.perf_counter() - started)
        _count(seen, status, 200)


def session_id(guest: int) -> str:
    """The session id in the cookie of a guest."""
    return f"benchmark-{guest}"


def _count(seen: Seen, status: int, expected: int) -> bool:
    if status != expected:
        seen.failures[str(status)] = seen.failures.get(str(status), 0) + 1
    return status == expected


async def run(plan: Plan) -> Seen:
    """Run all customers."""
    seen = Seen(began=time.time())
    await asyncio.gather(*(live(plan, seen, number) for number in range(plan.customers)))
    seen.ended = time.time()
    return seen


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Plan(**json.loads(sys.argv[1])))))))
