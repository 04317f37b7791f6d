"""The invariants of the store, as queries that find the rows that break them.

Each rule is SQL that both databases support.  Running every rule on a million orders would scan
them once for each rule, so a precheck tests several rules in one query.  Only if it finds a row
are its rules run individually.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from bookstore.orders import NEXT, State


@dataclass(frozen=True, slots=True)
class Precheck:
    """A query that tests several rules at once for the orders from `:first` to `:last`.

    When it finds no row, none of `rules` is broken; otherwise each rule has to be run.
    """

    query: str
    rules: Set[str]
    #: Uses functions that SQLite does not have; there running each rule is fast enough.
    mysql_only: bool = False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_STEPS = _listed(f"{state}>{to}" for state, following in NEXT.items() for to in following)

#: Not a query: the total of an order is computed in Python (`pricing.totals`).
TOTAL_RULE = "the order total matches its lines and rates"
#: Maps a rule to the query that finds the rows that break it.
RULES = {
    # SQL_BIG_RESULT and `+ 0` force one sort of the table: through the index of `book_id` each row
    # would be fetched individually.
    "stock is the sum of its movements": """
        SELECT CONCAT('book ', s.book_id, ': stock ', s.stock, ', movements ', m.moved)
        FROM (
            SELECT /*! SQL_BIG_RESULT */ book_id + 0 AS moved_id, SUM(delta) AS moved
            FROM stock_movements GROUP BY moved_id
        ) AS m JOIN book_stock AS s ON s.book_id = m.moved_id WHERE s.stock <> m.moved
        UNION ALL
        SELECT CONCAT('book ', s.book_id, ': stock ', s.stock, ', no movements')
        FROM book_stock AS s LEFT JOIN stock_movements AS m ON m.book_id = s.book_id
        WHERE s.stock <> 0 AND m.id IS NULL
    """,
    "stock is never negative": """
        SELECT CONCAT('book ', book_id, ': stock ', stock) FROM book_stock WHERE stock < 0
    """,
    "every book has a stock row": """
        SELECT CONCAT('book ', b.id) FROM books AS b
        LEFT JOIN book_stock AS s ON s.book_id = b.id WHERE s.book_id IS NULL
    """,
    "the category index matches its books": """
        SELECT CONCAT('book ', b.id, ', category ', c.category_id) FROM book_categories AS c
        JOIN books AS b ON b.id = c.book_id
        WHERE c.sort_title <> b.sort_title OR c.price_cents <> b.price_cents
            OR COALESCE(c.year, -1) <> COALESCE(b.year, -1)
            OR COALESCE(c.language, '') <> COALESCE(b.language, '')
            OR COALESCE(c.format, '') <> COALESCE(b.format, '')
            OR COALESCE(c.withdrawn_at, '') <> COALESCE(b.withdrawn_at, '')
    """,
    "an order has at most one idempotency key": """
        SELECT CONCAT('order ', o.number, ': ', COUNT(*), ' keys') FROM idempotency_keys AS k
        JOIN orders AS o ON o.id = k.order_id GROUP BY o.id, o.number HAVING COUNT(*) > 1
    """,
    "every placed order has a processing task": """
        SELECT CONCAT('order ', o.number) FROM orders AS o
        LEFT JOIN tasks AS t ON t.task = 'process_orders' AND t.ref_id = o.id
        WHERE o.status = 'placed' AND t.id IS NULL
    """,
    "every unsent e-mail has a sending task": """
        SELECT CONCAT('notification ', n.id) FROM notifications AS n
        LEFT JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
        WHERE n.status IN ('queued', 'sending') AND t.id IS NULL
    """,
    "every unfinished job has a task": """
        SELECT CONCAT('job ', j.id, ': ', j.kind, ', ', j.state) FROM jobs AS j
        LEFT JOIN tasks AS t ON t.task = 'run_jobs' AND t.ref_id = j.id
        WHERE j.state IN ('queued', 'running') AND t.id IS NULL
    """,
    "no processed order has a processing task": """
        SELECT CONCAT('order ', o.number, ': ', o.status) FROM orders AS o
        JOIN tasks AS t ON t.task = 'process_orders' AND t.ref_id = o.id
        WHERE o.status NOT IN ('placed', 'cancelled')
    """,
    "no finished e-mail has a sending task": """
        SELECT CONCAT('notification ', n.id, ': ', n.status) FROM notifications AS n
        JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
        WHERE n.status IN ('sent', 'failed')
    """,
    "every e-mail about an order refers to it": """
        SELECT CONCAT('notification ', id, ': ', kind) FROM notifications
        WHERE order_id IS NULL AND kind LIKE 'order-%'
    """,
    "every processing task refers to an existing order": """
        SELECT CONCAT('task ', t.id, ': order ', t.ref_id) FROM tasks AS t
        LEFT JOIN orders AS o ON o.id = t.ref_id
        WHERE t.task = 'process_orders' AND o.id IS NULL
    """,
}
#: The same for the orders from `:first` to `:last`.  The joins of a million orders at once would
#: not fit into memory.
ORDER_RULES = {
    "every sold item has a matching stock movement": """
        SELECT CONCAT('order ', o.number, ', book ', l.book_id) FROM orders AS o
        JOIN order_lines AS l ON l.order_id = o.id
        LEFT JOIN stock_movements AS m
            ON m.order_id = o.id AND m.book_id = l.book_id AND m.reason = 'sold'
        WHERE o.id BETWEEN :first AND :last
            AND o.status IN ('confirmed', 'packed', 'shipped', 'delivered')
            AND (m.id IS NULL OR m.delta <> -l.quantity)
    """,
    "placed and rejected orders have no stock movements": """
        SELECT CONCAT('order ', o.number, ', book ', m.book_id) FROM orders AS o
        JOIN stock_movements AS m ON m.order_id = o.id
        WHERE o.id BETWEEN :first AND :last AND o.status IN ('placed', 'rejected')
    """,
    "a cancelled order has returned its stock": """
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
    "order events are numbered without gaps": """
        SELECT CONCAT('order ', o.number, ': ', COUNT(e.id), ' events, the last is ', o.last_seq)
        FROM orders AS o LEFT JOIN order_events AS e ON e.order_id = o.id
        WHERE o.id BETWEEN :first AND :last GROUP BY o.id, o.number, o.last_seq
        HAVING COUNT(e.id) <> o.last_seq OR MAX(e.seq) <> o.last_seq
    """,
    "every order has an event for its status": """
        SELECT CONCAT('order ', o.number, ': ', o.status) FROM orders AS o
        LEFT JOIN order_events AS e ON e.order_id = o.id AND e.kind = o.status
        WHERE o.id BETWEEN :first AND :last AND e.id IS NULL
    """,
    "the order status is that of the last status event": f"""
        SELECT CONCAT('order ', o.number, ': ', o.status, ', then ', later.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.kind = o.status
        JOIN order_events AS later ON later.order_id = o.id AND later.seq > e.seq
        WHERE o.id BETWEEN :first AND :last AND later.kind IN ({_listed(State)})
    """,  # noqa: S608 - constants
    "every timeline starts with `placed`": """
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.seq = 1
        WHERE o.id BETWEEN :first AND :last AND e.kind <> 'placed'
    """,
    "every status change is an allowed transition": f"""
        SELECT CONCAT('order ', o.number, ': from ', e.kind, ' to ', later.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id AND e.kind IN ({_listed(State)})
        JOIN order_events AS later ON later.order_id = o.id AND later.kind IN ({_listed(State)})
            AND later.seq = (
                SELECT MIN(seq) FROM order_events
                WHERE order_id = o.id AND seq > e.seq AND kind IN ({_listed(State)})
            )
        WHERE o.id BETWEEN :first AND :last AND CONCAT(e.kind, '>', later.kind) NOT IN ({_STEPS})
    """,  # noqa: S608 - constants
    "no status occurs twice in an order": f"""
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id
        WHERE o.id BETWEEN :first AND :last
            AND e.kind IN ({_listed(State)})
        GROUP BY o.number, e.kind HAVING COUNT(*) > 1
    """,  # noqa: S608 - constants
    "every status except packed has an e-mail": """
        SELECT CONCAT('order ', o.number, ': ', e.kind) FROM orders AS o
        JOIN order_events AS e ON e.order_id = o.id
        LEFT JOIN notifications AS n
            ON n.order_id = o.id AND n.kind = CONCAT('order-', e.kind)
        WHERE o.id BETWEEN :first AND :last
            AND e.kind IN ('placed', 'confirmed', 'rejected', 'shipped', 'delivered', 'cancelled')
            AND n.id IS NULL
    """,
    "every status e-mail has its event": """
        SELECT CONCAT('notification ', n.id, ': ', n.kind) FROM notifications AS n
        LEFT JOIN order_events AS e
            ON e.order_id = n.order_id AND n.kind = CONCAT('order-', e.kind)
        WHERE n.order_id BETWEEN :first AND :last AND n.kind LIKE 'order-%' AND e.id IS NULL
    """,
    "every processed order has a total": """
        SELECT CONCAT('order ', number) FROM orders
        WHERE id BETWEEN :first AND :last
            AND status NOT IN ('placed', 'cancelled') AND total_cents IS NULL
    """,
}


def _histories(state: State) -> Iterator[str]:
    """All sequences of states that start with this one, such as `placed>confirmed`."""
    yield state
    for following in sorted(NEXT.get(state, ())):
        for following_states in _histories(following):
            yield f"{state}>{following_states}"


#: The statuses with an e-mail.  The counts of each status are compared as one number, whose digits
#: to the base `_BASE` are these counts.
_NOTIFIED = ("placed", "confirmed", "rejected", "shipped", "delivered", "cancelled")
_BASE = 512


def _counted(kind: str, prefix: str, other: int) -> str:
    digits = " ".join(
        f"WHEN '{prefix}{status}' THEN {_BASE**place}" for place, status in enumerate(_NOTIFIED)
    )
    return f"COALESCE(SUM(CASE {kind} {digits} ELSE {other} END), 0)"


PRECHECKS = (
    Precheck(
        f"""
        SELECT 1 FROM (
            SELECT o.id, o.status, o.last_seq, COUNT(e.id) AS number, MAX(e.seq) AS greatest,
                SUM(e.seq = 1 AND e.kind = 'placed') AS starts,
                GROUP_CONCAT(CASE WHEN e.kind IN ({_listed(State)}) THEN e.kind END
                    ORDER BY e.seq SEPARATOR '>') AS history,
                {_counted("e.kind", "", 0)} AS notified
            FROM orders AS o LEFT JOIN order_events AS e ON e.order_id = o.id
            WHERE o.id BETWEEN :first AND :last GROUP BY o.id
        ) AS o WHERE history IS NULL OR starts <> 1 OR number <> last_seq OR greatest <> last_seq
            OR history NOT IN ({_listed(_histories(State.PLACED))})
            OR SUBSTRING_INDEX(history, '>', -1) <> status OR notified <> (
                SELECT {_counted("n.kind", "order-", _BASE ** len(_NOTIFIED))}
                FROM notifications AS n WHERE n.order_id = o.id AND n.kind LIKE 'order-%'
            )
        LIMIT 1
        """,  # noqa: S608 - constants
        {
            "order events are numbered without gaps",
            "every order has an event for its status",
            "the order status is that of the last status event",
            "every timeline starts with `placed`",
            "every status change is an allowed transition",
            "no status occurs twice in an order",
            "every status except packed has an e-mail",
            "every status e-mail has its event",
        },
        mysql_only=True,
    ),
    # Repeats the computation of the total in SQL; `pricing.totals` is authoritative.
    Precheck(
        """
        SELECT 1 FROM (
            SELECT o.id, o.status, o.total_cents, COUNT(l.book_id) AS number,
                SUM(m.id IS NULL OR m.delta <> -l.quantity) AS unsold,
                COALESCE(SUM(l.quantity * l.unit_price_cents), 0) AS subtotal,
                CASE WHEN JSON_VALID(o.terms)
                    THEN JSON_EXTRACT(o.terms, '$.shipping_cents') + 0 END AS shipping,
                CASE WHEN JSON_VALID(o.terms)
                    THEN JSON_EXTRACT(o.terms, '$.free_shipping_from_cents') + 0 END AS free_from
            FROM orders AS o LEFT JOIN order_lines AS l ON l.order_id = o.id
            LEFT JOIN stock_movements AS m
                ON m.order_id = o.id AND m.book_id = l.book_id AND m.reason = 'sold'
            WHERE o.id BETWEEN :first AND :last GROUP BY o.id
        ) AS o WHERE number = 0
            OR unsold > 0 AND status IN ('confirmed', 'packed', 'shipped', 'delivered')
            OR total_cents IS NULL AND status NOT IN ('placed', 'cancelled')
            OR total_cents <> COALESCE(subtotal
                + CASE WHEN subtotal = 0 OR subtotal >= free_from THEN 0 ELSE shipping END, -1)
        LIMIT 1
        """,
        {
            "every order has lines",
            "every sold item has a matching stock movement",
            "every processed order has a total",
            TOTAL_RULE,
        },
    ),
)
