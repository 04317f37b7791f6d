"""Orders as staff search them, and what staff say about them to each other."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, insert, literal_column, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, orders
from bookstore.catalogue import search
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
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
#: Orders that nobody pays for.
UNPAYABLE = (State.REJECTED, State.CANCELLED, State.PLACED)
NOTE_LENGTH = 2000
#: Of what a question finds, the newest so many are looked through further.
_FOUND = 1000
_BOOKS = 100
_NUMBER = re.compile(r"[0-9A-Za-z]{2,4}(?:-[0-9A-Za-z]{0,4})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which orders; all conditions have to hold, None is no condition.

    `q` is the beginning of a number or of an e-mail address, an ISBN, or words of a title.
    `since` and `until` bound when they were placed, `until` itself is left out.
    """

    q: str | None = None
    status: State | None = None
    payment: Payment | None = None
    #: Confirmed or further, and not paid.
    unpaid: bool = False
    user_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    noted: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What a member of the staff wrote about an order."""

    id: int
    body: str
    user_name: str
    created_at: datetime


async def chosen(conn: AsyncConnection, query: Query) -> Select[tuple[int]]:
    """The ids of the orders that meet the query, for `find` and `count`."""
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
) -> Slice[Order]:
    """The orders that were `chosen`.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.cut(conn, ids, by, cursor=cursor, limit=limit)
    rows = [row.id for row in found.items]
    return found.of(list_pagination.ordered(rows, await orders.by_ids(conn, rows) if rows else {}))


async def count(
    conn: AsyncConnection, ids: Select[tuple[int]], most: int = list_pagination.COUNTED
) -> int:
    """How many were `chosen`, up to `most`."""
    return await list_pagination.count(conn, ids, most)


async def count_unpaid(conn: AsyncConnection) -> int:
    """How many orders were confirmed and are not paid."""
    found = await conn.scalar(select(func.count()).select_from(table).where(_unpaid()))
    return int(found or 0)


async def with_notes(conn: AsyncConnection, order_ids: Collection[int]) -> set[int]:
    """Those of these orders that staff wrote something about."""
    if not order_ids:
        return set()
    found = await conn.scalars(
        select(order_notes.c.order_id).where(order_notes.c.order_id.in_(order_ids)).distinct()
    )
    return set(found)


async def by_numbers(conn: AsyncConnection, numbers: Sequence[str]) -> list[Order]:
    """The orders with these numbers, in this order; what is not there is left out."""
    found = await conn.execute(
        select(table.c.id, table.c.number).where(table.c.number.in_(numbers))
    )
    ids = {row.number: row.id for row in found}
    wanted = [ids[number] for number in dict.fromkeys(numbers) if number in ids]
    return list_pagination.ordered(wanted, await orders.by_ids(conn, wanted) if wanted else {})


async def notes(conn: AsyncConnection, order_id: int) -> list[Note]:
    """What staff wrote about an order, oldest first."""
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
    """Write something about an order for other staff to read.

    Raises:
        Invalid: there are no words, or too many.
        NotFound: there is no such order.
    """
    text = body.strip()
    if not text:
        raise Invalid("body", "A note needs words.")
    if len(text) > NOTE_LENGTH:
        raise Invalid("body", f"A note has at most {NOTE_LENGTH} characters; this has {len(text)}.")
    order_id = await conn.scalar(select(table.c.id).where(table.c.number == number))
    if order_id is None:
        raise NotFound("This order")
    await conn.execute(
        insert(order_notes).values(order_id=order_id, user_id=user_id, body=text, created_at=now)
    )
    # The words may be about a person, so the audit knows only that there are some.
    await audit.record(conn, "note", "order", number, {"note": None}, user_id=user_id, now=now)


def _unpaid() -> ColumnElement[bool]:
    return and_(
        table.c.payment_status == Payment.UNPAID,
        table.c.status.not_in([*UNPAYABLE]),
    )


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest orders that a question may mean: each way to ask uses its own index."""
    ways: list[Select[tuple[int]]] = []
    if " " not in q:
        ways.append(select(table.c.id).where(list_pagination.begins(table.c.email, q)))
    if _NUMBER.fullmatch(q):
        ways.append(select(table.c.id).where(list_pagination.begins(table.c.number, q.upper())))
    match = search.matching(conn, q)
    # Withdrawn books too: they are in old orders.
    wanted = select(books.c.id).where(match.condition).order_by(match.score.desc()).limit(_BOOKS)
    if book_ids := list(await conn.scalars(wanted)):
        ways.append(
            select(order_lines.c.order_id.label("id"))
            .where(order_lines.c.book_id.in_(book_ids))
            .distinct()
        )
    if not ways:
        return []
    newest = [
        select(way.order_by(literal_column("id").desc()).limit(_FOUND).subquery().c.id)
        for way in ways
    ]
    return sorted(set(await conn.scalars(union(*newest))))
