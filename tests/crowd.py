"""Bulk data for a busy store: thousands of orders, e-mails and failures, inserted directly.

For page tests and benchmarks. A fixed seed makes all data reproducible, and the data is
consistent: stock movements, events and totals match the orders.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import pricing
from bookstore.database.engine import transaction
from bookstore.database.tables import (
    book_stock,
    books,
    notifications,
    order_events,
    order_lines,
    orders,
    stock_movements,
    tasks,
    users,
)
from bookstore.pricing import Rates
from bookstore.users.permissions import Role

RATES = Rates("EUR", 290, 4000, 700)
#: Percentage of orders in each state in a store that runs normally.
STATES = {
    "delivered": 82,
    "shipped": 8,
    "confirmed": 3,
    "packed": 2,
    "rejected": 2,
    "cancelled": 2,
    "placed": 1,
}
#: The events that lead to each state.
STEPS = {
    "placed": ["placed"],
    "confirmed": ["placed", "confirmed"],
    "packed": ["placed", "confirmed", "packed"],
    "shipped": ["placed", "confirmed", "packed", "shipped"],
    "delivered": ["placed", "confirmed", "packed", "shipped", "delivered"],
    "rejected": ["placed", "rejected"],
    "cancelled": ["placed", "confirmed", "cancelled"],
}
FIRST = [
    "Mira",
    "Tom",
    "Ana",
    "Lena",
    "Yusuf",
    "Hélène",
    "Oskar",
    "Priya",
    "Jan",
    "Emi",
    "Sofía",
    "Chinwe",
    "Zoë",
    "Ines",
    "Jonas",
]
LAST = [
    "Sørensen",
    "Achterberg",
    "Petrović",
    "Brandt",
    "Demir",
    "Faure",
    "Lind",
    "Nair",
    "Kowalski",
    "Tanaka",
    "Ramos",
]
TOWNS = (("22767", "Hamburg", "DE"), ("75011", "Paris", "FR"), ("YO21 3EQ", "Whitby", "GB"))
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_BATCH_SIZE = 2000
_DAYS = 400


async def add_books(engine: AsyncEngine, number: int, *, now: datetime) -> None:
    """Add this many books without authors, for a store that needs no real books."""
    random = Random(1)
    async with transaction(engine) as conn:
        for start in range(0, number, _BATCH_SIZE):
            ids = range(start + 1, min(start + _BATCH_SIZE, number) + 1)
            await conn.execute(
                insert(books),
                [
                    {
                        "id": each,
                        "isbn13": f"979{each:010}",
                        "title": f"{random.choice(LAST)} and the {random.choice(FIRST)} No. {each}",
                        "sort_title": f"no {each}",
                        "price_cents": random.randrange(399, 4999),
                        "version": 1,
                        "created_at": now,
                        "updated_at": now,
                    }
                    for each in ids
                ],
            )
            await conn.execute(
                insert(book_stock),
                [{"book_id": each, "stock": random.choice([0, 2, 9, 30, 60])} for each in ids],
            )


async def add_order_history(
    engine: AsyncEngine, *, orders_number: int, emails_number: int, now: datetime
) -> None:
    """Add this many orders of existing books, and about this many e-mails, up to `now`."""
    random = Random(2)
    async with transaction(engine) as conn:
        catalogue = (
            await conn.execute(
                select(books.c.id, books.c.isbn13, books.c.title, books.c.price_cents).limit(10_000)
            )
        ).all()
        people = await _add_people(conn, random, max(orders_number // 10, 20), now=now)
    first = 1
    for start in range(0, orders_number, _BATCH_SIZE):
        number = min(_BATCH_SIZE, orders_number - start)
        made = [
            _order(random, first + start + place, orders_number, catalogue, people, now)
            for place in range(number)
        ]
        async with transaction(engine) as conn:
            await conn.execute(insert(orders), [it["order"] for it in made])
            for table, name in (
                (order_lines, "lines"),
                (order_events, "events"),
                (stock_movements, "movements"),
            ):
                rows = [row for it in made for row in it[name]]
                if rows:
                    await conn.execute(insert(table), rows)
            share = emails_number / max(orders_number, 1)
            emails = [
                row
                for it in made
                for row in _notifications(random, it["order"], it["events"], share)
            ]
            if emails:
                await conn.execute(insert(notifications), emails)
    async with transaction(engine) as conn:
        await _add_unfinished_tasks(conn, now)


async def _add_people(
    conn: Any, random: Random, number: int, *, now: datetime
) -> list[tuple[int, str, str]]:
    rows = []
    for place in range(number):
        name = f"{random.choice(FIRST)} {random.choice(LAST)}"
        email = f"{name.split()[0].lower()}.{place}@example.com".encode("ascii", "ignore").decode()
        rows.append(
            {
                "email": email,
                "email_key": email,
                "password_hash": "-",
                "name": name,
                "role": Role.CUSTOMER,
                "created_at": now - timedelta(hours=random.randrange(24 * _DAYS)),
                "updated_at": now,
            }
        )
    for start in range(0, number, _BATCH_SIZE):
        await conn.execute(insert(users), rows[start : start + _BATCH_SIZE])
    found = await conn.execute(
        select(users.c.id, users.c.name, users.c.email).where(users.c.role == Role.CUSTOMER)
    )
    return [(row.id, row.name, row.email) for row in found]


def _order(
    random: Random,
    order_id: int,
    last_id: int,
    catalogue: Sequence[Any],
    people: Sequence[tuple[int, str, str]],
    now: datetime,
) -> dict[str, Any]:
    # Spread over the last `_DAYS` days, more of them recently. Old orders are complete.
    age = timedelta(days=_DAYS) * (1 - order_id / last_id) ** 2
    placed_at = now - age - timedelta(seconds=random.randrange(60))
    recent = age < timedelta(days=5)
    status = random.choices([*STATES], [*STATES.values()])[0]
    if not recent and status in ("placed", "confirmed", "packed", "shipped"):
        status = "delivered"
    elif recent and status == "delivered":
        status = random.choice(["confirmed", "packed", "shipped", "confirmed"])
    ordered = random.sample(catalogue, random.choice([1, 1, 1, 2, 2, 3, 5]))
    quantities = [random.choice([1, 1, 1, 1, 2, 3]) for _ in ordered]
    user_id, name, email = random.choice(people)
    guest = random.random() < 0.3
    postcode, city, country = random.choice(TOWNS)
    total = pricing.totals(
        [(many, book.price_cents) for many, book in zip(quantities, ordered, strict=True)], RATES
    ).total_cents
    sold = status not in ("placed", "rejected")
    order = {
        "id": order_id,
        "number": _number(order_id),
        "cart_id": order_id,
        "checkout_no": 1,
        "user_id": None if guest else user_id,
        "email": email,
        "status": status,
        "payment_status": "paid" if sold and random.random() < 0.9 else "unpaid",
        "currency": "EUR",
        "shipping_address": {
            "name": name,
            "line1": f"Quay {random.randrange(1, 99)}",
            "postcode": postcode,
            "city": city,
            "country": country,
        },
        "terms": RATES.to_json(),
        "note": "Please ring twice." if random.random() < 0.05 else None,
        "reason": "Out of stock." if status == "rejected" else None,
        "tracking": f"JD{order_id:08}" if status in ("shipped", "delivered") else None,
        "total_cents": total if status != "placed" else None,
        "last_seq": len(STEPS[status]),
        "placed_at": placed_at,
        "updated_at": placed_at,
    }
    lines = [
        {
            "order_id": order_id,
            "book_id": book.id,
            "isbn13": book.isbn13,
            "title": book.title,
            "quantity": many,
            "unit_price_cents": book.price_cents,
        }
        for many, book in zip(quantities, ordered, strict=True)
    ]
    return {
        "order": order,
        "lines": lines,
        "events": list(_events(order)),
        "movements": [
            {
                "book_id": line["book_id"],
                "delta": -line["quantity"],
                "reason": "sold",
                "order_id": order_id,
                "created_at": placed_at + timedelta(seconds=1),
            }
            for line in lines
            if sold
        ],
    }


def _events(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at = order["placed_at"]
    for seq, kind in enumerate(STEPS[order["status"]], 1):
        by_machine = kind in ("confirmed", "rejected")
        yield {
            "order_id": order["id"],
            "seq": seq,
            "kind": kind,
            "at": at,
            "actor": "worker" if by_machine else "customer" if kind == "placed" else "staff:1",
            "detail": None,
            "message_id": f"00000000-0000-4000-8000-{order['id']:012}" if by_machine else None,
            "attempt": 1 if by_machine else None,
            "worker": "host:1:7" if by_machine else None,
            "waited_ms": 14 if by_machine else None,
            "worked_ms": 9 if by_machine else None,
        }
        at += timedelta(seconds=1) if seq == 1 else timedelta(minutes=41)


def _notifications(
    random: Random, order: dict[str, Any], events: Sequence[dict[str, Any]], share: float
) -> Iterator[dict[str, Any]]:
    notified = [event for event in events if event["kind"] != "packed"]
    for event in random.sample(notified, min(len(notified), max(1, round(share)))):
        chance = random.random()
        failed, doubtful = chance < 0.002, 0.002 <= chance < 0.003
        yield {
            "user_id": order["user_id"],
            "order_id": order["id"],
            "kind": f"order-{event['kind']}",
            "status": "failed" if failed else "sent",
            "in_doubt": doubtful,
            "recipient": order["email"],
            "attempts": 5 if failed else 1,
            "smtp_answer": "550 5.1.1 No such mailbox" if failed else "250 2.0.0 Ok: queued",
            "created_at": event["at"],
            "sent_at": None if failed else event["at"] + timedelta(seconds=1),
        }


async def _add_unfinished_tasks(conn: Any, now: datetime) -> None:
    """Add tasks for orders that are still placed: most are waiting, some are dead."""
    found = await conn.scalars(select(orders.c.id).where(orders.c.status == "placed"))
    rows = [
        {
            "task": "process_orders",
            "ref_id": order_id,
            "due_at": now,
            "publish_count": 1,
            "attempts": 5 if place % 3 == 0 else 0,
            "error": "KeyError: 'weight'" if place % 3 == 0 else None,
            "dead_at": now - timedelta(minutes=place) if place % 3 == 0 else None,
            "request_id": None,
            "created_at": now - timedelta(minutes=place + 3),
        }
        for place, order_id in enumerate(found)
    ]
    if rows:
        await conn.execute(insert(tasks), rows)


def _number(order_id: int) -> str:
    # A real store uses random numbers; here they only need to be unique and reproducible.
    left, digits = (order_id * 7_919_993 + 11) % len(_ALPHABET) ** 8, ""
    for _ in range(8):
        left, place = divmod(left, len(_ALPHABET))
        digits += _ALPHABET[place]
    return f"{digits[:4]}-{digits[4:]}"
