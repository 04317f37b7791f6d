"""E-mail addresses of accounts: verification and change, by links in e-mails."""

from aiohttp import web
from marshmallow import Schema

from bookstore.errors import BadCredentials, BadLink, Invalid
from bookstore.users import email_change
from web.api.field_types import Password, SingleLine
from web.api.operations import Fields, operation
from web.auth.credentials import confirm_password
from web.auth.login_throttle import throttle_email
from web.auth.sessions import current_user, own_session
from web.server.errors import TooManyAttempts
from web.server.keys import SETTINGS
from web.server.request_context import minimum_duration, now
from web.server.transactions import write


class NewEmailIn(Schema):
    email = SingleLine(254, required=True, metadata={"format": "email"})
    password = Password()


@operation(returns=(202, None), refusals=[TooManyAttempts])
async def send_email_verification(request: web.Request) -> None:
    """Send the caller an e-mail with a link that verifies their e-mail address.

    If the address is verified already, no e-mail is sent.
    """
    user = current_user(request)
    async with throttle_email(request, user.email):
        await write(request, email_change.request_verification, user, now=now())


@operation(returns=(204, None), refusals=[BadLink])
async def verify_email(request: web.Request, token: str) -> None:
    """Verify an e-mail address with the token from the link in an e-mail.

    A token works once.  The token of an address change also makes the new address the account's
    e-mail address.
    """
    own = await own_session(request)
    secret_key = request.config_dict[SETTINGS].secret_key
    await write(
        request, email_change.confirm, token, session_id=own, secret_key=secret_key, now=now()
    )


@operation(
    body=NewEmailIn,
    returns=(202, None),
    refusals=[BadCredentials, Invalid, TooManyAttempts],
)
async def change_email(request: web.Request, body: Fields) -> None:
    """Request a change of the caller's e-mail address.

    The change takes effect when the link sent to the new address is used.  The old address is
    notified.  The response does not reveal whether the new address already has an account.
    """
    user = await confirm_password(request, body["password"])
    async with minimum_duration(), throttle_email(request, user.email):
        await write(request, email_change.request_change, user, body["email"], now=now())
