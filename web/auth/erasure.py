"""Erasing somebody, as the API, the account's page and the dashboard do it."""

import asyncio

from aiohttp import web

from bookstore.database.engine import retry_transaction, transaction
from bookstore.errors import EmailBeingSent
from bookstore.notifications import smtp
from bookstore.privacy import erasure
from web.auth.sessions import me
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now

#: How often we look, and how long we wait, for a letter that is being sent: a second is plenty
#: for one, unless its mail server hangs.
_TRIES, _PAUSE_S = 5, 0.4


async def erase(request: web.Request, user_id: int) -> None:
    """Erase a user's personal data for whoever is signed in: staff who may, or the user.

    Raises:
        NotFound, OrdersOpen, EmailBeingSent, Invalid: see `erasure.erase`.
    """
    settings = request.config_dict[SETTINGS]

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            erased = await erasure.erase(
                conn,
                user_id,
                by=me(request).id,
                secret_key=settings.secret_key,
                invoices_kept_years=settings.invoices_kept_years,
                now=now(),
            )
            # Before the commit: whatever stops us here is tried again with the whole.
            await smtp.shred(settings.smtp_url, erased.recipients)

    for _ in range(_TRIES - 1):
        try:
            return await retry_transaction(work)
        except EmailBeingSent:
            await asyncio.sleep(_PAUSE_S)
    return await retry_transaction(work)
