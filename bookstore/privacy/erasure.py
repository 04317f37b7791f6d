"""Erasure: somebody's personal data goes, the store's books stay right (GDPR, article 17).

    lock cart, orders, account and letters ─> refuse what is too early ─> seal invoices
      ─> do what the data map says, table by table ─> one row in the audit ─> COMMIT

What is left is an account that nobody can sign in to, and orders that name nobody.
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
from bookstore.notifications import Status
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.privacy.data_map import HELD, Stand, letters_of, orders_of
from bookstore.tasks import jobs
from bookstore.users import accounts

#: Somebody still waits for something.
_OPEN = or_(
    order_table.c.status.in_(list(orders.NEXT)), order_table.c.payment_status == Payment.REFUND_DUE
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What went; `recipients` are the addresses that letters went to.

    The caller shreds copies of these letters before it commits: when it fails at that,
    nothing is erased.
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
    """Erase a user's personal data, for good.  `by` is whoever asks for it, perhaps themselves.

    Raises:
        NotFound: there is no such user (any more).
        OrdersOpen: they wait for books or money.
        EmailBeingSent: a letter to them is being sent.
        Invalid: the store needs an administrator, and this is the last one.
    """
    # In the order in which a checkout and the order service lock: cart, orders, account.
    await conn.execute(select(carts.c.id).where(carts.c.user_id == user_id).with_for_update())
    await orders.claim(conn, user_id, now=now)
    own = await _lock_orders(conn, user_id)
    email = await accounts.lock_for_erasure(conn, user_id)
    recipients = await _lock_letters(conn, user_id, now)
    await _seal(conn, user_id, invoices_kept_years, now)
    # What staff have exported lately has everybody's addresses in it.
    await _drop_exports(conn, by, now)
    await _apply(conn, user_id, now)
    await _record(conn, user_id, email, by, secret_key, now)
    return Erased(own, recipients)


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Throw away sealed invoices whose time is over; the number of them."""
    gone = await conn.execute(
        delete(retained_invoices).where(retained_invoices.c.retain_until <= now)
    )
    return gone.rowcount


async def _lock_orders(conn: AsyncConnection, user_id: int) -> int:
    found = await conn.execute(
        select(order_table.c.number, _OPEN.label("open"))
        .where(order_table.c.user_id == user_id)
        .order_by(order_table.c.id)
        .with_for_update()
    )
    own = found.all()
    if still_open := [row.number for row in own if row.open]:
        raise OrdersOpen(still_open)
    return len(own)


async def _lock_letters(conn: AsyncConnection, user_id: int, now: datetime) -> set[str]:
    """The addresses that letters to the user went to."""
    columns = notifications.c
    found = await conn.execute(
        select(columns.status, columns.lease_until, columns.recipient)
        .where(columns.id.in_(letters_of(user_id)))
        .order_by(columns.id)
        .with_for_update()
    )
    letters = found.all()
    if any(row.status == Status.SENDING and row.lease_until > now for row in letters):
        # What a mail server says of it is yet to be written down, and may repeat the address.
        raise EmailBeingSent
    return {row.recipient for row in letters}


async def _seal(conn: AsyncConnection, user_id: int, years: int, now: datetime) -> None:
    """Put apart what invoices say, until the law wants them no more; they come with parcels."""
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
            # Counted from the end of the year, as tax offices do.
            "retain_until": datetime(row.placed_at.year + 1 + years, 1, 1, tzinfo=UTC),
        }
        for row in found
    ]
    if invoices := [invoice for invoice in invoices if invoice["retain_until"] > now]:
        await conn.execute(insert(retained_invoices), invoices)


async def _drop_exports(conn: AsyncConnection, by: int, now: datetime) -> None:
    exports = job_table.c.kind.in_([jobs.Kind.EXPORT_ORDERS, jobs.Kind.EXPORT_LIST])
    searched = job_table.c.kind == jobs.Kind.EXPORT_LIST
    running = select(job_table.c.id).where(
        exports,
        or_(
            job_table.c.state == jobs.State.RUNNING,
            and_(searched, job_table.c.state == jobs.State.QUEUED),
        ),
    )
    for job_id in list(await conn.scalars(running)):
        # What it has read by now it must not write; `finish` then takes its file away.
        with suppress(JobEnded):
            await jobs.cancel(conn, job_id, user_id=by, now=now)
    written = select(job_table.c.result_id).where(exports, job_table.c.result_id.is_not(None))
    await file_store.remove(conn, list(await conn.scalars(written)))
    # What was searched for may have been them.
    await conn.execute(update(job_table).where(searched).values(options={}))


async def _apply(conn: AsyncConnection, user_id: int, now: datetime) -> None:
    """Do what the data map says: first what hangs on other rows, which are then found no more."""
    for table in reversed(metadata.sorted_tables):
        held = HELD.get(table.name)
        if held is None or held.whose is None:
            continue
        if held.gone:
            await conn.execute(delete(table).where(held.whose(user_id)))
        elif held.left:
            values = _values(held.left, now)
            await conn.execute(update(table).where(held.whose(user_id)).values(values))


def _values(left: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    # RFC 2606, section 2: nothing below `invalid` ever exists.
    known = {Stand.EMAIL: f"erased-{secrets.token_hex(8)}@erased.invalid", Stand.MOMENT: now}
    return {
        name: known[value] if isinstance(value, Stand) else value for name, value in left.items()
    }


async def _record(
    conn: AsyncConnection, user_id: int, email: str, by: int, secret_key: str, now: datetime
) -> None:
    """Whoever asks later whether an address was erased can be answered, by those with the key."""
    digest = hmac.digest(secret_key.encode(), f"erased {email.casefold()}".encode(), hashlib.sha256)
    changes = {"email": None, "email_hash": [digest.hex(), None]}
    await audit.record(conn, "erase", "user", user_id, changes, user_id=by, now=now)
