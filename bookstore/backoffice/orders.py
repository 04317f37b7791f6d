"""The orders list of the back office, and staff's notes on orders."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import Select, and_, func, insert, literal_column, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, orders
from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.catalogue import search
from bookstore.database import pagination
from bookstore.database.tables import books, order_lines, order_notes
from bookstore.database.tables import orders as table
from bookstore.errors import Invalid, NotFound
from bookstore.exports import Money
from bookstore.orders import Order, State
from bookstore.payments import Payment
from bookstore.users.permissions import Permission

#: Orders in these states are not expected to be paid.
UNPAYABLE = (State.REJECTED, State.CANCELLED, State.PLACED)
_UNPAID = and_(table.c.payment_status == Payment.UNPAID, table.c.status.not_in(UNPAYABLE))
NOTE_LENGTH = 2000
#: The most orders that each part of a search may match; the newest ones are kept.
_MAX_MATCHES = 1000
#: The most books that a search text may match; the best ones are kept.
_MAX_BOOKS = 100
_NUMBER = re.compile(r"[0-9A-Za-z]{2,4}(?:-[0-9A-Za-z]{0,4})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Filters for orders, combined with AND; None means no filter.

    `q` is the prefix of an order number or of an e-mail address, an ISBN, words of a title, or the
    customer's name, postcode or phone number.
    `since` (inclusive) and `until` (exclusive) limit the time when the order was placed.
    """

    q: str | None = None
    status: State | None = None
    payment: Payment | None = None
    #: Confirmed or a later status, and not paid.
    unpaid: bool = False
    user_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: With notes by staff.
    noted: bool = False


async def count_unpaid(conn: AsyncConnection) -> int:
    """The number of orders that are confirmed or later and not paid."""
    found = await conn.scalar(select(func.count()).select_from(table).where(_UNPAID))
    return int(found or 0)


async def with_notes(conn: AsyncConnection, order_ids: Collection[int]) -> set[int]:
    """The ids of those orders that have notes by staff."""
    if not order_ids:
        return set()
    found = await conn.scalars(
        select(order_notes.c.order_id).where(order_notes.c.order_id.in_(order_ids)).distinct()
    )
    return set(found)


async def by_numbers(conn: AsyncConnection, numbers: Sequence[str]) -> list[Order]:
    """The orders with these numbers, in the given order; unknown numbers are left out."""
    found = await conn.execute(
        select(table.c.id, table.c.number).where(table.c.number.in_(numbers))
    )
    ids = {row.number: row.id for row in found}
    known = [ids[number] for number in dict.fromkeys(numbers) if number in ids]
    return pagination.in_order(known, await orders.by_ids(conn, known) if known else {})


async def add_note(
    conn: AsyncConnection, number: str, body: str, *, user_id: int, now: datetime
) -> None:
    """Add a note on an order for other staff.

    Raises:
        Invalid: the note is blank or longer than `NOTE_LENGTH` characters.
        NotFound: there is no such order.
    """
    text = body.strip()
    if not text:
        raise Invalid("body", "A note cannot be empty.")
    if len(text) > NOTE_LENGTH:
        raise Invalid("body", f"A note has at most {NOTE_LENGTH} characters; this has {len(text)}.")
    order_id = await conn.scalar(select(table.c.id).where(table.c.number == number))
    if order_id is None:
        raise NotFound("This order")
    await conn.execute(
        insert(order_notes).values(order_id=order_id, user_id=user_id, body=text, created_at=now)
    )
    # The text may be personal data, so the audit log only records that there is a note.
    await audit.record(conn, "note", "order", number, {"note": None}, user_id=user_id, now=now)


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest orders that match a search text; each kind of match uses its own index."""
    matches = orders.customer_terms.matching(q)
    if " " not in q:
        matches.append(select(table.c.id).where(pagination.starts_with(table.c.email, q)))
    if _NUMBER.fullmatch(q):
        matches.append(select(table.c.id).where(pagination.starts_with(table.c.number, q.upper())))
    match = search.matching(conn, q)
    # Withdrawn books too: they are in old orders.
    best = select(books.c.id).where(match.condition).order_by(match.score.desc()).limit(_MAX_BOOKS)
    if book_ids := list(await conn.scalars(best)):
        matches.append(
            select(order_lines.c.order_id.label("id"))
            .where(order_lines.c.book_id.in_(book_ids))
            .distinct()
        )
    if not matches:
        return []
    newest = [
        select(each.order_by(literal_column("id").desc()).limit(_MAX_MATCHES).subquery().c.id)
        for each in matches
    ]
    return sorted(set(await conn.scalars(union(*newest))))


async def _select(conn: AsyncConnection, query: OrderQuery) -> Select[Any]:
    found = lists.where(
        select(table.c.id),
        (table.c.status, eq, query.status),
        (table.c.payment_status, eq, query.payment),
        (table.c.user_id, eq, query.user_id),
        (table.c.placed_at, ge, query.since),
        (table.c.placed_at, lt, query.until),
    )
    if query.q:
        found = found.where(table.c.id.in_(await _matching(conn, query.q)))
    if query.unpaid:
        found = found.where(_UNPAID)
    if query.noted:
        found = found.where(table.c.id.in_(select(order_notes.c.order_id)))
    return found


ORDERS = List(
    name="orders",
    query=OrderQuery,
    select=_select,
    load=lists.by_ids(orders.by_ids),
    id=table.c.id,
    sorts={
        "placed": table.c.id,
        "total": table.c.total_cents,
        "number": table.c.number,
        "state": table.c.status,
        "payment": table.c.payment_status,
    },
    default_sort="-placed",
    columns={
        **lists.attributes("number", "placed_at", "status", "payment_status"),
        "name": lambda order, _: order.shipping_address.get("name") or "",
        "email": "email",
        "country": lambda order, _: order.shipping_address.get("country") or "",
        "quantity": lambda order, _: sum(line.quantity for line in order.items),
        "total": lambda order, _: (
            None if order.total_cents is None else Money(order.total_cents, order.currency)
        ),
        **lists.attributes("currency", "tracking"),
    },
    export_permission=Permission.EXPORT_ORDERS,
)
