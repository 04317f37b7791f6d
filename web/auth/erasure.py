"""Erasure of a user's personal data, shared by API, account page and back office."""

import asyncio

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.errors import EmailBeingSent
from bookstore.notifications import smtp
from bookstore.privacy import erasure
from web.auth.sessions import current_user
from web.server.keys import SETTINGS
from web.server.request_context import now
from web.server.transactions import write

#: Attempts and pause while an e-mail to the user is being sent. Sending takes less than a second
#: unless the mail server hangs.
_TRIES, _PAUSE_S = 5, 0.4


async def erase(request: web.Request, user_id: int) -> None:
    """Erase a user's personal data on behalf of the signed-in user.

    The caller must already be authorized: as staff with the permission, or as the user itself.

    Raises:
        NotFound, OrdersOpen, EmailBeingSent, Invalid: see `erasure.erase`.
    """
    settings = request.config_dict[SETTINGS]

    async def erase_all(conn: AsyncConnection) -> None:
        erased = await erasure.erase(
            conn,
            user_id,
            by=current_user(request).id,
            secret_key=settings.secret_key,
            invoices_kept_years=settings.invoices_kept_years,
            now=now(),
        )
        # Before the commit, so that a failure here rolls back and retries the whole erasure.
        await smtp.delete_emails(settings.smtp_url, erased.recipients)

    for _ in range(_TRIES - 1):
        try:
            return await write(request, erase_all)
        except EmailBeingSent:
            await asyncio.sleep(_PAUSE_S)
    return await write(request, erase_all)
