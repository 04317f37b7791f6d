"""Asking for a new password, by program or by page: both ways answer alike, and as late."""

from aiohttp import web

from bookstore.database.engine import retry_transaction, transaction
from bookstore.users import password_reset
from web.auth.login_throttle import asking_for_reset, writing_to
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import no_sooner, now


async def ask(request: web.Request, email: str) -> None:
    """Send a letter whose link sets a new password, if there is such an account.

    Neither what is found nor how many letters were sent shows.

    Raises:
        TooManyAttempts: too many asked from this address; whatever they asked for.
    """

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await password_reset.ask(conn, email, now=now())

    async with no_sooner(), asking_for_reset(request):
        try:
            async with writing_to(request, email):
                await retry_transaction(work)
        except TooManyAttempts:
            # Nobody fills somebody else's mailbox; they have a letter of a moment ago.
            return
