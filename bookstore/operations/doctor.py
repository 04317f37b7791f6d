"""The invariants of the store, checked on the rows themselves.

The tests and `bookstore doctor` use the same checks.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.audit import chain
from bookstore.database.tables import UtcDateTime, order_lines, orders
from bookstore.operations.invariants import RULES, RULES_OF_ORDERS, SUSPICIONS, TOTAL
from bookstore.tasks.outbox import PAUSE

#: Rows named for each broken invariant; more would bury the reader.
NAMED = 20
#: Orders looked at in one go.
SPAN = 20_000
#: A task that nobody finished for so long is a sign that nobody works.
OVERDUE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, and the row at fault."""

    invariant: str
    row: str


_OVERDUE = text(
    """
    SELECT CONCAT(task, '(', ref_id, '): published ', publish_count, ' times, tried ', attempts,
        ' times')
    FROM tasks WHERE dead_at IS NULL AND (due_at < :long_ago OR publish_count > :turns) LIMIT :named
    """
).bindparams(bindparam("long_ago", type_=UtcDateTime))


async def examine(conn: AsyncConnection, *, now: datetime) -> AsyncIterator[Finding]:
    """What breaks the invariants; nothing when all is well.

    For a store at work: each rule sees all its rows as of one moment.
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
    async for row in chain.broken(conn):
        yield Finding("the audit log is as it was written", row)


async def _broken_orders(conn: AsyncConnection) -> AsyncIterator[Finding]:
    """What breaks the rules of orders, span by span; each rule names its first rows."""
    last_id = await conn.scalar(select(func.max(orders.c.id))) or 0
    named: Counter[str] = Counter()
    for first in range(1, last_id + 1, SPAN):
        span = {"first": first, "last": first + SPAN - 1}
        beyond_doubt = await _beyond_doubt(conn, span)
        for invariant, query in RULES_OF_ORDERS.items():
            if named[invariant] < NAMED and invariant not in beyond_doubt:
                found = await conn.execute(text(f"{query} LIMIT {NAMED - named[invariant]}"), span)
                for row in found.scalars():
                    named[invariant] += 1
                    yield Finding(invariant, row)
        if named[TOTAL] < NAMED and TOTAL not in beyond_doubt:
            for row in (await _wrong_totals(conn, span))[: NAMED - named[TOTAL]]:
                named[TOTAL] += 1
                yield Finding(TOTAL, row)


async def _beyond_doubt(conn: AsyncConnection, span: dict[str, int]) -> set[str]:
    """The rules that all of these orders keep; there may be more."""
    kept: set[str] = set()
    for suspicion in SUSPICIONS:
        asked = conn.dialect.name == "mysql" or not suspicion.mysql_only
        if asked and await conn.scalar(text(suspicion.query), span) is None:
            kept |= suspicion.rules
    return kept


async def _wrong_totals(conn: AsyncConnection, span: dict[str, int]) -> list[str]:
    # Before the lines: who orders meanwhile writes both at once.
    found = (
        await conn.execute(
            select(orders.c.id, orders.c.number, orders.c.terms, orders.c.total_cents)
            .where(
                orders.c.id.between(span["first"], span["last"]), orders.c.total_cents.is_not(None)
            )
            .order_by(orders.c.id)
        )
    ).all()
    lines: dict[int, list[tuple[int, int]]] = {}
    for line in await conn.execute(
        select(
            order_lines.c.order_id, order_lines.c.quantity, order_lines.c.unit_price_cents
        ).where(order_lines.c.order_id.between(span["first"], span["last"]))
    ):
        lines.setdefault(line.order_id, []).append((line.quantity, line.unit_price_cents))
    wrong = []
    for row in found:
        total_cents = pricing.totals(lines.get(row.id, []), pricing.Rates(**row.terms)).total_cents
        if row.total_cents != total_cents:
            wrong.append(f"order {row.number}: {row.total_cents}, not {total_cents}")
    return wrong
