"""The invariants of the store, checked on the rows themselves.

The tests and `bookstore doctor` use the same checks.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing, seals
from bookstore.orders import NEXT, State
from bookstore.tables import UtcDateTime, order_lines, orders
from bookstore.tasks import PAUSE

#: Rows named for each broken invariant; more would bury the reader.
NAMED = 20
#: Orders looked at in one go.
CHUNK = 1000
#: For rules that the database checks itself.
SPAN = 20_000
#: A task that nobody finished for so long is a sign that nobody works.
OVERDUE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, and the row at fault."""

    invariant: str
    row: str


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_STEPS = _listed(f"{state}>{to}" for state, following in NEXT.items() for to in following)

#: Each query finds the rows that break the rule it stands under.
RULES = {
    "stock is the sum of its movements": """
        SELECT CONCAT('book ', s.book_id, ': stock ', s.stock, ', movements ',
            COALESCE(SUM(m.delta), 0))
        FROM book_stock AS s LEFT JOIN stock_movements AS m ON m.book_id = s.book_id
        GROUP BY s.book_id, s.stock HAVING s.stock <> COALESCE(SUM(m.delta), 0)
    """,
    "no stock is below zero": """
        SELECT CONCAT('book ', book_id, ': stock ', stock) FROM book_stock WHERE stock < 0
    """,
    "every book has a place for its stock": """
        SELECT CONCAT('book ', b.id) FROM books AS b
        LEFT JOIN book_stock AS s ON s.book_id = b.id WHERE s.book_id IS NULL
    """,
    "an order has one key": """
        SELECT CONCAT('order ', o.number, ': ', COUNT(*), ' keys') FROM idempotency_keys AS k
        JOIN orders AS o ON o.id = k.order_id GROUP BY o.id, o.number HAVING COUNT(*) > 1
    """,
    "every placed order is waiting for the order service": """
        SELECT CONCAT('order ', o.number) FROM orders AS o
        LEFT JOIN tasks AS t ON t.task = 'process_orders' AND t.ref_id = o.id
        WHERE o.status = 'placed' AND t.id IS NULL
    """,
    "every unsent letter is waiting for the mail service": """
        SELECT CONCAT('notification ', n.id) FROM notifications AS n
        LEFT JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
        WHERE n.status IN ('queued', 'sending') AND t.id IS NULL
    """,
    "no order service is asked for what it has done": """
        SELECT CONCAT('order ', o.number, ': ', o.status) FROM orders AS o
        JOIN tasks AS t ON t.task = 'process_orders' AND t.ref_id = o.id
        WHERE o.status NOT IN ('placed', 'cancelled')
    """,
    "no mail service is asked for what it has done": """
        SELECT CONCAT('notification ', n.id, ': ', n.status) FROM notifications AS n
        JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
        WHERE n.status IN ('sent', 'failed')
    """,
    "a letter about an order knows which": """
        SELECT CONCAT('notification ', id, ': ', kind) FROM notifications
        WHERE order_id IS NULL AND kind LIKE 'order-%'
    """,
    "no task is about an order that is not there": """
        SELECT CONCAT('task ', t.id, ': order ', t.ref_id) FROM tasks AS t
        LEFT JOIN orders AS o ON o.id = t.ref_id
        WHERE t.task = 'process_orders' AND o.id IS NULL
    """,
}
#: The same, about the orders from `:first` to `:last`.  Of a million at once the joins would no
#: longer fit into memory.
RULES_OF_ORDERS = {
    "what was sold is on the ledger, once": """
        SELECT CONCAT('order ', o.number, ', book ', l.book_id) FROM orders AS o
        JOIN order_lines AS l ON l.order_id = o.id
        LEFT JOIN stock_movements AS m
            ON m.order_id = o.id AND m.book_id = l.book_id AND m.reason = 'sold'
        WHERE o.id BETWEEN :first AND :last
            AND o.status IN ('confirmed', 'packed', 'shipped', 'delivered')
            AND (m.id IS NULL OR m.delta <> -l.quantity)
    """,
    "nothing was taken for orders that got nothing": """
        SELECT CONCAT('order ', o.number, ', book ', m.book_id) FROM orders AS o
        JOIN stock_movements AS m ON m.order_id = o.id
        WHERE o.id BETWEEN :first AND :last AND o.status IN ('placed', 'rejected')
    """,
    "a cancelled order gave back what it took": """
        SELECT CONCAT('order ', o.number, ', book ', m.book_id) FROM orders AS o
        JOIN stock_movements AS m ON m.order_id = o.id
        WHERE o.id BETWEEN :first AND :last AND o.status = 'cancelled'
        GROUP BY o.number, m.book_id HAVING SUM(m.delta) <> 0
    """,
    "every order has lines": """
        SELECT CONCAT('order ', o.number) FROM orders AS o
        LEFT JOIN order_lines AS l ON l.order_id = o.id
        WHERE o.id BETWEEN :first AND :last AND l.order_id IS NULL
    """,
    "events are numbered without gaps": """
        SELECT CONCAT('order ', o.number, ': ', COUNT(e.id), ' events, the last is ', o.last_seq)
        FROM orders AS o LEFT JOIN order_events AS e ON e.order_id = o.id
        WHERE o.id BETWEEN :first AND :last GROUP BY o.id, o.number, o.last_seq
        HAVING COUNT(e.id) <> o.last_seq OR MAX(e.seq) <> o.last_seq
    """,
    "no order is in a state that no event led to": """
        SELECT CONCAT('order ', o.number, ': ', o.status) FROM orders AS o
        LEFT JOIN order_events AS e ON e.order_id = o.id AND e.kind = o.status
        WHERE o.id BETWEEN :first AND :last AND e.id IS NULL
    """,
    "an order is in the state that its last event led to": f"""
        SELECT CONCAT('order ', o.number, ': ', o.status, ', then ', later.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.kind = o.status
        JOIN order_events AS later ON later.order_id = o.id AND later.seq > e.seq
        WHERE o.id BETWEEN :first AND :last AND later.kind IN ({_listed(State)})
    """,  # noqa: S608 - names of ours
    "every history begins with `placed`": """
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.seq = 1
        WHERE o.id BETWEEN :first AND :last AND e.kind <> 'placed'
    """,
    "no order took a step that does not exist": f"""
        SELECT CONCAT('order ', o.number, ': from ', e.kind, ' to ', later.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.kind IN ({_listed(State)})
        JOIN order_events AS later ON later.order_id = o.id AND later.kind IN ({_listed(State)})
            AND later.seq = (
                SELECT MIN(seq) FROM order_events
                WHERE order_id = o.id AND seq > e.seq AND kind IN ({_listed(State)})
            )
        WHERE o.id BETWEEN :first AND :last AND CONCAT(e.kind, '>', later.kind) NOT IN ({_STEPS})
    """,  # noqa: S608 - names of ours
    "nothing happens twice to an order": """
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id
        WHERE o.id BETWEEN :first AND :last
            AND e.kind IN ('placed', 'confirmed', 'rejected', 'packed', 'shipped', 'delivered',
            'cancelled')
        GROUP BY o.number, e.kind HAVING COUNT(*) > 1
    """,
    "every status but packed has its letter": """
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id
        LEFT JOIN notifications AS n
            ON n.order_id = o.id AND n.kind = CONCAT('order-', e.kind)
        WHERE o.id BETWEEN :first AND :last
            AND e.kind IN ('placed', 'confirmed', 'rejected', 'shipped', 'delivered', 'cancelled')
            AND n.id IS NULL
    """,
    "no letter tells what did not happen": """
        SELECT CONCAT('notification ', n.id, ': ', n.kind) FROM notifications AS n
        LEFT JOIN order_events AS e
            ON e.order_id = n.order_id AND n.kind = CONCAT('order-', e.kind)
        WHERE n.order_id BETWEEN :first AND :last AND n.kind LIKE 'order-%' AND e.id IS NULL
    """,
    "a decided order has a total": """
        SELECT CONCAT('order ', number) FROM orders
        WHERE id BETWEEN :first AND :last
            AND status NOT IN ('placed', 'cancelled') AND total_cents IS NULL
    """,
}
#: Those that look at events.  MariaDB asks `_SUSPECT` first, which is one way through them and not
#: six: where no order is suspect, none of these finds anything.
_OF_EVENTS = {
    "events are numbered without gaps",
    "no order is in a state that no event led to",
    "an order is in the state that its last event led to",
    "every history begins with `placed`",
    "no order took a step that does not exist",
    "nothing happens twice to an order",
}


def _histories(state: State) -> Iterator[str]:
    """All ways from this state on, `placed>confirmed` and so forth."""
    yield state
    for following in sorted(NEXT.get(state, ())):
        for rest in _histories(following):
            yield f"{state}>{rest}"


_SUSPECT = text(f"""
    SELECT 1 FROM orders AS o LEFT JOIN (
        SELECT order_id, COUNT(*) AS number, MAX(seq) AS last_seq,
            SUM(seq = 1 AND kind = 'placed') AS begun,
            GROUP_CONCAT(CASE WHEN kind IN ({_listed(State)}) THEN kind END
                ORDER BY seq SEPARATOR '>') AS history
        FROM order_events WHERE order_id BETWEEN :first AND :last GROUP BY order_id
    ) AS e ON e.order_id = o.id
    WHERE o.id BETWEEN :first AND :last AND (
        e.history IS NULL OR e.begun <> 1 OR e.number <> o.last_seq OR e.last_seq <> o.last_seq
        OR e.history NOT IN ({_listed(_histories(State.PLACED))})
        OR SUBSTRING_INDEX(e.history, '>', -1) <> o.status
    ) LIMIT 1
""")  # noqa: S608 - names of ours
_OVERDUE = text(
    """
    SELECT CONCAT(task, '(', ref_id, '): offered ', offers, ' times, tried ', attempts, ' times')
    FROM tasks WHERE parked_at IS NULL AND (due_at < :long_ago OR offers > :turns) LIMIT :named
    """
).bindparams(bindparam("long_ago", type_=UtcDateTime))


async def examine(conn: AsyncConnection, *, now: datetime) -> AsyncIterator[Finding]:
    """What breaks the invariants; nothing when all is well.

    For a store at work, in one transaction: then every row is looked at as of one moment.
    """
    for invariant, query in RULES.items():
        found = await conn.execute(text(f"{query} LIMIT {NAMED}"))
        for row in found.scalars():
            yield Finding(invariant, row)
    async for finding in _broken_orders(conn):
        yield finding
    # A row that is offered again and again and never taken is due soon, for ever.
    parameters = {"long_ago": now - OVERDUE, "turns": OVERDUE // PAUSE, "named": NAMED}
    found = await conn.execute(_OVERDUE, parameters)
    for row in found.scalars():
        yield Finding("no task is left undone", row)
    async for row in seals.broken(conn):
        yield Finding("the audit log is as it was written", row)
    async for row in _wrong_totals(conn):
        yield Finding("a total is the sum of its lines at the rates of its day", row)


async def _broken_orders(conn: AsyncConnection) -> AsyncIterator[Finding]:
    """What breaks the rules of orders, span by span; each rule names its first rows."""
    last_id = await conn.scalar(select(func.max(orders.c.id))) or 0
    named: Counter[str] = Counter()
    for first in range(1, last_id + 1, SPAN):
        span = {"first": first, "last": first + SPAN - 1}
        mysql = conn.dialect.name == "mysql"
        suspect = not mysql or await conn.scalar(_SUSPECT, span)
        for invariant, query in RULES_OF_ORDERS.items():
            if named[invariant] < NAMED and (suspect or invariant not in _OF_EVENTS):
                found = await conn.execute(text(f"{query} LIMIT {NAMED - named[invariant]}"), span)
                for row in found.scalars():
                    named[invariant] += 1
                    yield Finding(invariant, row)


async def _wrong_totals(conn: AsyncConnection) -> AsyncIterator[str]:
    last_id = 0
    while True:
        found = (
            await conn.execute(
                select(orders.c.id, orders.c.number, orders.c.terms, orders.c.total_cents)
                .where(orders.c.id > last_id, orders.c.total_cents.is_not(None))
                .order_by(orders.c.id)
                .limit(CHUNK)
            )
        ).all()
        if not found:
            return
        last_id = found[-1].id
        lines: dict[int, list[tuple[int, int]]] = {row.id: [] for row in found}
        for line in await conn.execute(
            select(
                order_lines.c.order_id, order_lines.c.quantity, order_lines.c.unit_price_cents
            ).where(order_lines.c.order_id.between(found[0].id, last_id))
        ):
            if line.order_id in lines:
                lines[line.order_id].append((line.quantity, line.unit_price_cents))
        for row in found:
            total_cents = pricing.totals(lines[row.id], pricing.Rates(**row.terms)).total_cents
            if row.total_cents != total_cents:
                yield f"order {row.number}: {row.total_cents}, not {total_cents}"
