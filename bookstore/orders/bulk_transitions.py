"""Many orders at once: packed or shipped with one click, in one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, notifications
from bookstore.database.tables import order_events, orders
from bookstore.errors import IllegalTransition, Invalid
from bookstore.orders.orders import NEXT, State

#: Steps that need no words for each order.
TOGETHER = frozenset({State.PACKED, State.SHIPPED})


_COLUMNS = (
    orders.c.id,
    orders.c.number,
    orders.c.status,
    orders.c.last_seq,
    orders.c.user_id,
    orders.c.email,
)


@dataclass(frozen=True, slots=True)
class Moved:
    """The numbers of the orders that took the step, and why each of the others did not."""

    done: list[str]
    refused: dict[str, str] = field(default_factory=dict)


async def move(
    conn: AsyncConnection, numbers: Collection[str], to: State, *, user_id: int, now: datetime
) -> Moved:
    """Staff move these orders on, all that can be.  A fixed number of statements.

    Raises:
        Invalid: orders take this step one by one.
    """
    if to not in TOGETHER:
        raise Invalid("to", "Orders take this step one by one.")
    found = (
        await conn.execute(
            select(*_COLUMNS)
            .where(orders.c.number.in_(list(numbers)))
            .order_by(orders.c.id)
            .with_for_update()
        )
    ).all()
    known = {row.number for row in found}
    refused = {each: "This order does not exist." for each in numbers if each not in known}
    able = [row for row in found if to in NEXT.get(State(row.status), ())]
    refused |= {
        row.number: str(IllegalTransition(State(row.status), to))
        for row in found
        if row not in able
    }
    if able:
        await _enter(conn, able, to, user_id=user_id, now=now)
    return Moved([row.number for row in able], refused)


async def move_locked(
    conn: AsyncConnection, order_ids: Sequence[int], to: State, *, user_id: int, now: datetime
) -> None:
    """Move these orders on, which the caller has locked and found able to take the step."""
    found = await conn.execute(
        select(*_COLUMNS).where(orders.c.id.in_(order_ids)).order_by(orders.c.id)
    )
    await _enter(conn, found.all(), to, user_id=user_id, now=now)


async def _enter(
    conn: AsyncConnection, rows: Sequence[Any], to: State, *, user_id: int, now: datetime
) -> None:
    await conn.execute(
        update(orders)
        .where(orders.c.id.in_([row.id for row in rows]))
        .values(status=to, last_seq=orders.c.last_seq + 1, updated_at=now)
    )
    await conn.execute(
        insert(order_events),
        [
            {
                "order_id": row.id,
                "seq": row.last_seq + 1,
                "kind": to,
                "at": now,
                "actor": f"staff:{user_id}",
            }
            for row in rows
        ],
    )
    if to is not State.PACKED:  # Nobody needs a letter about wrapping paper.
        letters = [(row.id, f"order-{to}", row.user_id, row.email) for row in rows]
        await notifications.queue_for_orders(conn, letters, now=now)
    await audit.record_many(
        conn,
        "move-order",
        "order",
        {row.number: {"status": [row.status, to]} for row in rows},
        user_id=user_id,
        now=now,
    )
