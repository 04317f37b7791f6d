"""Requests for a password reset; API and page respond alike and after the same time."""

from aiohttp import web

from bookstore.users import password_reset
from web.auth.login_throttle import throttle_email, throttle_reset_request
from web.server.errors import TooManyAttempts
from web.server.request_context import minimum_duration, now
from web.server.transactions import write


async def request_reset(request: web.Request, email: str) -> None:
    """Send an e-mail with a reset link if the account exists.

    The response does not reveal whether the account exists or an e-mail was sent.

    Raises:
        TooManyAttempts: too many requests from this IP address, for any account.
    """
    async with minimum_duration(), throttle_reset_request(request):
        try:
            async with throttle_email(request, email):
                await write(request, password_reset.request_reset, email, now=now())
        except TooManyAttempts:
            # The account already got several e-mails in the last hour. Respond as if one was sent.
            return
