"""Notifications: what we tell our customers, and the letter that carries it.

queued ──claim──> sending ──answer──> sent
  ^                  │
  ├── put off ───────┤
  ├── in doubt, once ┤
  └── resend         └──> failed
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import tasks
from bookstore.bulk import Bulk
from bookstore.letters import Kind
from bookstore.tables import notifications
from bookstore.tasks import Task


class Status(StrEnum):
    """Where the letter of a notification is."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


_QUEUE = Bulk(
    "order_id BIGINT, kind VARCHAR(40), user_id BIGINT, recipient VARCHAR(254)",
    """
    INSERT INTO notifications
        (order_id, kind, user_id, recipient, status, in_doubt, attempts, created_at)
    SELECT v.order_id, v.kind, v.user_id, v.recipient, 'queued', 0, 0, :now
    FROM {rows} AS v
    LEFT JOIN notifications AS n ON n.order_id = v.order_id AND n.kind = v.kind
    WHERE n.id IS NULL
    """,
)
# Told from those queued before by their task, which only the others have.
_QUEUED = Bulk(
    "order_id BIGINT, kind VARCHAR(40)",
    """
    SELECT n.id FROM {rows} AS v
    {join} notifications AS n ON n.order_id = v.order_id AND n.kind = v.kind
    LEFT JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
    WHERE n.status = 'queued' AND t.id IS NULL ORDER BY n.id
    """,
)


async def queue(
    conn: AsyncConnection,
    kind: str,
    *,
    recipient: str,
    user_id: int | None = None,
    order_id: int | None = None,
    subject: str | None = None,
    body: str | None = None,
    now: datetime,
) -> int:
    """Have a letter sent after this transaction's commit; the id of its notification.

    `kind` is one of `letters.Kind`.  Only a message has words of its own, `subject` and
    `body`; the others are set from a template, with what their order and user say then.
    """
    found = await conn.execute(
        insert(notifications).values(
            user_id=user_id,
            order_id=order_id,
            kind=Kind(kind),
            status=Status.QUEUED,
            in_doubt=False,
            recipient=recipient,
            subject=subject,
            body=body,
            attempts=0,
            created_at=now,
        )
    )
    notification_id: int = found.lastrowid
    await tasks.add(conn, Task.SEND_NOTIFICATIONS, [notification_id], now=now)
    return notification_id


async def queue_for_orders(
    conn: AsyncConnection,
    rows: Iterable[tuple[int, str, int | None, str]],
    *,
    now: datetime,
) -> list[int]:
    """Have a letter sent for each `(order_id, kind, user_id, recipient)`; their ids.

    The caller holds the orders' locks.  An order that had its letter of this kind does not
    get another one, and its id does not come back.
    """
    rows = [
        (order_id, Kind(kind), user_id, recipient) for order_id, kind, user_id, recipient in rows
    ]
    if not rows:
        return []
    await _QUEUE(conn, rows, now=now)
    ids = list((await _QUEUED(conn, [row[:2] for row in rows])).scalars())
    await tasks.add(conn, Task.SEND_NOTIFICATIONS, ids, now=now)
    return ids
