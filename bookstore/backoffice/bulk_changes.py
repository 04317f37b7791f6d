"""Many rows at once: prices and categories of books, steps of orders, letters sent again.

    planned ──carry out──> applied ──undo──> undone

What was shown is what is done: the plan keeps every row with the version and the values it
had.  A row that somebody changed meanwhile is left as it is, and told.  Only what is done to books
can be undone: parcels and letters do not come back.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Select, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore import notifications as letters
from bookstore.catalogue import category_index
from bookstore.database.statements import Bulk
from bookstore.database.tables import (
    book_categories,
    books,
    bulk_changes,
    categories,
    notifications,
    orders,
)
from bookstore.errors import Invalid, NotFound
from bookstore.notifications import Status
from bookstore.orders import IN_BULK, NEXT, State, move_locked
from bookstore.stored_enum import StoredEnum

#: A shopper waits for no more than these.
BATCH = 500
#: More than this is a file's work, not a form's.
MOST = 20_000
LARGEST_PRICE_CENTS = 99_999_999

_AMOUNT = re.compile(r"([+-]?)\s*([0-9]{1,7})(?:[.,]([0-9]{1,2}))?\s*(%?)")
_SET_PRICES = Bulk(
    "book_id BIGINT, price INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN books AS b {by_key} ON b.id = v.book_id
    SET b.price_cents = v.price, b.version = b.version + 1, b.updated_at = :now
    """,
    sqlite="""
    UPDATE books SET price_cents = v.price, version = version + 1, updated_at = :now
    FROM {rows} AS v WHERE books.id = v.book_id
    """,
)


class Field(StoredEnum):
    """What can be done to many rows."""

    PRICE = "price"
    ADD_CATEGORY = "add-category"
    REMOVE_CATEGORY = "remove-category"
    MOVE_ORDERS = "move-orders"
    RESEND_EMAILS = "resend-emails"


#: What can be undone.
OF_BOOKS = frozenset({Field.PRICE, Field.ADD_CATEGORY, Field.REMOVE_CATEGORY})


class Outcome(StoredEnum):
    """What became of a book's change."""

    WAITING = ""
    DONE = "done"
    OVERTAKEN = "overtaken"
    UNDONE = "undone"
    KEPT = "kept"


class Change(NamedTuple):
    """A row at a version: a book's price in cents or place among its categories, before and after.

    An order's version is the number of its last event, a letter's that of its attempts; both have
    nothing else to be kept.
    """

    ref_id: int
    version: int
    before: int | None
    after: int | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """A bulk change; `wanted` is how it was typed, a category's slug or the orders' next state."""

    id: int
    field: Field
    wanted: str
    changes: list[Change]
    user_id: int
    created_at: datetime
    applied_at: datetime | None
    undone_at: datetime | None

    def number(self, outcome: Outcome) -> int:
        """For how many rows it came out so."""
        return sum(change.outcome is outcome for change in self.changes)


def price_rule(text: str) -> Callable[[int], int]:
    """What a price becomes: `12.90` for all, `+1.50` or `-1` more or less, `+5%` or `-10 %`.

    Per cents are rounded half up.

    Raises:
        Invalid: it is none of these.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found[4] and not found[1]):
        raise Invalid("price", "Type a price such as 12.90, or a change such as +5% or -1.50.")
    amount = int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    signed = -amount if found[1] == "-" else amount
    if found[4]:
        # `amount` counts hundredths of a per cent.
        return lambda cents: (2 * cents * (10_000 + signed) + 10_000) // 20_000
    if found[1]:
        return lambda cents: cents + signed
    return lambda cents: amount


async def plan_prices(
    conn: AsyncConnection, chosen: Select[tuple[int]], text: str, *, user_id: int, now: datetime
) -> int:
    """Plan other prices for the books whose ids the query `chosen` finds; the plan's id.

    Raises:
        Invalid: it is no change of a price, a price would fall below nothing, there are too
            many books, or none whose price would change.
    """
    rule = price_rule(text)
    rows = await _chosen(conn, chosen)
    changes = [
        Change(row.id, row.version, row.price_cents, rule(row.price_cents), Outcome.WAITING)
        for row in rows
    ]
    wrong = [it for it in changes if not 0 <= (it.after or 0) <= LARGEST_PRICE_CENTS]
    if wrong:
        raise Invalid("price", f"{len(wrong)} of these prices would fall below nothing.")
    changing = [it for it in changes if it.before != it.after]
    return await _keep(conn, Field.PRICE, text.strip(), changing, user_id=user_id, now=now)


async def plan_category(
    conn: AsyncConnection,
    chosen: Select[tuple[int]],
    field: Field,
    slug: str,
    *,
    user_id: int,
    now: datetime,
) -> int:
    """Plan to put books into a category, or take them out; the plan's id.

    Raises:
        Invalid: there is no such category, or no book would change.
    """
    category_id = await _category_id(conn, slug)
    rows = await _chosen(conn, chosen)
    placed = await conn.execute(
        select(
            book_categories.c.book_id,
            func.max(book_categories.c.position).label("last"),
            func.max(
                case((book_categories.c.category_id == category_id, book_categories.c.position))
            ).label("here"),
        )
        .where(book_categories.c.book_id.in_(chosen))
        .group_by(book_categories.c.book_id)
    )
    places = {row.book_id: row for row in placed}
    changes = []
    for row in rows:
        place = places.get(row.id)
        here = place.here if place else None
        if field is Field.ADD_CATEGORY and here is None:
            last = place.last + 1 if place else 0
            changes.append(Change(row.id, row.version, None, last, Outcome.WAITING))
        elif field is Field.REMOVE_CATEGORY and here is not None:
            changes.append(Change(row.id, row.version, here, None, Outcome.WAITING))
    return await _keep(conn, field, slug, changes, user_id=user_id, now=now)


async def plan_moves(
    conn: AsyncConnection, chosen: Select[tuple[int]], to: State, *, user_id: int, now: datetime
) -> int:
    """Plan the same step for the orders whose ids the query `chosen` finds; the plan's id.

    Those that cannot take it are left out.

    Raises:
        Invalid: orders take this step one by one, too many would take it, or none.
    """
    if to not in IN_BULK:
        raise Invalid("to", "Orders take this step one by one.")
    able = [state for state, following in NEXT.items() if to in following]
    found = await conn.execute(
        select(orders.c.id, orders.c.last_seq)
        .where(orders.c.id.in_(chosen), orders.c.status.in_(able))
        .order_by(orders.c.id)
        .limit(MOST + 1)
    )
    changes = [Change(row.id, row.last_seq, None, None, Outcome.WAITING) for row in found]
    if len(changes) > MOST:
        raise Invalid("to", f"At most {MOST:,} orders take a step at once. Choose fewer.")
    if not changes:
        raise Invalid("to", "None of these orders can take this step.")
    return await _keep(conn, Field.MOVE_ORDERS, to, changes, user_id=user_id, now=now)


async def plan_letters(
    conn: AsyncConnection, chosen: Select[tuple[int]], *, user_id: int, now: datetime
) -> int:
    """Plan to send the letters again whose ids the query `chosen` finds; the plan's id.

    Those that are being sent are left out.

    Raises:
        Invalid: there are too many, or none.
    """
    found = await conn.execute(
        select(notifications.c.id, notifications.c.attempts)
        .where(notifications.c.id.in_(chosen), notifications.c.status != Status.SENDING)
        .order_by(notifications.c.id)
        .limit(MOST + 1)
    )
    changes = [Change(row.id, row.attempts, None, None, Outcome.WAITING) for row in found]
    if len(changes) > MOST:
        raise Invalid("letter", f"At most {MOST:,} letters are sent at once. Choose fewer.")
    if not changes:
        raise Invalid("letter", "There is no letter to be sent again.")
    return await _keep(conn, Field.RESEND_EMAILS, "", changes, user_id=user_id, now=now)


async def get(conn: AsyncConnection, plan_id: int, *, lock: bool = False) -> Plan:
    """A bulk change.

    Raises:
        NotFound: there is none with this id.
    """
    query = select(bulk_changes).where(bulk_changes.c.id == plan_id)
    found = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if found is None:
        raise NotFound("This change")
    changes = [Change(row[0], row[1], row[2], row[3], Outcome.stored(row[4])) for row in found.rows]
    return Plan(
        found.id,
        Field.stored(found.field),
        found.wanted,
        changes,
        found.user_id,
        found.created_at,
        found.applied_at,
        found.undone_at,
    )


async def carry_out(
    conn: AsyncConnection, plan_id: int, *, user_id: int, now: datetime, at_once: int = BATCH
) -> bool:
    """Change the next `at_once` books of a plan; whether there are more to change after them.

    Repeated after a crash it goes on where it was.

    Raises:
        NotFound: there is no such plan.
    """
    outcomes = (Outcome.WAITING, Outcome.DONE, Outcome.OVERTAKEN)
    return await _step(conn, plan_id, *outcomes, user_id=user_id, now=now, at_once=at_once)


async def undo(
    conn: AsyncConnection, plan_id: int, *, user_id: int, now: datetime, at_once: int = BATCH
) -> bool:
    """Give the next `at_once` books back what they had; whether there are more after them.

    Raises:
        NotFound: there is no such plan, or it cannot be undone.
    """
    if (await get(conn, plan_id)).field not in OF_BOOKS:
        raise NotFound("This change")
    outcomes = (Outcome.DONE, Outcome.UNDONE, Outcome.KEPT)
    return await _step(conn, plan_id, *outcomes, user_id=user_id, now=now, at_once=at_once)


async def forget(conn: AsyncConnection, *, before: datetime) -> None:
    """Drop plans that are too old to be undone."""
    await conn.execute(delete(bulk_changes).where(bulk_changes.c.created_at < before))


async def _step(
    conn: AsyncConnection,
    plan_id: int,
    waiting: Outcome,
    done: Outcome,
    overtaken: Outcome,
    *,
    user_id: int,
    now: datetime,
    at_once: int,
) -> bool:
    plan = await get(conn, plan_id, lock=True)
    back = done is Outcome.UNDONE
    column = bulk_changes.c.undone_at if back else bulk_changes.c.applied_at
    chosen = list(islice((it for it in plan.changes if it.outcome is waiting), at_once))
    versions = await _VERSIONS[plan.field](conn, [it.ref_id for it in chosen])
    able = [it for it in chosen if versions.get(it.ref_id) == it.version + back]
    if able:
        turned = [it._replace(before=it.after, after=it.before) for it in able]
        await _write(conn, plan, turned if back else able, user_id=user_id, now=now)
    outcome = dict.fromkeys((it.ref_id for it in chosen), overtaken)
    outcome |= dict.fromkeys((it.ref_id for it in able), done)
    rows = [
        [*it[:4], outcome.get(it.ref_id, it.outcome) if it.outcome is waiting else it.outcome]
        for it in plan.changes
    ]
    more = any(row[4] is waiting for row in rows)
    values: dict[str, Any] = {"rows": rows}
    if not more:
        values[column.name] = now
    await conn.execute(update(bulk_changes).where(bulk_changes.c.id == plan_id).values(values))
    return more


async def _write(
    conn: AsyncConnection, plan: Plan, changes: Sequence[Change], *, user_id: int, now: datetime
) -> None:
    """Do it to these rows, which are locked, and write it down."""
    ids = [it.ref_id for it in changes]
    if plan.field is Field.MOVE_ORDERS:
        await move_locked(conn, ids, State(plan.wanted), user_id=user_id, now=now)
        return
    if plan.field is Field.RESEND_EMAILS:
        await letters.resend_many(conn, ids, user_id=user_id, now=now)
        return
    if plan.field is Field.PRICE:
        await _SET_PRICES(conn, [(it.ref_id, it.after) for it in changes], now=now)
        await category_index.follow(conn, ids)
        told: dict[str, dict[str, list[Any]]] = {
            str(it.ref_id): {"price_cents": [it.before, it.after]} for it in changes
        }
    else:
        category_id = await _category_id(conn, plan.wanted)
        # Gone first, so that a book that somebody put there meanwhile is not there twice.
        await category_index.take_out(conn, category_id, ids)
        added = [(it.ref_id, category_id, it.after) for it in changes if it.after is not None]
        await category_index.add(conn, added)
        await conn.execute(
            update(books)
            .where(books.c.id.in_(ids))
            .values(version=books.c.version + 1, updated_at=now)
        )
        pair = [None, plan.wanted] if added else [plan.wanted, None]
        told = {str(book_id): {"category": pair} for book_id in ids}
    await audit.record_many(conn, "change", "book", told, user_id=user_id, now=now)


async def _order_versions(conn: AsyncConnection, order_ids: Sequence[int]) -> dict[int, int]:
    found = await conn.execute(
        select(orders.c.id, orders.c.last_seq)
        .where(orders.c.id.in_(order_ids))
        .order_by(orders.c.id)
        .with_for_update()
    )
    return {row.id: row.last_seq for row in found}


async def _letter_versions(conn: AsyncConnection, letter_ids: Sequence[int]) -> dict[int, int]:
    """Those of letters that nobody is sending."""
    found = await conn.execute(
        select(notifications.c.id, notifications.c.attempts)
        .where(notifications.c.id.in_(letter_ids), notifications.c.status != Status.SENDING)
        .order_by(notifications.c.id)
        .with_for_update()
    )
    return {row.id: row.attempts for row in found}


async def _book_versions(conn: AsyncConnection, book_ids: Sequence[int]) -> dict[int, int]:
    """The versions of those that are sold; nobody else changes them now."""
    found = await conn.execute(
        select(books.c.id, books.c.version)
        .where(books.c.id.in_(book_ids), books.c.withdrawn_at.is_(None))
        .order_by(books.c.id)
        .with_for_update()
    )
    return {row.id: row.version for row in found}


#: Each locks its rows.
_VERSIONS: dict[Field, Callable[[AsyncConnection, Sequence[int]], Awaitable[dict[int, int]]]] = {
    **dict.fromkeys(OF_BOOKS, _book_versions),
    Field.MOVE_ORDERS: _order_versions,
    Field.RESEND_EMAILS: _letter_versions,
}


async def _chosen(conn: AsyncConnection, chosen: Select[tuple[int]]) -> Sequence[Any]:
    rows = (
        await conn.execute(
            select(books.c.id, books.c.version, books.c.price_cents)
            .where(books.c.id.in_(chosen), books.c.withdrawn_at.is_(None))
            .order_by(books.c.id)
            .limit(MOST + 1)
        )
    ).all()
    if len(rows) > MOST:
        raise Invalid("book", f"At most {MOST} books change at once. Choose fewer.")
    return rows


async def _keep(
    conn: AsyncConnection,
    field: Field,
    wanted: str,
    changes: Sequence[Change],
    *,
    user_id: int,
    now: datetime,
) -> int:
    if not changes:
        raise Invalid("book", "None of these books would change.")
    inserted = await conn.execute(
        insert(bulk_changes).values(
            user_id=user_id,
            field=field,
            wanted=wanted[:200],
            rows=[list(change) for change in changes],
            created_at=now,
        )
    )
    return int(inserted.lastrowid)


async def _category_id(conn: AsyncConnection, slug: str) -> int:
    asked = select(categories.c.id).where(categories.c.slug == slug)
    found = await conn.scalar(asked) if slug.isprintable() else None
    if found is None:
        raise Invalid("category", "There is no such category.")
    return int(found)
