"""Test data factories: pass only what matters to the test; the rest has defaults."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy import insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books as catalogue
from bookstore.catalogue.books import Book
from bookstore.catalogue.validation import BookInput
from bookstore.database.tables import (
    book_stock,
    books,
    order_lines,
    orders,
    stock_movements,
    tasks,
    users,
)
from bookstore.orders import customer_terms
from bookstore.pricing import Rates
from bookstore.users.permissions import Role

#: The default time of everything in a test.
NOON = datetime(2026, 3, 21, 12, 0, tzinfo=UTC)

_numbers = count(1)


async def republish_all_tasks(conn: AsyncConnection) -> None:
    """Count all unfinished tasks as published once more, as the relay does."""
    await conn.execute(update(tasks).values(publish_count=tasks.c.publish_count + 1))


async def add_user(
    conn: AsyncConnection,
    *,
    email: str | None = None,
    name: str = "Anna",
    role: Role = Role.CUSTOMER,
    password_hash: str = "-",
) -> int:
    """The id of a new user; without a password hash, signing in is impossible."""
    email = email or f"reader-{next(_numbers)}@example.com"
    result = await conn.execute(
        insert(users).values(
            email=email,
            email_key=email.casefold(),
            password_hash=password_hash,
            name=name,
            role=role,
            created_at=NOON,
            updated_at=NOON,
        )
    )
    return int(result.inserted_primary_key[0])


async def add_book(
    conn: AsyncConnection, *, title: str = "Dune", price_cents: int = 1000, stock: int = 0
) -> int:
    """The id of a new book with a unique ISBN. It is not in the search index."""
    result = await conn.execute(
        insert(books).values(
            isbn13=isbn13_of(next(_numbers)),
            title=title,
            sort_title=title.casefold()[:200],
            price_cents=price_cents,
            version=1,
            created_at=NOON,
            updated_at=NOON,
        )
    )
    book_id = int(result.inserted_primary_key[0])
    await conn.execute(insert(book_stock).values(book_id=book_id, stock=stock))
    if stock:
        await conn.execute(
            insert(stock_movements).values(
                book_id=book_id, delta=stock, reason="received", created_at=NOON
            )
        )
    return book_id


async def create_book(conn: AsyncConnection, *, now: datetime = NOON, **facts: Any) -> Book:
    """A book created through the service, with authors, stock movement, index and audit log."""
    values = {
        "isbn13": isbn13_of(next(_numbers)),
        "title": "Dune",
        "authors": ["Frank Herbert"],
        "price_cents": 1290,
        "stock": 10,
        **facts,
    }
    return await catalogue.create(conn, BookInput(**values), user_id=None, now=now)


async def add_order(
    conn: AsyncConnection,
    quantities: Mapping[int, int],
    *,
    number: str | None = None,
    user_id: int | None = None,
    **columns: Any,
) -> int:
    """The id of a placed order of these books, without task or e-mail."""
    cart_id = next(_numbers)
    values = {
        "number": number or f"{cart_id:04}-TEST",
        "cart_id": cart_id,
        "checkout_no": 1,
        "user_id": user_id,
        "email": "mira@example.com",
        "status": "placed",
        "payment_status": "unpaid",
        "currency": "EUR",
        "shipping_address": {"name": "Mira", "line1": "Quay 9", "city": "Hamburg", "country": "DE"},
        "terms": Rates("EUR", 290, 4000, 700).to_json(),
        "last_seq": 1,
        "placed_at": NOON,
        "updated_at": NOON,
        **columns,
    }
    order_id: int = (await conn.execute(insert(orders).values(values))).lastrowid
    terms = customer_terms.of_address(values["shipping_address"])
    await customer_terms.INSERT(conn, [(order_id, term) for term in terms])
    for book_id, quantity in quantities.items():
        book = select(
            literal(order_id),
            books.c.id,
            books.c.isbn13,
            books.c.title,
            literal(quantity),
            books.c.price_cents,
        ).where(books.c.id == book_id)
        await conn.execute(
            insert(order_lines).from_select(
                ["order_id", "book_id", "isbn13", "title", "quantity", "unit_price_cents"], book
            )
        )
    return order_id


def isbn13_of(number: int) -> str:
    """A valid ISBN in the assigned range 979-8."""
    digits = f"9798{number:08d}"
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-weighted % 10}"


class Trace:
    """The trace of a worker at its first attempt."""

    worker = "test"

    def message_of(self, order_id):
        return None

    def attempt_of(self, order_id):
        return 1

    def request_of(self, order_id):
        return None

    def worked_ms(self):
        return 0
