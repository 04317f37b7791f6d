"""Check the invariants of the store on its rows.

`bookstore doctor` and the tests use the same checks.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain as chain_of

from sqlalchemy import String, Text, bindparam, case, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.audit import chain
from bookstore.database.documents import Document, is_damaged
from bookstore.database.tables import UtcDateTime, metadata, order_lines, orders
from bookstore.operations.invariants import ORDER_RULES, PRECHECKS, RULES, TOTAL_RULE
from bookstore.tasks.outbox import REPUBLISH_DELAY

#: Rows reported for each broken invariant, to keep the output readable.
MAX_ROWS_REPORTED = 20
#: Orders checked by one query.
ORDERS_PER_QUERY = 20_000
#: A task that is unfinished for this long indicates that no worker runs.
OVERDUE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant and the row at fault."""

    invariant: str
    row: str


_OVERDUE = text(
    """
    SELECT CONCAT(task, '(', ref_id, '): published ', publish_count, ' times, tried ', attempts,
        ' times')
    FROM tasks
    WHERE dead_at IS NULL AND (due_at < :due_before OR publish_count > :max_publications)
    LIMIT :max_rows
    """
).bindparams(bindparam("due_before", type_=UtcDateTime))


async def examine(conn: AsyncConnection, *, now: datetime) -> AsyncIterator[Finding]:
    """The rows that break an invariant; none in a consistent store.

    Can run while the store is in use: each rule reads its rows in one statement, so it sees a
    consistent snapshot.
    """
    for invariant, query in RULES.items():
        found = await conn.execute(text(f"{query} LIMIT {MAX_ROWS_REPORTED}"))
        for row in found.scalars():
            yield Finding(invariant, row)
    async for finding in _damaged_documents(conn):
        yield finding
    async for finding in _broken_orders(conn):
        yield finding
    # A task that is published repeatedly but never claimed always has a due time in the near
    # future, so the number of publications is checked, too.
    parameters = {
        "due_before": now - OVERDUE,
        "max_publications": OVERDUE // REPUBLISH_DELAY,
        "max_rows": MAX_ROWS_REPORTED,
    }
    found = await conn.execute(_OVERDUE, parameters)
    for row in found.scalars():
        yield Finding("no task is overdue", row)
    async for row in chain.verify(conn):
        yield Finding("the audit log matches its hash chain", row)


async def _damaged_documents(conn: AsyncConnection) -> AsyncIterator[Finding]:
    """The rows with a document that is not JSON, or a list instead of an object or vice versa."""
    for column in chain_of(*(table.c for table in metadata.sorted_tables)):
        if not isinstance(column.type, Document):
            continue
        stored = cast(column, Text)
        kind = "object" if issubclass(column.type.kind, dict) else "array"
        found_kind = case((func.json_valid(stored) == 1, func.lower(func.json_type(stored))))
        keys = [cast(each, String(100)) for each in column.table.primary_key]
        query = (
            select(*keys)
            .where(stored.is_not(None), func.coalesce(found_kind, "") != kind)
            .limit(MAX_ROWS_REPORTED)
        )
        if column.nullable:
            query = query.where(stored != "null")
        for row in await conn.execute(query):
            where = f"{column.table.name} {' '.join(map(str, row))}: {column.name}"
            yield Finding("every stored document can be read", where)


async def _broken_orders(conn: AsyncConnection) -> AsyncIterator[Finding]:
    """The rows that break a rule for orders, by ranges of order ids; limited for each rule."""
    last_id = await conn.scalar(select(func.max(orders.c.id))) or 0
    reported: Counter[str] = Counter()
    for first in range(1, last_id + 1, ORDERS_PER_QUERY):
        id_range = {"first": first, "last": first + ORDERS_PER_QUERY - 1}
        passed = await _passed_prechecks(conn, id_range)
        for invariant, query in ORDER_RULES.items():
            if reported[invariant] < MAX_ROWS_REPORTED and invariant not in passed:
                found = await conn.execute(
                    text(f"{query} LIMIT {MAX_ROWS_REPORTED - reported[invariant]}"), id_range
                )
                for row in found.scalars():
                    reported[invariant] += 1
                    yield Finding(invariant, row)
        if reported[TOTAL_RULE] < MAX_ROWS_REPORTED and TOTAL_RULE not in passed:
            wrong = await _wrong_totals(conn, id_range)
            for row in wrong[: MAX_ROWS_REPORTED - reported[TOTAL_RULE]]:
                reported[TOTAL_RULE] += 1
                yield Finding(TOTAL_RULE, row)


async def _passed_prechecks(conn: AsyncConnection, id_range: dict[str, int]) -> set[str]:
    """The rules for which a precheck proves that all orders of the range keep them."""
    passed: set[str] = set()
    for precheck in PRECHECKS:
        supported = conn.dialect.name == "mysql" or not precheck.mysql_only
        if supported and await conn.scalar(text(precheck.query), id_range) is None:
            passed |= precheck.rules
    return passed


async def _wrong_totals(conn: AsyncConnection, id_range: dict[str, int]) -> list[str]:
    # Orders before lines: a concurrent checkout commits both at once, so every order that is read
    # here has its lines in the second query.
    first, last = id_range["first"], id_range["last"]
    of_orders = (
        select(orders.c.id, orders.c.number, orders.c.terms, orders.c.total_cents)
        .where(orders.c.id.between(first, last), orders.c.total_cents.is_not(None))
        .order_by(orders.c.id)
    )
    found = (await conn.execute(of_orders)).all()
    columns = order_lines.c.order_id, order_lines.c.quantity, order_lines.c.unit_price_cents
    of_lines = select(*columns).where(order_lines.c.order_id.between(first, last))
    lines: dict[int, list[tuple[int, int]]] = {}
    for order_id, quantity, unit_price_cents in await conn.execute(of_lines):
        lines.setdefault(order_id, []).append((quantity, unit_price_cents))
    wrong = []
    for row in found:
        if is_damaged(row.terms):
            wrong.append(f"order {row.number}: its terms are damaged")
            continue
        rates = pricing.Rates.of_json(row.terms)
        total_cents = pricing.totals(lines.get(row.id, []), rates).total_cents
        if row.total_cents != total_cents:
            wrong.append(f"order {row.number}: {row.total_cents}, not {total_cents}")
    return wrong
