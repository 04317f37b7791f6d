"""Password reset by a link in an e-mail."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import notifications, orders
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import users as table
from bookstore.errors import BadLink
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import accounts, passwords, sessions
from bookstore.users.accounts import User


async def request_reset(conn: AsyncConnection, email: str, *, now: datetime) -> None:
    """Send the account with this address an e-mail with a link for setting a new password.

    If there is no such account or it is disabled, nothing happens, and the caller cannot tell.
    """
    found = await accounts.credentials(conn, email)
    if found is None or found[0].disabled:
        return
    user = found[0]
    notification_id = await notifications.queue(
        conn, "reset-password", recipient=user.email, user_id=user.id, now=now
    )
    await link_tokens.make(
        conn,
        Purpose.RESET,
        user_id=user.id,
        notification_id=notification_id,
        email=user.email,
        now=now,
    )


async def reset(
    engine: AsyncEngine, token: str, password: str, *, secret_key: str, now: datetime
) -> User:
    """Set a new password, end all sessions and notify the user.  The second factor stays on.

    Raises:
        BadLink: the link is invalid, used or expired.
        Invalid: the password breaks the rule; the link stays valid.
    """
    async with reading(engine) as conn:
        found = await link_tokens.find(conn, token, Purpose.RESET, secret_key=secret_key, now=now)
    passwords.check_rule(password, found.email)
    # Hash before the transaction, so that no lock is held meanwhile.
    password_hash = await passwords.hash(password)

    async def work() -> User:
        async with transaction(engine) as conn:
            link = await link_tokens.redeem(
                conn, token, Purpose.RESET, secret_key=secret_key, now=now
            )
            # The link also verifies the address, if it is still the account's address.
            changed = await conn.execute(
                update(table)
                .where(
                    table.c.id == link.user_id,
                    table.c.email == link.email,
                    table.c.disabled_at.is_(None),
                )
                .values(password_hash=password_hash, email_verified_at=now, updated_at=now)
            )
            if changed.rowcount == 0:
                raise BadLink
            await orders.claim(conn, link.user_id, now=now)
            user = await accounts.get(conn, link.user_id)
            await sessions.end_all(conn, user.id)
            await link_tokens.revoke(conn, user.id, Purpose.RESET, Purpose.CHANGE)
            await notifications.queue(
                conn, "password-changed", recipient=user.email, user_id=user.id, now=now
            )
            return user

    return await retry_transaction(work)
