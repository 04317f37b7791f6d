"""Password resets by e-mail."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.errors import BadLink, Invalid
from bookstore.users import password_reset
from web.api.field_types import NewPassword
from web.api.operations import Fields, operation
from web.auth import known_devices
from web.auth.login_throttle import clear_failures
from web.auth.password_reset import request_reset
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now


class ResetIn(Schema):
    email = fields.String(required=True, validate=validate.Length(max=1000))


class NewPasswordIn(Schema):
    password = NewPassword()


@operation(body=ResetIn, returns=(202, None), refusals=[TooManyAttempts])
async def request_password_reset(request: web.Request, body: Fields) -> None:
    """Send an e-mail with a link to set a new password.

    The response does not reveal whether an account with this e-mail address exists.
    """
    await request_reset(request, body["email"])


@operation(body=NewPasswordIn, returns=(204, None), refusals=[BadLink, Invalid])
async def reset_password(request: web.Request, token: str, body: Fields) -> web.Response:
    """Set a new password with the token from the link in an e-mail.

    A token works once.  All sessions of the account end; the caller is not signed in.
    """
    user = await password_reset.reset(
        request.config_dict[ENGINE],
        token,
        body["password"],
        secret_key=request.config_dict[SETTINGS].secret_key,
        now=now(),
    )
    await clear_failures(request, user.email)
    response = web.Response(status=204)
    await known_devices.remember(request, response, user.email)
    return response
