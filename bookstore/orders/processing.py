"""Order processing: placed orders become confirmed or rejected, a batch at a time.

    lock the orders ─> read their lines and the stock ─> decide
      ─> ledger, states and totals, events, e-mails ─> take from stock ─> COMMIT

Stock is read without a lock until the very end.  Batches that need the same book therefore wait
for each other no longer than one statement and one COMMIT take.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import i18n, pricing
from bookstore.database import documents
from bookstore.database.engine import Repeat
from bookstore.database.failpoints import failpoint
from bookstore.database.statements import Bulk, BulkQuery, Statement
from bookstore.database.tables import parse_utc
from bookstore.i18n import Language, _
from bookstore.orders.states import State
from bookstore.orders.transitions import Facts, Locked, Trace, transition
from bookstore.payments import Payment


class StockTaken(Repeat):
    """Another transaction took items from stock after this one read it."""


class DamagedTerms(Exception):
    """The stored terms of an order cannot be read: its task dies, and staff reject the order."""


@dataclass(frozen=True, slots=True)
class _Order:
    locked: Locked
    rates: pricing.Rates
    placed_at: datetime
    language: Language

    @property
    def id(self) -> int:
        return self.locked.id


@dataclass(frozen=True, slots=True)
class _Line:
    book_id: int
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    order: _Order
    lines: Sequence[_Line]
    #: Ordered quantity and stock of each book that is short; empty if the order is confirmed.
    short: Mapping[int, tuple[int, int]]
    #: Why the order is rejected, in the customer's language.
    reason: str | None = None

    @property
    def total_cents(self) -> int:
        sums = [(line.quantity, line.unit_price_cents) for line in self.lines]
        return pricing.totals(sums, self.order.rates).total_cents


_LOCK = BulkQuery(
    "order_id BIGINT",
    "o.id, o.number, o.last_seq, o.user_id, o.email, o.payment_status,"
    " o.payment_provider, CONCAT(o.terms), o.placed_at, o.language",
    """
    FROM {rows} AS v {join} orders AS o {by_key} ON o.id = v.order_id
    WHERE o.status = 'placed' {for_update}
    """,
)
# Stock is read in the same round trip, without a lock.
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
_REDUCE_STOCK = Bulk(
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
    """Confirm or reject placed orders: take stock, compute totals, queue e-mails.

    Safe to repeat: orders that are no longer placed are skipped, so a message that is delivered
    twice changes nothing.  Stock is given to orders in the order in which they were placed.

    Raises:
        StockTaken: stock changed meanwhile.  Roll back and repeat the whole transaction; a retry
            that locked in another order would deadlock with transactions that do not retry.
    """
    placed = await _lock(conn, order_ids)
    failpoint("P4", order_ids)
    if not placed:
        return
    lines, stock = await _lines(conn, placed)
    outcomes = await _explained(conn, [_decide(order, lines[order.id], stock) for order in placed])
    confirmed = [outcome for outcome in outcomes if not outcome.short]
    rejected = [outcome for outcome in outcomes if outcome.short]
    sold = [_WRITE_LEDGER.of(_ledger(confirmed), now=now)]
    await _transition(conn, confirmed, State.CONFIRMED, beside=sold, trace=trace, now=now)
    await _transition(conn, rejected, State.REJECTED, trace=trace, now=now)
    failpoint("P6", order_ids)
    await _reduce_stock(conn, confirmed)


async def _transition(
    conn: AsyncConnection,
    outcomes: Sequence[_Outcome],
    to: State,
    *,
    beside: Sequence[Statement] = (),
    trace: Trace,
    now: datetime,
) -> None:
    facts = {
        it.order.id: Facts(
            reason=it.reason,
            total_cents=it.total_cents,
            waited_ms=round((now - it.order.placed_at).total_seconds() * 1000),
        )
        for it in outcomes
    }
    locked = [it.order.locked for it in outcomes]
    await transition(
        conn, locked, to, actor="store", facts=facts, trace=trace, beside=beside, now=now
    )


async def _lock(conn: AsyncConnection, order_ids: Iterable[int]) -> list[_Order]:
    found = await _LOCK(conn, [(order_id,) for order_id in sorted(order_ids)])
    return [
        _Order(
            Locked(
                id=row[0],
                number=row[1],
                status=State.PLACED,
                last_seq=row[2],
                user_id=row[3],
                email=row[4],
                payment_status=Payment.stored(row[5]),
                payment_provider=row[6],
            ),
            _rates(row[7]),
            parse_utc(row[8]),
            i18n.supported_or_default(row[9]),
        )
        for row in sorted(found)
    ]


# Cached, because most orders have the same terms.
@lru_cache(maxsize=32)
def _rates(terms: str) -> pricing.Rates:
    stored = documents.TERMS.parse(terms)
    if documents.is_damaged(stored):
        raise DamagedTerms
    return pricing.Rates.of_json(stored)


async def _lines(
    conn: AsyncConnection, orders: Iterable[_Order]
) -> tuple[dict[int, list[_Line]], dict[int, int]]:
    """The lines of each order, and the stock of their books."""
    lines: dict[int, list[_Line]] = {order.id: [] for order in orders}
    stock: dict[int, int] = {}
    found = await _LINES(conn, [(order_id,) for order_id in lines])
    for order_id, book_id, quantity, unit_price_cents, in_stock in sorted(found):
        lines[order_id].append(_Line(book_id, quantity, unit_price_cents))
        stock[book_id] = in_stock
    return lines, stock


def _decide(order: _Order, lines: Sequence[_Line], stock: dict[int, int]) -> _Outcome:
    """Fill the order completely or not at all; `stock` is reduced for the orders after it."""
    short = {
        line.book_id: (line.quantity, stock[line.book_id])
        for line in lines
        if stock[line.book_id] < line.quantity
    }
    if not short:
        for line in lines:
            stock[line.book_id] -= line.quantity
    return _Outcome(order, lines, short)


async def _explained(conn: AsyncConnection, outcomes: Sequence[_Outcome]) -> Sequence[_Outcome]:
    """The same outcomes, the rejected ones with a reason in the customer's language."""
    rejected = {it.order.id: it for it in outcomes if it.short}
    if not rejected:
        return outcomes
    titles = await _TITLES(conn, [(order_id,) for order_id in rejected])
    reasons: dict[int, list[str]] = {order_id: [] for order_id in rejected}
    for order_id, book_id, title in sorted(titles):
        if book_id in rejected[order_id].short:
            with i18n.using_language(rejected[order_id].order.language):
                reasons[order_id].append(_shortage(title, *rejected[order_id].short[book_id]))
    return [
        replace(it, reason="; ".join(reasons[it.order.id])) if it.short else it for it in outcomes
    ]


def _shortage(title: str, ordered: int, left: int) -> str:
    if not left:
        return _("%s: sold out") % title
    facts = {"title": title, "quantity": ordered, "stock": left}
    return _("%(title)s: %(quantity)s ordered, %(stock)s in stock") % facts


def _ledger(confirmed: Iterable[_Outcome]) -> list[tuple[int, int, int]]:
    return sorted(
        (line.book_id, outcome.order.id, line.quantity)
        for outcome in confirmed
        for line in outcome.lines
    )


async def _reduce_stock(conn: AsyncConnection, confirmed: Iterable[_Outcome]) -> None:
    """Check and reduce stock in one statement, the last one before COMMIT."""
    quantities: dict[int, int] = {}
    for outcome in confirmed:
        for line in outcome.lines:
            quantities[line.book_id] = quantities.get(line.book_id, 0) + line.quantity
    if not quantities:
        return
    reduced = await _REDUCE_STOCK(conn, sorted(quantities.items()))
    if reduced.rowcount != len(quantities):
        raise StockTaken
