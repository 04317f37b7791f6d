"""Bulk changes: prices and categories of books, status changes of orders, e-mails sent again.

    planned ──apply──> applied ──undo──> undone

Staff preview a plan before it is applied.  The plan stores every row with its version and values,
so exactly the previewed changes are made.  A row that was changed meanwhile is skipped and
reported.  Only changes of books can be undone, because shipments and e-mails cannot be recalled.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, case, delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore import notifications as notification_service
from bookstore.catalogue import category_index
from bookstore.database.documents import is_damaged
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
from bookstore.notifications import EmailStatus
from bookstore.orders import IN_BULK, NEXT, State, move_locked
from bookstore.regional import money
from bookstore.stored_enum import StoredEnum

#: Rows changed in one transaction, which bounds how long a customer's request waits for a lock.
BATCH = 500
#: The most rows of one plan; use an import for more.
MAX_ROWS = 20_000
LARGEST_PRICE_CENTS = 99_999_999

_AMOUNT = re.compile(r"([+-]?)\s*([0-9]{1,7})(?:[.,]([0-9]{1,3}))?\s*(%?)")
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


class BulkField(StoredEnum):
    """The kinds of bulk changes."""

    PRICE = "price"
    ADD_CATEGORY = "add-category"
    REMOVE_CATEGORY = "remove-category"
    MOVE_ORDERS = "move-orders"
    RESEND_EMAILS = "resend-emails"


#: The kinds that can be undone.
BOOK_FIELDS = frozenset({BulkField.PRICE, BulkField.ADD_CATEGORY, BulkField.REMOVE_CATEGORY})


class BulkOutcome(StoredEnum):
    """The outcome of one row's change.

    SKIPPED: the row had been changed since the plan.  UNDO_SKIPPED: not undone, because the row
    was changed after the plan was applied.
    """

    WAITING = ""
    DONE = "done"
    SKIPPED = "overtaken"
    UNDONE = "undone"
    UNDO_SKIPPED = "kept"


class RowChange(NamedTuple):
    """The change of one row at a version.

    `before` and `after` are a book's price in cents, or the category's position among the book's
    categories (None: not in it).  They are None for orders and e-mails.  The version of an order
    is the number of its last event; that of an e-mail is its number of attempts.
    """

    ref_id: int
    version: int
    before: int | None = None
    after: int | None = None
    outcome: BulkOutcome = BulkOutcome.WAITING


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """A bulk change.

    `target` is the price rule as typed, the category's slug or the orders' new status.
    """

    id: int
    field: BulkField
    target: str
    changes: list[RowChange]
    user_id: int
    created_at: datetime
    applied_at: datetime | None
    undone_at: datetime | None
    #: Its rows cannot be read, so that it cannot be applied.
    damaged: bool = False

    def number(self, outcome: BulkOutcome) -> int:
        """The number of rows with this outcome."""
        return sum(change.outcome is outcome for change in self.changes)


def price_rule(text: str) -> Callable[[int], int]:
    """A function from the old to the new price, both in the smallest unit of the currency.

    `12.90` sets the price, `+1.50` or `-1` changes it by an amount, `+5%` or `-10 %` by a
    percentage.  Percentages are rounded half up to a cent.

    Raises:
        Invalid: the text is none of these.
    """
    found = _AMOUNT.fullmatch(text.strip())
    wrong = Invalid(
        "price", f"Enter a price such as {money.example()}, or a change such as +5% or -1."
    )
    if found is None or (found[4] and not found[1]):
        raise wrong
    try:
        # A percentage has two decimals, like an amount in euros.
        amount = money.units(found[2], found[3], "EUR" if found[4] else None)
    except ValueError:
        raise wrong from None
    signed = -amount if found[1] == "-" else amount
    if found[4]:
        # Here `amount` is in hundredths of a percent.
        return lambda cents: (2 * cents * (10_000 + signed) + 10_000) // 20_000
    if found[1]:
        return lambda cents: cents + signed
    return lambda cents: amount


async def plan_prices(
    conn: AsyncConnection, chosen: Select[tuple[int]], text: str, *, user_id: int, now: datetime
) -> int:
    """Plan new prices for the books whose ids the query `chosen` returns; returns the plan's id.

    Raises:
        Invalid: the rule is malformed, a price would be negative or too high, there are more than
            `MAX_ROWS` books, or no price would change.
    """
    rule = price_rule(text)
    changes = [
        RowChange(row.id, row.version, row.price_cents, rule(row.price_cents))
        for row in await _select(conn, _BOOKS, books.c.id.in_(chosen))
    ]
    out_of_range = [it for it in changes if not 0 <= (it.after or 0) <= LARGEST_PRICE_CENTS]
    if out_of_range:
        count = len(out_of_range)
        raise Invalid("price", f"{count} of these prices would be negative or too high.")
    changing = [it for it in changes if it.before != it.after]
    return await _save_plan(conn, BulkField.PRICE, text.strip(), changing, user_id=user_id, now=now)


async def plan_category(
    conn: AsyncConnection,
    chosen: Select[tuple[int]],
    field: BulkField,
    slug: str,
    *,
    user_id: int,
    now: datetime,
) -> int:
    """Plan to add books to a category or remove them from it; returns the plan's id.

    Raises:
        Invalid: there is no such category, there are more than `MAX_ROWS` books, or no book would
            change.
    """
    category_id = await _category_id(conn, slug)
    rows = await _select(conn, _BOOKS, books.c.id.in_(chosen))
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
        if field is BulkField.ADD_CATEGORY and here is None:
            changes.append(RowChange(row.id, row.version, None, place.last + 1 if place else 0))
        elif field is BulkField.REMOVE_CATEGORY and here is not None:
            changes.append(RowChange(row.id, row.version, here, None))
    return await _save_plan(conn, field, slug, changes, user_id=user_id, now=now)


async def plan_moves(
    conn: AsyncConnection, chosen: Select[tuple[int]], to: State, *, user_id: int, now: datetime
) -> int:
    """Plan a status change for the orders whose ids `chosen` returns; returns the plan's id.

    Orders that cannot change to this status are left out.

    Raises:
        Invalid: this status cannot be set in bulk, there are more than `MAX_ROWS` orders, or none.
    """
    if to not in IN_BULK:
        raise Invalid("to", "This status cannot be set for many orders at once.")
    sources = [state for state, following in NEXT.items() if to in following]
    rows = await _select(conn, _ORDERS, orders.c.id.in_(chosen), orders.c.status.in_(sources))
    changes = [RowChange(row.id, row.version) for row in rows]
    return await _save_plan(conn, BulkField.MOVE_ORDERS, to, changes, user_id=user_id, now=now)


async def plan_resend(
    conn: AsyncConnection, chosen: Select[tuple[int]], *, user_id: int, now: datetime
) -> int:
    """Plan to send the e-mails again whose ids `chosen` returns; returns the plan's id.

    E-mails that are being sent are left out.

    Raises:
        Invalid: there are more than `MAX_ROWS` e-mails, or none.
    """
    rows = await _select(conn, _EMAILS, notifications.c.id.in_(chosen))
    changes = [RowChange(row.id, row.version) for row in rows]
    return await _save_plan(conn, BulkField.RESEND_EMAILS, "", changes, user_id=user_id, now=now)


async def get(conn: AsyncConnection, plan_id: int, *, lock: bool = False) -> BulkPlan:
    """A bulk change.

    Raises:
        NotFound: no plan has this id.
    """
    query = select(bulk_changes).where(bulk_changes.c.id == plan_id)
    found = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if found is None:
        raise NotFound("This change")
    rows = [RowChange._make(row[: len(RowChange._fields)]) for row in found.rows]
    changes = [row._replace(outcome=BulkOutcome.stored(row.outcome)) for row in rows]
    return BulkPlan(
        found.id,
        BulkField.stored(found.field),
        found.wanted,
        changes,
        found.user_id,
        found.created_at,
        found.applied_at,
        found.undone_at,
        damaged=is_damaged(found.rows),
    )


async def apply(
    conn: AsyncConnection, plan_id: int, *, user_id: int, now: datetime, batch_size: int = BATCH
) -> bool:
    """Apply a plan to its next `batch_size` rows; returns whether more remain.

    Safe to repeat: after a crash it continues with the remaining rows.

    Raises:
        NotFound: there is no such plan.
        Invalid: only a newer release knows this kind of change.
    """
    outcomes = (BulkOutcome.WAITING, BulkOutcome.DONE, BulkOutcome.SKIPPED)
    return await _step(conn, plan_id, *outcomes, user_id=user_id, now=now, batch_size=batch_size)


async def undo(
    conn: AsyncConnection, plan_id: int, *, user_id: int, now: datetime, batch_size: int = BATCH
) -> bool:
    """Restore the old values of the next `batch_size` books; returns whether more remain.

    Raises:
        NotFound: there is no such plan, or it cannot be undone.
    """
    if (await get(conn, plan_id)).field not in BOOK_FIELDS:
        raise NotFound("This change")
    outcomes = (BulkOutcome.DONE, BulkOutcome.UNDONE, BulkOutcome.UNDO_SKIPPED)
    return await _step(conn, plan_id, *outcomes, user_id=user_id, now=now, batch_size=batch_size)


async def forget(conn: AsyncConnection, *, before: datetime) -> None:
    """Delete the plans created before this time."""
    await conn.execute(delete(bulk_changes).where(bulk_changes.c.created_at < before))


async def _step(
    conn: AsyncConnection,
    plan_id: int,
    waiting: BulkOutcome,
    done: BulkOutcome,
    skipped: BulkOutcome,
    *,
    user_id: int,
    now: datetime,
    batch_size: int,
) -> bool:
    plan = await get(conn, plan_id, lock=True)
    if plan.damaged:
        raise Invalid("field", "The stored rows of this change are damaged. Plan it again.")
    if not plan.field.is_known:
        raise Invalid("field", f"This release does not know the change “{plan.field}”.")
    undoing = done is BulkOutcome.UNDONE
    column = bulk_changes.c.undone_at if undoing else bulk_changes.c.applied_at
    chosen = list(islice((it for it in plan.changes if it.outcome is waiting), batch_size))
    kind = _KINDS[plan.field]
    in_batch = kind.columns[0].in_([it.ref_id for it in chosen])
    locked = await _select(conn, kind, in_batch, lock=True)
    versions = {row.id: row.version for row in locked}
    # Applying the change incremented the version by one.
    unchanged = [it for it in chosen if versions.get(it.ref_id) == it.version + undoing]
    if unchanged:
        reverted = [it._replace(before=it.after, after=it.before) for it in unchanged]
        changes = reverted if undoing else unchanged
        held = await _change_rows(conn, plan, changes, user_id=user_id, now=now)
        unchanged = [it for it in unchanged if it.ref_id not in held]
    outcome = dict.fromkeys((it.ref_id for it in chosen), skipped)
    outcome |= dict.fromkeys((it.ref_id for it in unchanged), done)
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


async def _change_rows(
    conn: AsyncConnection,
    plan: BulkPlan,
    changes: Sequence[RowChange],
    *,
    user_id: int,
    now: datetime,
) -> set[int]:
    """Change these rows, which are locked, and write the changes to the audit log.

    Returns the ids of orders that must not be shipped yet; they stay as they are.
    """
    ids = [it.ref_id for it in changes]
    if plan.field is BulkField.MOVE_ORDERS:
        return await move_locked(conn, ids, State(plan.target), user_id=user_id, now=now)
    if plan.field is BulkField.RESEND_EMAILS:
        await notification_service.resend_many(conn, ids, user_id=user_id, now=now)
        return set()
    if plan.field is BulkField.PRICE:
        await _SET_PRICES(conn, [(it.ref_id, it.after) for it in changes], now=now)
        await category_index.refresh(conn, ids)
        audited: dict[str, dict[str, list[Any]]] = {
            str(it.ref_id): {"price_cents": [it.before, it.after]} for it in changes
        }
    else:
        category_id = await _category_id(conn, plan.target)
        # Remove first, so that a book that was added to the category meanwhile is not added twice.
        await category_index.remove(conn, category_id, ids)
        added = [(it.ref_id, category_id, it.after) for it in changes if it.after is not None]
        await category_index.add(conn, added)
        await conn.execute(
            update(books)
            .where(books.c.id.in_(ids))
            .values(version=books.c.version + 1, updated_at=now)
        )
        pair = [None, plan.target] if added else [plan.target, None]
        audited = {str(book_id): {"category": pair} for book_id in ids}
    await audit.record_many(conn, "change", "book", audited, user_id=user_id, now=now)
    return set()


class _Kind(NamedTuple):
    """The rows of a kind of bulk change, and the refusals for too many of them and for none."""

    #: `id`, `version`, and what a plan needs.
    columns: tuple[ColumnElement[int], ...]
    #: Other rows are left out of a plan, and skipped if a plan has them already.
    condition: ColumnElement[bool]
    form_field: str
    too_many: str
    none: str


_BOOKS = _Kind(
    (books.c.id, books.c.version, books.c.price_cents),
    books.c.withdrawn_at.is_(None),
    "book",
    f"At most {MAX_ROWS} books can be changed at once. Choose fewer.",
    "None of these books would change.",
)
_ORDERS = _Kind(
    (orders.c.id, orders.c.last_seq.label("version")),
    true(),
    "to",
    f"At most {MAX_ROWS:,} orders can be changed at once. Choose fewer.",
    "None of these orders can change to this status.",
)
_EMAILS = _Kind(
    (notifications.c.id, notifications.c.attempts.label("version")),
    notifications.c.status != EmailStatus.SENDING,
    "email",
    f"At most {MAX_ROWS:,} e-mails can be sent at once. Choose fewer.",
    "There is no e-mail to send again.",
)
_KINDS = {
    **dict.fromkeys(BOOK_FIELDS, _BOOKS),
    BulkField.MOVE_ORDERS: _ORDERS,
    BulkField.RESEND_EMAILS: _EMAILS,
}


async def _select(
    conn: AsyncConnection, kind: _Kind, *conditions: ColumnElement[bool], lock: bool = False
) -> Sequence[Any]:
    """The columns of the rows that meet the conditions; with `lock` the rows are locked.

    Raises:
        Invalid: there are more than `MAX_ROWS`.
    """
    query = select(*kind.columns).where(*conditions, kind.condition)
    query = query.order_by(kind.columns[0]).limit(MAX_ROWS + 1)
    rows = (await conn.execute(query.with_for_update() if lock else query)).all()
    if len(rows) > MAX_ROWS:
        raise Invalid(kind.form_field, kind.too_many)
    return rows


async def _save_plan(
    conn: AsyncConnection,
    field: BulkField,
    target: str,
    changes: Sequence[RowChange],
    *,
    user_id: int,
    now: datetime,
) -> int:
    if not changes:
        raise Invalid(_KINDS[field].form_field, _KINDS[field].none)
    inserted = await conn.execute(
        insert(bulk_changes).values(
            user_id=user_id,
            field=field,
            wanted=target[:200],
            rows=[list(change) for change in changes],
            created_at=now,
        )
    )
    return int(inserted.lastrowid)


async def _category_id(conn: AsyncConnection, slug: str) -> int:
    query = select(categories.c.id).where(categories.c.slug == slug)
    found = await conn.scalar(query) if slug.isprintable() else None
    if found is None:
        raise Invalid("category", "There is no such category.")
    return int(found)
