"""E-mail addresses of accounts: confirmed, and changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, notifications, orders
from bookstore.database.tables import users as table
from bookstore.errors import BadLink, Invalid
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import accounts
from bookstore.users.accounts import User


async def ask_to_verify(conn: AsyncConnection, user: User, *, now: datetime) -> None:
    """Send the user a letter whose link confirms their address, unless it is confirmed."""
    if user.email_verified:
        return
    await _write(conn, "verify-email", Purpose.VERIFY, user.id, user.email, now=now)


async def ask_to_change(conn: AsyncConnection, user: User, email: str, *, now: datetime) -> None:
    """Send a letter to the new address, whose link makes the change, and tell the old one.

    Whether the new address has an account already is told to its owner only.

    Raises:
        Invalid: the address is none, or the one that the user has.
    """
    email = accounts.normal_email(email)
    if email.casefold() == user.email.casefold():
        raise Invalid("email", "This is your address already.")
    owner_id = await conn.scalar(select(table.c.id).where(table.c.email_key == email.casefold()))
    await notifications.queue(
        conn, "email-changing", recipient=user.email, user_id=user.id, now=now
    )
    if owner_id is not None:
        await notifications.queue(conn, "email-known", recipient=email, user_id=owner_id, now=now)
        return
    await link_tokens.withdraw(conn, user.id, Purpose.CHANGE)
    await _write(conn, "confirm-email", Purpose.CHANGE, user.id, email, now=now)


async def confirm(conn: AsyncConnection, token: str, *, secret_key: str, now: datetime) -> User:
    """Note that an address is its user's; with the link of a change they have it from now on.

    What guests have ordered with this address is the user's too.

    Raises:
        BadLink: the link does not work (any more).
    """
    purposes = Purpose.VERIFY, Purpose.CHANGE
    link = await link_tokens.redeem(conn, token, *purposes, secret_key=secret_key, now=now)
    user = await accounts.get(conn, link.user_id)
    if user.disabled:
        raise BadLink
    values: dict[str, Any] = {"email_verified_at": now, "updated_at": now}
    if link.purpose is Purpose.VERIFY:
        own = (table.c.id == user.id) & (table.c.email == link.email)
        if (await conn.execute(update(table).where(own).values(values))).rowcount == 0:
            raise BadLink
        await orders.claim(conn, user.id, now=now)
        return await accounts.get(conn, user.id)
    values |= {"email": link.email, "email_key": link.email.casefold()}
    try:
        await conn.execute(update(table).where(table.c.id == user.id).values(values))
    except IntegrityError:  # Somebody has registered with it since.
        raise BadLink from None
    # What was sent to the old address proves nothing about this account any more.
    await link_tokens.withdraw(conn, user.id)
    await notifications.queue(conn, "email-changed", recipient=user.email, user_id=user.id, now=now)
    await audit.record(
        conn, "change-email", "user", user.id, {"email": None}, user_id=user.id, now=now
    )
    await orders.claim(conn, user.id, now=now)
    return await accounts.get(conn, user.id)


async def _write(
    conn: AsyncConnection, kind: str, purpose: Purpose, user_id: int, email: str, *, now: datetime
) -> None:
    letter = await notifications.queue(conn, kind, recipient=email, user_id=user_id, now=now)
    await link_tokens.make(
        conn, purpose, user_id=user_id, notification_id=letter, email=email, now=now
    )
