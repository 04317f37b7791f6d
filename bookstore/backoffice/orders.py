"""The orders list of the back office, and staff's notes on orders."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, insert, literal_column, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, orders
from bookstore.catalogue import search
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import books, order_lines, order_notes, users
from bookstore.database.tables import orders as table
from bookstore.errors import Invalid, NotFound
from bookstore.orders import Order, State
from bookstore.payments import Payment

SORTS = {
    "placed": table.c.id,
    "total": table.c.total_cents,
    "number": table.c.number,
    "state": table.c.status,
    "payment": table.c.payment_status,
}
NEWEST, OLDEST = "-placed", "placed"
#: Orders in these states are not expected to be paid.
UNPAYABLE = (State.REJECTED, State.CANCELLED, State.PLACED)
NOTE_LENGTH = 2000
#: The most orders that each part of a search may match; the newest ones are kept.
_MAX_MATCHES = 1000
#: The most books that a search text may match; the best ones are kept.
_MAX_BOOKS = 100
_NUMBER = re.compile(r"[0-9A-Za-z]{2,4}(?:-[0-9A-Za-z]{0,4})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Filters for orders, combined with AND; None means no filter.

    `q` is the prefix of an order number or of an e-mail address, an ISBN, or words of a title.
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


@dataclass(frozen=True, slots=True)
class Note:
    """A staff member's note on an order."""

    id: int
    body: str
    user_name: str
    created_at: datetime


async def select_ids(conn: AsyncConnection, query: OrderQuery) -> Select[tuple[int]]:
    """A query for the ids of the matching orders, for `find` and `count`."""
    found = select(table.c.id)
    if query.q:
        found = found.where(table.c.id.in_(await _matching(conn, query.q)))
    if query.status is not None:
        found = found.where(table.c.status == query.status)
    if query.payment is not None:
        found = found.where(table.c.payment_status == query.payment)
    if query.unpaid:
        found = found.where(_unpaid())
    if query.user_id is not None:
        found = found.where(table.c.user_id == query.user_id)
    if query.since is not None:
        found = found.where(table.c.placed_at >= query.since)
    if query.until is not None:
        found = found.where(table.c.placed_at < query.until)
    if query.noted:
        found = found.where(table.c.id.in_(select(order_notes.c.order_id)))
    return found


async def find(
    conn: AsyncConnection,
    ids: Select[tuple[int]],
    *,
    sort: str = NEWEST,
    cursor: str | None,
    limit: int,
) -> ListPage[Order]:
    """The orders with these ids.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.select_page(conn, ids, by, cursor=cursor, limit=limit)
    rows = [row.id for row in found.items]
    return found.with_items(
        list_pagination.in_order(rows, await orders.by_ids(conn, rows) if rows else {})
    )


async def count(
    conn: AsyncConnection, ids: Select[tuple[int]], up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many orders have these ids, at most `up_to`."""
    return await list_pagination.count(conn, ids, up_to)


async def count_unpaid(conn: AsyncConnection) -> int:
    """The number of orders that are confirmed or later and not paid."""
    found = await conn.scalar(select(func.count()).select_from(table).where(_unpaid()))
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
    return list_pagination.in_order(known, await orders.by_ids(conn, known) if known else {})


async def notes(conn: AsyncConnection, order_id: int) -> list[Note]:
    """Staff's notes on an order, the oldest first."""
    found = await conn.execute(
        select(
            order_notes.c.id,
            order_notes.c.body,
            users.c.name.label("user_name"),
            order_notes.c.created_at,
        )
        .join(users, users.c.id == order_notes.c.user_id)
        .where(order_notes.c.order_id == order_id)
        .order_by(order_notes.c.id)
    )
    return [Note(**row._mapping) for row in found]


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


def _unpaid() -> ColumnElement[bool]:
    return and_(
        table.c.payment_status == Payment.UNPAID,
        table.c.status.not_in([*UNPAYABLE]),
    )


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest orders that match a search text; each kind of match uses its own index."""
    matches: list[Select[tuple[int]]] = []
    if " " not in q:
        matches.append(select(table.c.id).where(list_pagination.starts_with(table.c.email, q)))
    if _NUMBER.fullmatch(q):
        matches.append(
            select(table.c.id).where(list_pagination.starts_with(table.c.number, q.upper()))
        )
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
