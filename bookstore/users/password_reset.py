"""Forgotten passwords: a letter with a link, and a new password."""

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


async def ask(conn: AsyncConnection, email: str, *, now: datetime) -> None:
    """Send the account with this address a letter whose link sets a new password.

    Without such an account, or when it is shut out, nothing happens; nobody is told.
    """
    found = await accounts.credentials(conn, email)
    if found is None or found[0].disabled:
        return
    user = found[0]
    letter = await notifications.queue(
        conn, "reset-password", recipient=user.email, user_id=user.id, now=now
    )
    await link_tokens.make(
        conn,
        Purpose.RESET,
        user_id=user.id,
        notification_id=letter,
        email=user.email,
        now=now,
    )


async def reset(
    engine: AsyncEngine, token: str, password: str, *, secret_key: str, now: datetime
) -> User:
    """Set a new password; all sessions end, and the owner is told.  The second factor stays.

    Raises:
        BadLink: the link does not work (any more).
        Invalid: the password breaks the rule; the link works on.
    """
    async with reading(engine) as conn:
        found = await link_tokens.look(conn, token, Purpose.RESET, secret_key=secret_key, now=now)
    passwords.check_rule(password, found.email)
    # Before the transaction: nobody waits for a lock while we hash.
    password_hash = await passwords.hash(password)

    async def work() -> User:
        async with transaction(engine) as conn:
            link = await link_tokens.redeem(
                conn, token, Purpose.RESET, secret_key=secret_key, now=now
            )
            # The link has proven the address as well, as long as it still is the account's.
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
            await link_tokens.withdraw(conn, user.id, Purpose.RESET, Purpose.CHANGE)
            await notifications.queue(
                conn, "password-changed", recipient=user.email, user_id=user.id, now=now
            )
            return user

    return await retry_transaction(work)
