"""Password reset by a link in an e-mail."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import orders
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import users as table
from bookstore.errors import BadLink
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import accounts, passwords
from bookstore.users.accounts import User


async def request_reset(conn: AsyncConnection, email: str, *, now: datetime) -> None:
    """Send the account with this address an e-mail with a link for setting a new password.

    If there is no such account or it is disabled, nothing happens, and the caller cannot tell.
    """
    found = await accounts.credentials(conn, email)
    if found is None or found[0].disabled:
        return
    user = found[0]
    reset = Purpose.RESET
    await accounts.send_link(conn, "reset-password", reset, user.id, user.email, now=now)


async def reset(
    engine: AsyncEngine, token: str, password: str, *, secret_key: str, now: datetime
) -> User:
    """Set a new password, end all sessions and tokens, and notify the user.

    A second factor stays on, and only a recovery code replaces it, unless it was set up before the
    address was proven: then it may be that of somebody else.

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
            before = await accounts.get(conn, link.user_id)
            # The link also verifies the address, if it is still the account's address.
            values = {"password_hash": password_hash, "email_verified_at": now, "updated_at": now}
            same_email = (table.c.id == link.user_id) & (table.c.email == link.email)
            enabled = table.c.disabled_at.is_(None)
            changed = await conn.execute(update(table).where(same_email, enabled).values(values))
            if changed.rowcount == 0:
                raise BadLink
            await orders.claim(conn, link.user_id, now=now)
            if not before.email_verified:
                await accounts.end_access_before_proof(conn, link.user_id, now=now)
            await accounts.end_tokens(conn, link.user_id)
            user = await accounts.get(conn, link.user_id)
            await accounts.secure_after_new_password(conn, user, now=now)
            return user

    return await retry_transaction(work)
