"""Notifications: messages to customers, and the state of the e-mail that delivers each.

queued ──claim──> sending ──answer──> sent
  ^ │                │
  │ └──> muted       │   (the customer has switched off such e-mails; the website still lists it)
  ├── deferred ──────┤
  ├── in doubt, once ┤
  └── resend         └──> failed
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, i18n, pricing
from bookstore.database import documents
from bookstore.database.pagination import Page, SortOrder, select_page
from bookstore.database.statements import Bulk, BulkQuery, Statement, run_queries, run_statements
from bookstore.database.tables import notifications, parse_utc, users
from bookstore.errors import EmailBeingSent, NotFound
from bookstore.notifications import emails, link_tokens
from bookstore.notifications.emails import Email, EmailKind, Item, OrderFacts
from bookstore.stored_enum import StoredEnum
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task

#: The length of `notifications.smtp_answer`.
ANSWER_LENGTH = 500


class EmailStatus(StoredEnum):
    """The state of the e-mail of a notification."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    #: The customer has switched off e-mails of this kind.
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message to a customer, and the state of its e-mail."""

    id: int
    kind: EmailKind
    user_id: int | None
    recipient: str
    subject: str
    body: str
    order_number: str | None
    email_status: EmailStatus
    #: An attempt ended without an answer, so the e-mail may have arrived twice.
    in_doubt: bool
    attempts: int
    #: The last answer of the mail server, or why there is none.
    answer: str | None
    created_at: datetime
    sent_at: datetime | None
    read_at: datetime | None


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
# The notifications queued by `_QUEUE` have no task yet; those queued earlier have one.
_QUEUED = BulkQuery(
    "order_id BIGINT, kind VARCHAR(40)",
    "n.id, n.order_id",
    """
    FROM {rows} AS v {join} notifications AS n ON n.order_id = v.order_id AND n.kind = v.kind
    LEFT JOIN tasks AS t ON t.task = 'send_notifications' AND t.ref_id = n.id
    WHERE n.status = 'queued' AND t.id IS NULL
    """,
)

_EMAILS = BulkQuery(
    "id BIGINT",
    """n.id, n.kind, n.recipient, n.created_at, n.subject, n.body, u.name,
    COALESCE(n.language, o.language), o.number, o.user_id IS NULL, o.payment_status,
    o.currency, CONCAT(o.terms), CONCAT(o.shipping_address), o.reason, o.tracking, o.placed_at""",
    """
    FROM {rows} AS v {join} notifications AS n ON n.id = v.id
    LEFT JOIN orders AS o ON o.id = n.order_id LEFT JOIN users AS u ON u.id = n.user_id
    """,
)
_ITEMS = BulkQuery(
    "id BIGINT",
    "n.id, l.book_id, l.title, l.quantity, l.unit_price_cents, w.position, a.name",
    """
    FROM {rows} AS v {join} notifications AS n ON n.id = v.id
    {join} order_lines AS l ON l.order_id = n.order_id
    LEFT JOIN book_authors AS w ON w.book_id = l.book_id AND w.role = 'author'
    LEFT JOIN authors AS a ON a.id = w.author_id
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
    """Queue an e-mail, which is sent after this transaction's commit; the id of its notification.

    Its language is the user's current one, or that in which its order was placed.  `kind` is a
    value of `EmailKind`.  Only a message has its own `subject` and `body`; the other kinds are
    rendered from a template, with the data of their order and user at the time of sending.
    """
    language = select(users.c.language).where(users.c.id == user_id).scalar_subquery()
    found = await conn.execute(
        insert(notifications)
        .values(user_id=user_id, order_id=order_id, kind=EmailKind(kind), recipient=recipient)
        .values(subject=subject, body=body, language=language if order_id is None else None)
        .values(status=EmailStatus.QUEUED, in_doubt=False, attempts=0, created_at=now)
    )
    notification_id: int = found.lastrowid
    await outbox.add(conn, Task.SEND_NOTIFICATIONS, [notification_id], now=now)
    return notification_id


async def write(
    conn: AsyncConnection, user_id: int, subject: str, body: str, *, by: int | None, now: datetime
) -> Notification:
    """Queue a message from staff to a user.

    Raises:
        NotFound: there is no such user, or the account was erased.
    """
    # The lock prevents a message to an account that is erased at the same moment.
    query = select(users.c.email).where(users.c.id == user_id, users.c.erased_at.is_(None))
    email = await conn.scalar(query.with_for_update())
    if email is None:
        raise NotFound("This user")
    kind = EmailKind.MESSAGE
    notification_id = await queue(
        conn, kind, recipient=email, user_id=user_id, subject=subject, body=body, now=now
    )
    changes = {"subject": None, "body": None}
    await audit.record(conn, "write", "notification", notification_id, changes, user_id=by, now=now)
    return await get(conn, notification_id)


async def queue_for_orders(
    conn: AsyncConnection,
    rows: Iterable[tuple[int, str, int | None, str]],
    *,
    now: datetime,
    request_ids: Mapping[int, str | None] | None = None,
    preceding: Iterable[Statement] = (),
) -> list[int]:
    """Queue an e-mail for each `(order_id, kind, user_id, recipient)`; their notification ids.

    The caller has locked the orders.  An order that already has an e-mail of this kind gets no
    second one, and no id is returned for it.  `request_ids` maps each order to the request that
    caused its e-mail, if the orders have different requests.  The statements of `preceding` run
    first, in the same round trip.
    """
    rows = [(order_id, EmailKind(kind), user_id, email) for order_id, kind, user_id, email in rows]
    if not rows:
        return []
    queued = _QUEUED.of([row[:2] for row in rows])
    found = dict(await run_statements(conn, *preceding, _QUEUE.of(rows, now=now), answer=queued))
    if request_ids is not None:
        request_ids = {it: request_ids.get(order_id) for it, order_id in found.items()}
    ids: list[int] = sorted(found)
    await outbox.add(conn, Task.SEND_NOTIFICATIONS, ids, now=now, request_ids=request_ids)
    return ids


async def of_user(
    conn: AsyncConnection,
    user_id: int,
    *,
    unread: bool | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Notification]:
    """A user's notifications, newest first; `unread` selects only unread (True) or read (False).

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = select(notifications).where(notifications.c.user_id == user_id)
    if unread is not None:
        query = query.where(notifications.c.read_at.is_(None) == unread)
    return await _page(conn, query, cursor, limit)


async def mark_read(
    conn: AsyncConnection, notification_id: int, *, user_id: int, now: datetime
) -> Notification:
    """Record when the user first read it.

    Raises:
        NotFound: there is no such notification, or it is not this user's.
    """
    own = (notifications.c.id == notification_id) & (notifications.c.user_id == user_id)
    await conn.execute(
        update(notifications).where(own, notifications.c.read_at.is_(None)).values(read_at=now)
    )
    return await _one(conn, select(notifications).where(own))


async def find(
    conn: AsyncConnection,
    *,
    status: EmailStatus | None = None,
    in_doubt: bool | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Notification]:
    """The notifications of all users, for staff, newest first.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = select(notifications)
    if status is not None:
        query = query.where(notifications.c.status == status)
    if in_doubt is not None:
        query = query.where(notifications.c.in_doubt == in_doubt)
    return await _page(conn, query, cursor, limit)


async def count(conn: AsyncConnection) -> dict[EmailStatus, int]:
    """How many e-mails are queued, being sent and failed."""
    states = [EmailStatus.QUEUED, EmailStatus.SENDING, EmailStatus.FAILED]
    status = notifications.c.status
    query = select(status, func.count()).where(status.in_(states)).group_by(status)
    found = await conn.execute(query)
    return dict.fromkeys(states, 0) | {EmailStatus.stored(name): number for name, number in found}


async def get(conn: AsyncConnection, notification_id: int) -> Notification:
    """One notification, for staff.

    Raises:
        NotFound: there is none with this id.
    """
    return await _one(conn, select(notifications).where(notifications.c.id == notification_id))


async def by_ids(conn: AsyncConnection, ids: Sequence[int]) -> dict[int, Notification]:
    """Notifications by their ids; ids that do not exist are left out."""
    rows = await conn.execute(select(notifications).where(notifications.c.id.in_(ids)))
    found = await _load(conn, rows.all())
    return {each.id: each for each in found}


async def get_email(conn: AsyncConnection, notification_id: int) -> Email:
    """The input of `emails.render` for a preview by staff: without the seed of the secret link.

    Raises:
        NotFound: there is no notification with this id.
    """
    found = await load_emails(conn, [notification_id])
    if not found:
        raise NotFound("This notification")
    return replace(found[notification_id], link_seed=None)


async def load_emails(conn: AsyncConnection, notification_ids: Collection[int]) -> dict[int, Email]:
    """The input of `emails.render` for these notifications, by their ids.

    Ids that do not exist are left out.
    """
    wanted = [(it,) for it in sorted(notification_ids)]
    found, lines = await run_queries(conn, _EMAILS.of(wanted), _ITEMS.of(wanted))
    items = _items(lines)
    linked = [row[0] for row in found if row[1] in emails.LINK_PATHS]
    seeds = await link_tokens.seeds(conn, linked) if linked else {}
    written = {}
    for notification_id, kind, recipient, created_at, subject, body, name, spoken, *order in found:
        facts = _order(items.get(notification_id, []), *order) if order[0] is not None else None
        written[notification_id] = Email(
            notification_id=notification_id,
            kind=EmailKind.stored(kind),
            recipient=recipient,
            language=i18n.supported_or_default(spoken),
            name=name or (facts.shipping_address.get("name") if facts else None),
            created_at=parse_utc(created_at),
            subject=subject,
            body=body,
            order=facts,
            link_seed=seeds.get(notification_id),
        )
    return written


async def resend(
    conn: AsyncConnection, notification_id: int, *, user_id: int | None, now: datetime
) -> Notification:
    """Send an e-mail again at once, for staff.  One that is being sent stays as it is.

    Raises:
        NotFound: there is no notification with this id.
    """
    await resend_many(conn, [notification_id], user_id=user_id, now=now)
    return await get(conn, notification_id)


async def resend_many(
    conn: AsyncConnection, ids: Collection[int], *, user_id: int | None, now: datetime
) -> int:
    """Send these e-mails again; how many were queued.  Those being sent stay as they are."""
    query = (
        select(notifications.c.id, notifications.c.status)
        .where(notifications.c.id.in_(ids), notifications.c.status != EmailStatus.SENDING)
        .order_by(notifications.c.id)
        .with_for_update()
    )
    found = (await conn.execute(query)).all()
    wanted = [row.id for row in found]
    if not wanted:
        return 0
    queued = update(notifications).where(notifications.c.id.in_(wanted))
    await conn.execute(queued.values(status=EmailStatus.QUEUED, attempts=0))
    await outbox.complete(conn, Task.SEND_NOTIFICATIONS, wanted)
    await outbox.add(conn, Task.SEND_NOTIFICATIONS, wanted, now=now)
    changes = {str(row.id): {"email_status": [row.status, EmailStatus.QUEUED]} for row in found}
    await audit.record_many(conn, "resend", "notification", changes, user_id=user_id, now=now)
    return len(wanted)


async def give_up(
    conn: AsyncConnection, notification_id: int, answer: str, *, now: datetime
) -> None:
    """Mark an e-mail whose dead task is discarded as `failed`.

    One that was sent or has failed stays as it is.  If an attempt ended without a result, the
    e-mail may have arrived, so it is marked as in doubt.

    Raises:
        EmailBeingSent: an attempt is running.
    """
    query = select(notifications.c.status, notifications.c.lease_until, notifications.c.in_doubt)
    own = notifications.c.id == notification_id
    found = (await conn.execute(query.where(own).with_for_update())).one_or_none()
    if found is None or found.status not in (EmailStatus.QUEUED, EmailStatus.SENDING):
        return
    was_sending = found.status == EmailStatus.SENDING
    if was_sending and found.lease_until is not None and found.lease_until > now:
        raise EmailBeingSent
    await conn.execute(
        update(notifications)
        .where(own)
        .values(
            status=EmailStatus.FAILED,
            smtp_answer=answer[:ANSWER_LENGTH],
            in_doubt=found.in_doubt or was_sending,
            lease_until=None,
        )
    )


async def _page(
    conn: AsyncConnection, query: Select[Any], cursor: str | None, limit: int
) -> Page[Notification]:
    newest_first = SortOrder((notifications.c.id,), descending=True)
    page = await select_page(conn, query, newest_first, cursor=cursor, limit=limit)
    return page.with_items(await _load(conn, page.items))


async def _one(conn: AsyncConnection, query: Select[Any]) -> Notification:
    found = await _load(conn, (await conn.execute(query)).all())
    if not found:
        raise NotFound("This notification")
    return found[0]


async def _load(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Notification]:
    written = await load_emails(conn, [row.id for row in rows])
    return [_notification(row, written[row.id]) for row in rows]


def _notification(row: Row[Any], written: Email) -> Notification:
    return Notification(
        id=row.id,
        kind=written.kind,
        user_id=row.user_id,
        recipient=row.recipient,
        subject=emails.subject(written),
        body=emails.summary(written),
        order_number=written.order.number if written.order else None,
        email_status=EmailStatus.stored(row.status),
        in_doubt=row.in_doubt,
        attempts=row.attempts,
        answer=row.smtp_answer,
        created_at=row.created_at,
        sent_at=row.sent_at,
        read_at=row.read_at,
    )


#: For a list: an e-mail about an order with damaged terms is shown, but never sent.
_NO_RATES = pricing.Rates("EUR", 0, 0, 0)


def _items(found: list[list[Any]]) -> dict[int, list[Item]]:
    """The books of each notification's order, by book id; `found` has a row for each author."""
    items: dict[int, list[Item]] = {}
    # The position is None for a book without an author, and None cannot be sorted.
    found.sort(key=lambda row: (row[0], row[1], row[5] or 0))
    for (notification_id, _), rows in groupby(found, itemgetter(0, 1)):
        lines = list(rows)
        writers = tuple(line[6] for line in lines if line[6] is not None)
        item = Item(lines[0][2], writers, lines[0][3], lines[0][4])
        items.setdefault(notification_id, []).append(item)
    return items


def _order(
    items: list[Item],
    number: str,
    guest: int,
    payment_status: str,
    currency: str,
    terms: str,
    shipping_address: str,
    reason: str | None,
    tracking: str | None,
    placed_at: str,
) -> OrderFacts:
    # The totals are calculated here because the worker may not have done so yet.  They follow from
    # the terms stored with the order when it was placed, so both give the same result.
    stored = documents.TERMS.parse(terms)
    damaged = documents.is_damaged(stored)
    rates = _NO_RATES if damaged else pricing.Rates.of_json(stored)
    return OrderFacts(
        number=number,
        guest=bool(guest),
        payment_status=payment_status,
        currency=currency,
        items=tuple(items),
        totals=pricing.totals([(item.quantity, item.unit_price_cents) for item in items], rates),
        tax_basis_points=rates.tax_basis_points,
        shipping_address=documents.ADDRESS.parse(shipping_address),
        damaged=damaged,
        reason=reason,
        tracking=tracking,
        placed_at=parse_utc(placed_at),
    )
