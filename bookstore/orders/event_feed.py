"""The events of orders, for live updates.

Within an order, events are numbered under the lock on its row, so a reader of one order only needs
`seq > n`.  Across orders there is only `order_events.id`, and a smaller id may become visible after
a larger one.  A reader by id therefore has to ask again for missing ids: a plain `id > n` missed 1
to 3 % of the events of a busy store.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import BulkQuery
from bookstore.database.tables import order_events, parse_utc
from bookstore.orders.orders import Event

#: The largest number of ids in one query; a longer range is read in steps.
MAX_IDS = 1000

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
    """An event of any order; `id` is unique among all events, `seq` counts within the order."""

    id: int
    number: str
    seq: int
    kind: str
    at: datetime
    actor: str
    detail: str | None


async def events_after(conn: AsyncConnection, seen: Mapping[int, int]) -> dict[int, list[Event]]:
    """The events of each of these orders after the one that was seen last, oldest first.

    One query for all orders; orders without a new event are left out.
    """
    found: dict[int, list[Event]] = {}
    rows = await _SINCE(conn, sorted(seen.items()))
    for order_id, seq, kind, at, actor, detail in sorted(rows, key=lambda row: row[:2]):
        found.setdefault(order_id, []).append(Event(seq, kind, parse_utc(at), actor, detail))
    return found


async def latest_id(conn: AsyncConnection) -> int:
    """The id of the newest visible event; 0 if there is none."""
    newest = await conn.execute(select(func.max(order_events.c.id)))
    return newest.scalar_one() or 0


async def visible(conn: AsyncConnection, ids: Iterable[int]) -> list[FeedEvent]:
    """The visible ones of these events, ascending by id."""
    rows = await _BETWEEN(conn, list(_ranges(sorted(ids))))
    return [
        FeedEvent(event_id, number, seq, kind, parse_utc(at), actor, detail)
        for event_id, number, seq, kind, at, actor, detail in sorted(rows, key=lambda row: row[0])
    ]


def _ranges(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending ids as the first and last of each range without a gap."""
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
