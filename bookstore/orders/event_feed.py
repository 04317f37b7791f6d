"""What people watch while it happens: the events of orders.

Within an order they are numbered under its row lock, so a reader of one order needs no more
than `seq > n`.  Across orders there is only `order_events.id`, and a smaller one may become
visible later than a larger one: whoever reads by it has to come back for those that were
missing.  A plain `id > n` missed 1 to 3 % of the events of a busy store.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import BulkQuery
from bookstore.database.tables import moment, order_events
from bookstore.orders.orders import Event

#: Ids looked at in one go; a longer way back is gone in steps.
STEP = 1000

_SINCE = BulkQuery(
    "order_id BIGINT, seen INT",
    "e.order_id, e.seq, e.kind, e.at, e.actor, e.detail",
    """
    FROM {rows} AS v {join} order_events AS e ON e.order_id = v.order_id AND e.seq > v.seen
    """,
)
_BETWEEN = BulkQuery(
    "first_id BIGINT, last_id BIGINT",
    "e.id, o.number, e.seq, e.kind, e.at, e.actor, e.detail",
    """
    FROM {rows} AS v {join} order_events AS e ON e.id BETWEEN v.first_id AND v.last_id
    {join} orders AS o ON o.id = e.order_id
    """,
)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event of any order; `id` is its own among all, `seq` counts within the order."""

    id: int
    number: str
    seq: int
    kind: str
    at: datetime
    actor: str
    detail: str | None


async def since(conn: AsyncConnection, seen: Mapping[int, int]) -> dict[int, list[Event]]:
    """What happened to each of these orders after the event that was seen last, oldest first.

    One query, however many there are; orders to which nothing happened are left out.
    """
    found: dict[int, list[Event]] = {}
    rows = await _SINCE(conn, sorted(seen.items()))
    for order_id, seq, kind, at, actor, detail in sorted(rows, key=lambda row: row[:2]):
        found.setdefault(order_id, []).append(Event(seq, kind, moment(at), actor, detail))
    return found


async def latest(conn: AsyncConnection) -> int:
    """The id of the newest event that can be seen; 0 where there is none."""
    newest = await conn.execute(select(func.max(order_events.c.id)))
    return newest.scalar_one() or 0


async def among(conn: AsyncConnection, ids: Iterable[int]) -> list[FeedEvent]:
    """Those of these events that can be seen, ascending by id."""
    rows = await _BETWEEN(conn, list(_ranges(sorted(ids))))
    return [
        FeedEvent(event_id, number, seq, kind, moment(at), actor, detail)
        for event_id, number, seq, kind, at, actor, detail in sorted(rows, key=lambda row: row[0])
    ]


def _ranges(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending ids as first and last of each row without a gap."""
    first = last = None
    for event_id in ids:
        if first is None or last is None:
            first = last = event_id
        elif event_id == last + 1:
            last = event_id
        else:
            yield first, last
            first = last = event_id
    if first is not None and last is not None:
        yield first, last
