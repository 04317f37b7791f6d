"""The order service: placed orders become confirmed or rejected, a whole list at a time.

    lock the orders ─> read their lines ─> look at the shelf ─> decide
      ─> ledger, states and totals, events, letters ─> take the copies ─> COMMIT

The shelf is only looked at until the very end, so that lists which want the same book
wait for each other no longer than one statement and one COMMIT take.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import i18n, notifications, pricing
from bookstore.database.engine import Repeat, tell
from bookstore.database.failpoints import crashpoint
from bookstore.database.statements import Bulk, BulkQuery, Statement
from bookstore.database.tables import moment
from bookstore.i18n import Language, _
from bookstore.orders.orders import State


class OutRun(Repeat):
    """Somebody took copies since we looked."""


class Trace(Protocol):
    """Who works on the orders, for their record."""

    @property
    def worker(self) -> str: ...
    def message_of(self, order_id: int) -> str | None: ...
    def attempt_of(self, order_id: int) -> int: ...
    def request_of(self, order_id: int) -> str | None: ...
    def worked_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Order:
    id: int
    user_id: int | None
    email: str
    rates: pricing.Rates
    seq: int
    placed_at: datetime
    language: Language


@dataclass(frozen=True, slots=True)
class _Line:
    book_id: int
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    order: _Order
    lines: Sequence[_Line]
    #: How many copies were wanted and how many are left, by book; none confirms it.
    short: Mapping[int, tuple[int, int]]
    #: Why it is rejected, for the customer.
    reason: str | None = None

    @property
    def state(self) -> State:
        return State.REJECTED if self.short else State.CONFIRMED

    @property
    def total_cents(self) -> int:
        sums = [(line.quantity, line.unit_price_cents) for line in self.lines]
        return pricing.totals(sums, self.order.rates).total_cents


_LOCK = BulkQuery(
    "order_id BIGINT",
    "o.id, o.user_id, o.email, CONCAT(o.terms), o.last_seq, o.placed_at, o.language",
    """
    FROM {rows} AS v {join} orders AS o {by_key} ON o.id = v.order_id
    WHERE o.status = 'placed' {for_update}
    """,
)
# The shelf is looked at in the same trip, without a lock.
_LINES = BulkQuery(
    "order_id BIGINT",
    "l.order_id, l.book_id, l.quantity, l.unit_price_cents, s.stock",
    """
    FROM {rows} AS v {join} order_lines AS l ON l.order_id = v.order_id
    LEFT JOIN book_stock AS s ON s.book_id = l.book_id
    """,
)
_TITLES = BulkQuery(
    "order_id BIGINT",
    "l.order_id, l.book_id, l.title",
    "FROM {rows} AS v {join} order_lines AS l ON l.order_id = v.order_id",
)
_WRITE_LEDGER = Bulk(
    "book_id BIGINT, order_id BIGINT, quantity INT",
    """
    INSERT INTO stock_movements (book_id, delta, reason, order_id, created_at)
    SELECT v.book_id, -v.quantity, 'sold', v.order_id, :now FROM {rows} AS v
    """,
)
_WRITE_STATES = Bulk(
    "order_id BIGINT, status VARCHAR(20), reason TEXT, total_cents INT, seq INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN orders AS o {by_key} ON o.id = v.order_id
    SET o.status = v.status, o.reason = v.reason, o.total_cents = v.total_cents,
        o.last_seq = v.seq, o.updated_at = :now, o.payment_status = CASE
            WHEN v.status = 'rejected' AND o.payment_status = 'paid' THEN 'refund_due'
            WHEN v.status = 'rejected' AND o.payment_status = 'authorized' THEN 'unpaid'
            ELSE o.payment_status END
    """,
    sqlite="""
    UPDATE orders SET status = v.status, reason = v.reason, total_cents = v.total_cents,
        last_seq = v.seq, updated_at = :now, payment_status = CASE
            WHEN v.status = 'rejected' AND payment_status = 'paid' THEN 'refund_due'
            WHEN v.status = 'rejected' AND payment_status = 'authorized' THEN 'unpaid'
            ELSE payment_status END
    FROM {rows} AS v WHERE orders.id = v.order_id
    """,
)
_WRITE_EVENTS = Bulk(
    "order_id BIGINT, seq INT, kind VARCHAR(20), detail TEXT, message_id VARCHAR(36),"
    " attempt INT, waited_ms INT",
    """
    INSERT INTO order_events (order_id, seq, kind, at, actor, detail, message_id, attempt,
        worker, waited_ms, worked_ms)
    SELECT v.order_id, v.seq, v.kind, :now, 'store', v.detail, v.message_id, v.attempt,
        :worker, v.waited_ms, :worked_ms FROM {rows} AS v
    """,
)
_TAKE = Bulk(
    "book_id BIGINT, quantity INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN book_stock AS s {by_key} ON s.book_id = v.book_id
    SET s.stock = s.stock - v.quantity WHERE s.stock >= v.quantity
    """,
    sqlite="""
    UPDATE book_stock SET stock = stock - v.quantity
    FROM {rows} AS v WHERE book_stock.book_id = v.book_id AND stock >= v.quantity
    """,
)


async def process(
    conn: AsyncConnection, order_ids: Collection[int], *, trace: Trace, now: datetime
) -> None:
    """Confirm or reject placed orders: take stock, work out totals, queue letters.

    Orders that have moved on already are left alone, so a message that comes twice changes
    nothing.  Orders are served in the order in which they were placed.

    Raises:
        OutRun: roll back, and repeat the whole on the same path (another order of locks
            would deadlock with those who do not repeat).
    """
    placed = await _lock(conn, order_ids)
    crashpoint("P4", order_ids)
    if not placed:
        return
    lines, shelf = await _lines(conn, placed)
    outcomes = await _worded(conn, [_decide(order, lines[order.id], shelf) for order in placed])
    confirmed = [outcome for outcome in outcomes if not outcome.short]
    states = [
        (it.order.id, it.state, it.reason, it.total_cents, it.order.seq + 1) for it in outcomes
    ]
    await notifications.queue_for_orders(
        conn,
        [(it.order.id, f"order-{it.state}", it.order.user_id, it.order.email) for it in outcomes],
        now=now,
        request_ids={it.order.id: trace.request_of(it.order.id) for it in outcomes},
        after=[
            _WRITE_LEDGER.of(_ledger(confirmed), now=now),
            _WRITE_STATES.of(states, now=now),
            _writing_events(outcomes, trace=trace, now=now).passing("P5", order_ids),
        ],
    )
    tell(conn, [it.order.id for it in outcomes])
    crashpoint("P6", order_ids)
    await _take(conn, confirmed)


async def _lock(conn: AsyncConnection, order_ids: Iterable[int]) -> list[_Order]:
    found = await _LOCK(conn, [(order_id,) for order_id in sorted(order_ids)])
    return [
        _Order(order_id, user_id, email, _rates(terms), seq, moment(placed_at), i18n.known(spoken))
        for order_id, user_id, email, terms, seq, placed_at, spoken in sorted(found)
    ]


# Most orders have the same terms.
@lru_cache(maxsize=32)
def _rates(terms: str) -> pricing.Rates:
    return pricing.Rates(**json.loads(terms))


async def _lines(
    conn: AsyncConnection, orders: Iterable[_Order]
) -> tuple[dict[int, list[_Line]], dict[int, int]]:
    """The lines of each order, and how many copies there are of their books."""
    lines: dict[int, list[_Line]] = {order.id: [] for order in orders}
    shelf: dict[int, int] = {}
    found = await _LINES(conn, [(order_id,) for order_id in lines])
    for order_id, book_id, quantity, unit_price_cents, stock in sorted(found):
        lines[order_id].append(_Line(book_id, quantity, unit_price_cents))
        shelf[book_id] = stock
    return lines, shelf


def _decide(order: _Order, lines: Sequence[_Line], shelf: dict[int, int]) -> _Outcome:
    """All of the order or nothing; what it gets is taken off `shelf`, for those behind it."""
    short = {
        line.book_id: (line.quantity, shelf[line.book_id])
        for line in lines
        if shelf[line.book_id] < line.quantity
    }
    if not short:
        for line in lines:
            shelf[line.book_id] -= line.quantity
    return _Outcome(order, lines, short)


async def _worded(conn: AsyncConnection, outcomes: Sequence[_Outcome]) -> Sequence[_Outcome]:
    """The same outcomes; those that are rejected with the reason, in the customer's language."""
    rejected = {it.order.id: it for it in outcomes if it.short}
    if not rejected:
        return outcomes
    titles = await _TITLES(conn, [(order_id,) for order_id in rejected])
    reasons: dict[int, list[str]] = {order_id: [] for order_id in rejected}
    for order_id, book_id, title in sorted(titles):
        if book_id in rejected[order_id].short:
            with i18n.speaking(rejected[order_id].order.language):
                reasons[order_id].append(_shortage(title, *rejected[order_id].short[book_id]))
    return [
        replace(it, reason="; ".join(reasons[it.order.id])) if it.short else it for it in outcomes
    ]


def _shortage(title: str, wanted: int, left: int) -> str:
    if not left:
        return _("%s: sold out") % title
    facts = {"title": title, "wanted": wanted, "left": left}
    return _("%(title)s: %(wanted)s wanted, %(left)s left") % facts


def _ledger(confirmed: Iterable[_Outcome]) -> list[tuple[int, int, int]]:
    return sorted(
        (line.book_id, outcome.order.id, line.quantity)
        for outcome in confirmed
        for line in outcome.lines
    )


def _writing_events(outcomes: Iterable[_Outcome], *, trace: Trace, now: datetime) -> Statement:
    rows: list[tuple[Any, ...]] = [
        (
            it.order.id,
            it.order.seq + 1,
            it.state,
            it.reason,
            trace.message_of(it.order.id),
            trace.attempt_of(it.order.id),
            round((now - it.order.placed_at).total_seconds() * 1000),
        )
        for it in outcomes
    ]
    return _WRITE_EVENTS.of(rows, worker=trace.worker, worked_ms=trace.worked_ms(), now=now)


async def _take(conn: AsyncConnection, confirmed: Iterable[_Outcome]) -> None:
    """Check and take in one statement, the last one before COMMIT."""
    wanted: dict[int, int] = {}
    for outcome in confirmed:
        for line in outcome.lines:
            wanted[line.book_id] = wanted.get(line.book_id, 0) + line.quantity
    if not wanted:
        return
    taken = await _TAKE(conn, sorted(wanted.items()))
    if taken.rowcount != len(wanted):
        raise OutRun
