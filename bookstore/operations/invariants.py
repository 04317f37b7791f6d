"""The rules that the rows of a store keep, as queries that find what breaks them.

Each rule is said in SQL that both databases know.  So that a million orders are not gone through
once for every rule, one query about an order looks at several rules at once, and says whether
any row is worth a closer look: a suspicion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bookstore.orders import NEXT, State


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Where `query` finds no row among the orders from `:first` to `:last`, none of `rules` is
    broken by one of them; where it does, they have to be looked at themselves.
    """

    query: str
    rules: frozenset[str]
    #: It needs functions that SQLite has not; there each rule is quick by itself.
    mysql_only: bool = False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_STEPS = _listed(f"{state}>{to}" for state, following in NEXT.items() for to in following)

#: Not a query: what an order costs is Python's to say.
TOTAL = "a total is the sum of its lines at the rates of its day"
#: Each query finds the rows that break the rule it stands under.
RULES = {
    # Sorted as a whole: by the index of a book's movements each row would be fetched alone.
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
    "no stock is below zero": """
        SELECT CONCAT('book ', book_id, ': stock ', stock) FROM book_stock WHERE stock < 0
    """,
    "every book has a place for its stock": """
        SELECT CONCAT('book ', b.id) FROM books AS b
        LEFT JOIN book_stock AS s ON s.book_id = b.id WHERE s.book_id IS NULL
    """,
    "a shelf lists its books by what they say": """
        SELECT CONCAT('book ', b.id, ', category ', c.category_id) FROM book_categories AS c
        JOIN books AS b ON b.id = c.book_id
        WHERE c.sort_title <> b.sort_title OR c.price_cents <> b.price_cents
            OR COALESCE(c.year, -1) <> COALESCE(b.year, -1)
            OR COALESCE(c.language, '') <> COALESCE(b.language, '')
            OR COALESCE(c.format, '') <> COALESCE(b.format, '')
            OR COALESCE(c.withdrawn_at, '') <> COALESCE(b.withdrawn_at, '')
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


def _histories(state: State) -> Iterator[str]:
    """All ways from this state on, `placed>confirmed` and so forth."""
    yield state
    for following in sorted(NEXT.get(state, ())):
        for rest in _histories(following):
            yield f"{state}>{rest}"


#: A letter goes out for each; how many of which an order has is one number, in digits to this base.
_TOLD = ("placed", "confirmed", "rejected", "shipped", "delivered", "cancelled")
_BASE = 512


def _counted(kind: str, prefix: str, other: int) -> str:
    digits = " ".join(f"WHEN '{prefix}{told}' THEN {_BASE**it}" for it, told in enumerate(_TOLD))
    return f"COALESCE(SUM(CASE {kind} {digits} ELSE {other} END), 0)"


SUSPICIONS = (
    Suspicion(
        f"""
        SELECT 1 FROM (
            SELECT o.id, o.status, o.last_seq, COUNT(e.id) AS number, MAX(e.seq) AS greatest,
                SUM(e.seq = 1 AND e.kind = 'placed') AS begun,
                GROUP_CONCAT(CASE WHEN e.kind IN ({_listed(State)}) THEN e.kind END
                    ORDER BY e.seq SEPARATOR '>') AS history,
                {_counted("e.kind", "", 0)} AS told
            FROM orders AS o LEFT JOIN order_events AS e ON e.order_id = o.id
            WHERE o.id BETWEEN :first AND :last GROUP BY o.id
        ) AS o WHERE history IS NULL OR begun <> 1 OR number <> last_seq OR greatest <> last_seq
            OR history NOT IN ({_listed(_histories(State.PLACED))})
            OR SUBSTRING_INDEX(history, '>', -1) <> status OR told <> (
                SELECT {_counted("n.kind", "order-", _BASE ** len(_TOLD))}
                FROM notifications AS n WHERE n.order_id = o.id AND n.kind LIKE 'order-%'
            )
        LIMIT 1
        """,  # noqa: S608 - names of ours
        frozenset(
            {
                "events are numbered without gaps",
                "no order is in a state that no event led to",
                "an order is in the state that its last event led to",
                "every history begins with `placed`",
                "no order took a step that does not exist",
                "nothing happens twice to an order",
                "every status but packed has its letter",
                "no letter tells what did not happen",
            }
        ),
        mysql_only=True,
    ),
    # What an order costs is said once more here; what `pricing.totals` says is what counts.
    Suspicion(
        """
        SELECT 1 FROM (
            SELECT o.id, o.status, o.total_cents, COUNT(l.book_id) AS number,
                SUM(m.id IS NULL OR m.delta <> -l.quantity) AS unsold,
                COALESCE(SUM(l.quantity * l.unit_price_cents), 0) AS subtotal,
                JSON_EXTRACT(o.terms, '$.shipping_cents') + 0 AS shipping,
                JSON_EXTRACT(o.terms, '$.free_shipping_from_cents') + 0 AS free_from
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
        frozenset(
            {
                "every order has lines",
                "what was sold is on the ledger, once",
                "a decided order has a total",
                TOTAL,
            }
        ),
    ),
)
