"""Erasure of a user's personal data (GDPR, article 17).  The order history stays consistent.

    lock cart, orders, account and notifications ─> refuse if it is too early
      ─> copy invoices to `retained_invoices` ─> apply the data map, table by table
      ─> write one row to the audit log ─> COMMIT

What remains is an account that cannot sign in, and anonymous orders.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, orders
from bookstore.database import file_store
from bookstore.database.tables import carts, metadata, notifications, retained_invoices
from bookstore.database.tables import jobs as job_table
from bookstore.database.tables import orders as order_table
from bookstore.errors import EmailBeingSent, JobEnded, OrdersOpen
from bookstore.notifications import EmailStatus
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.privacy.data_map import DATA_MAP, Placeholder, notifications_of, orders_of
from bookstore.tasks import jobs
from bookstore.users import accounts

#: Orders that are not finished or have a refund due.
_OPEN = or_(
    order_table.c.status.in_(list(orders.NEXT)), order_table.c.payment_status == Payment.REFUND_DUE
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the number of orders, and the addresses that e-mails were sent to.

    The caller deletes stored copies of these e-mails before it commits.  If that fails, it rolls
    back and nothing is erased.
    """

    orders: int
    recipients: set[str]


async def erase(
    conn: AsyncConnection,
    user_id: int,
    *,
    by: int,
    secret_key: str,
    invoices_kept_years: int,
    now: datetime,
) -> Erased:
    """Erase a user's personal data permanently.  `by` is the requesting user, often the same one.

    Raises:
        NotFound: there is no such user, or it has been erased.
        OrdersOpen: an order is not finished, or a refund is due.
        EmailBeingSent: an e-mail to the user is being sent; try again later.
        Invalid: the user is the last administrator.
    """
    # The same order of locks as in a checkout and in the order worker avoids deadlocks.
    await conn.execute(select(carts.c.id).where(carts.c.user_id == user_id).with_for_update())
    await orders.claim(conn, user_id, now=now)
    order_count = await _lock_orders(conn, user_id)
    email = await accounts.lock_for_erasure(conn, user_id)
    recipients = await _lock_notifications(conn, user_id, now)
    await _retain_invoices(conn, user_id, invoices_kept_years, now)
    # Recent exports of staff may contain the user's addresses, so all of them are deleted.
    await _delete_exports(conn, by, now)
    await _apply(conn, user_id, now)
    await _record(conn, user_id, email, by, secret_key, now)
    return Erased(order_count, recipients)


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete retained invoices whose retention period has ended; return how many."""
    deleted = await conn.execute(
        delete(retained_invoices).where(retained_invoices.c.retain_until <= now)
    )
    return deleted.rowcount


async def _lock_orders(conn: AsyncConnection, user_id: int) -> int:
    columns = order_table.c
    query = select(columns.number, _OPEN.label("open")).where(columns.user_id == user_id)
    rows = (await conn.execute(query.order_by(columns.id).with_for_update())).all()
    if still_open := [row.number for row in rows if row.open]:
        raise OrdersOpen(still_open)
    return len(rows)


async def _lock_notifications(conn: AsyncConnection, user_id: int, now: datetime) -> set[str]:
    """Lock the user's notifications; return the addresses that their e-mails were sent to."""
    columns = notifications.c
    query = select(columns.status, columns.lease_until, columns.recipient)
    query = query.where(columns.id.in_(notifications_of(user_id)))
    rows = (await conn.execute(query.order_by(columns.id).with_for_update())).all()
    if any(row.status == EmailStatus.SENDING and row.lease_until > now for row in rows):
        # The worker will still record the mail server's answer, which may contain the address.
        raise EmailBeingSent
    return {row.recipient for row in rows}


async def _retain_invoices(conn: AsyncConnection, user_id: int, years: int, now: datetime) -> None:
    """Copy invoice data to `retained_invoices` for the legal retention period.

    Only delivered orders have an invoice, because it comes with the shipment.
    """
    columns = order_table.c
    found = await conn.execute(
        select(columns.id, columns.email, columns.shipping_address, columns.placed_at).where(
            columns.id.in_(orders_of(user_id)), columns.status == State.DELIVERED
        )
    )
    invoices = [
        {
            "order_id": row.id,
            "email": row.email,
            "address": row.shipping_address,
            "retained_at": now,
            # The period starts at the end of the year of the order, as tax law counts it.
            "retain_until": datetime(row.placed_at.year + 1 + years, 1, 1, tzinfo=UTC),
        }
        for row in found
    ]
    if invoices := [invoice for invoice in invoices if invoice["retain_until"] > now]:
        await conn.execute(insert(retained_invoices), invoices)


async def _delete_exports(conn: AsyncConnection, by: int, now: datetime) -> None:
    exports = job_table.c.kind.in_([jobs.JobKind.EXPORT_ORDERS, jobs.JobKind.EXPORT_LIST])
    searched = job_table.c.kind == jobs.JobKind.EXPORT_LIST
    running = select(job_table.c.id).where(
        exports,
        or_(
            job_table.c.state == jobs.JobState.RUNNING,
            and_(searched, job_table.c.state == jobs.JobState.QUEUED),
        ),
    )
    for job_id in list(await conn.scalars(running)):
        # The job may have read the data already; it deletes its file when it cannot finish.
        with suppress(JobEnded):
            await jobs.cancel(conn, job_id, user_id=by, now=now)
    written = select(job_table.c.result_id).where(exports, job_table.c.result_id.is_not(None))
    await file_store.remove(conn, list(await conn.scalars(written)))
    # The search terms may be personal data of the user.
    await conn.execute(update(job_table).where(searched).values(options={}))


async def _apply(conn: AsyncConnection, user_id: int, now: datetime) -> None:
    """Apply the data map, dependent tables first: their rows are found through the others."""
    for table in reversed(metadata.sorted_tables):
        data = DATA_MAP.get(table.name)
        if data is None or data.rows_of is None:
            continue
        if data.delete_rows:
            await conn.execute(delete(table).where(data.rows_of(user_id)))
        elif data.replacements:
            values = _values(data.replacements, now)
            await conn.execute(update(table).where(data.rows_of(user_id)).values(values))


def _values(replacements: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    # RFC 2606, section 2: no name below `invalid` ever exists.
    values = {
        Placeholder.EMAIL: f"erased-{secrets.token_hex(8)}@erased.invalid",
        Placeholder.NOW: now,
    }
    return {
        name: values[value] if isinstance(value, Placeholder) else value
        for name, value in replacements.items()
    }


async def _record(
    conn: AsyncConnection, user_id: int, email: str, by: int, secret_key: str, now: datetime
) -> None:
    """Write the audit row.  Its keyed hash can prove later that an address has been erased."""
    digest = hmac.digest(secret_key.encode(), f"erased {email.casefold()}".encode(), hashlib.sha256)
    changes = {"email": None, "email_hash": [digest.hex(), None]}
    await audit.record(conn, "erase", "user", user_id, changes, user_id=by, now=now)
