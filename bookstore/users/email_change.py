"""Verification and change of an account's e-mail address."""

from collections.abc import Callable
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


async def request_verification(conn: AsyncConnection, user: User, *, now: datetime) -> None:
    """Send the user an e-mail with a link that verifies the address; nothing if it is verified."""
    if user.email_verified:
        return
    verify = Purpose.VERIFY
    await accounts.send_link(conn, "verify-email", verify, user.id, user.email, now=now)


async def request_change(conn: AsyncConnection, user: User, email: str, *, now: datetime) -> None:
    """Send an e-mail with a confirmation link to the new address, and notify the old address.

    If the new address already has an account, only its owner learns so, by e-mail.

    Raises:
        Invalid: the new address is malformed, or is the current one.
    """
    email = accounts.normal_email(email)
    if email.casefold() == user.email.casefold():
        raise Invalid("email", "This is already your e-mail address.")
    owner_id = await conn.scalar(select(table.c.id).where(table.c.email_key == email.casefold()))
    await notifications.queue(
        conn, "email-changing", recipient=user.email, user_id=user.id, now=now
    )
    if owner_id is not None:
        await notifications.queue(conn, "email-known", recipient=email, user_id=owner_id, now=now)
        return
    await link_tokens.revoke(conn, user.id, Purpose.CHANGE)
    await accounts.send_link(conn, "confirm-email", Purpose.CHANGE, user.id, email, now=now)


async def confirm(
    conn: AsyncConnection,
    token: str,
    *,
    session_id: Callable[[int], str | None] = lambda user_id: None,
    secret_key: str,
    now: datetime,
) -> User:
    """Mark an address as verified by the token of its link; a change link also sets the address.

    The first proof of an address ends everything that was made before it, and a change ends the
    other sessions; `session_id` returns the session that a user's request belongs to and that
    remains.  The user also gets the orders that were placed as a guest with this address.

    Raises:
        BadLink: the link is invalid, used or expired.
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
        if not user.email_verified:
            await accounts.end_access_before_proof(conn, user.id, session_id(user.id), now=now)
        await orders.claim(conn, user.id, now=now)
        return await accounts.get(conn, user.id)
    values |= {"email": link.email, "email_key": link.email.casefold()}
    try:
        await conn.execute(update(table).where(table.c.id == user.id).values(values))
    except IntegrityError:  # Another account has this address by now.
        raise BadLink from None
    if user.email_verified:
        await accounts.end_other_access(conn, user.id, session_id(user.id), now=now)
    else:
        await accounts.end_access_before_proof(conn, user.id, session_id(user.id), now=now)
    # Links that were sent to the old address no longer prove ownership of this account.
    await link_tokens.revoke(conn, user.id)
    await notifications.queue(conn, "email-changed", recipient=user.email, user_id=user.id, now=now)
    await audit.record(
        conn, "change-email", "user", user.id, {"email": None}, user_id=user.id, now=now
    )
    await orders.claim(conn, user.id, now=now)
    return await accounts.get(conn, user.id)
