"""E-mail addresses of accounts, confirmed and changed by links in letters."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database.engine import retry_transaction, transaction
from bookstore.errors import BadCredentials, BadLink, Invalid
from bookstore.users import email_change
from web.api.field_types import Line
from web.api.operations import Fields, operation
from web.auth.credentials import confirm_password
from web.auth.login_throttle import writing_to
from web.auth.sessions import me
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import no_sooner, now

TAGS = ["users"]


class NewEmailIn(Schema):
    email = Line(254, required=True, metadata={"format": "email"})
    password = fields.String(
        required=True, validate=validate.Length(max=1000), metadata={"format": "password"}
    )


@operation(returns=(202, None), tags=TAGS, refusals=[TooManyAttempts])
async def send_email_verification(request: web.Request) -> web.Response:
    """Send the caller a letter whose link confirms their address.

    Without a letter, when the address is confirmed already.
    """
    user = me(request)
    async with writing_to(request, user.email), transaction(request.config_dict[ENGINE]) as conn:
        await email_change.ask_to_verify(conn, user, now=now())
    return web.Response(status=202)


@operation(returns=(204, None), tags=TAGS, refusals=[BadLink])
async def verify_email(request: web.Request) -> web.Response:
    """Confirm an address with the end of the link in a letter, which works once.

    With the link of a change, the account has the new address from then on.
    """

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await email_change.confirm(
                conn,
                request.match_info["token"],
                secret_key=request.config_dict[SETTINGS].secret_key,
                now=now(),
            )

    await retry_transaction(work)
    return web.Response(status=204)


@operation(
    body=NewEmailIn,
    returns=(202, None),
    tags=TAGS,
    refusals=[BadCredentials, Invalid, TooManyAttempts],
)
async def change_email(request: web.Request, body: Fields) -> web.Response:
    """Ask for another address: it counts once the link sent there is used.

    The old address is told.  An address that has an account already is answered alike.
    """
    user = await confirm_password(request, body["password"])
    async with (
        no_sooner(),
        writing_to(request, user.email),
        transaction(request.config_dict[ENGINE]) as conn,
    ):
        await email_change.ask_to_change(conn, user, body["email"], now=now())
    return web.Response(status=202)
