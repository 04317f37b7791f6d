"""Password resets by e-mail."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.errors import BadLink, Invalid
from bookstore.users import password_reset
from web.api.operations import Fields, operation
from web.auth import known_devices
from web.auth.login_throttle import clear_failures
from web.auth.password_reset import request_reset
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now

TAGS = ["users"]


class ResetIn(Schema):
    email = fields.String(required=True, validate=validate.Length(max=1000))


class NewPasswordIn(Schema):
    password = fields.String(
        required=True,
        validate=validate.Length(max=1000),
        metadata={"format": "password", "description": "8 to 128 characters."},
    )


@operation(body=ResetIn, returns=(202, None), tags=TAGS, refusals=[TooManyAttempts])
async def request_password_reset(request: web.Request, body: Fields) -> web.Response:
    """Send an e-mail with a link to set a new password.

    The response does not reveal whether an account with this e-mail address exists.
    """
    await request_reset(request, body["email"])
    return web.Response(status=202)


@operation(body=NewPasswordIn, returns=(204, None), tags=TAGS, refusals=[BadLink, Invalid])
async def reset_password(request: web.Request, body: Fields) -> web.Response:
    """Set a new password with the token from the link in an e-mail.

    A token works once.  All sessions of the account end; the caller is not signed in.
    """
    user = await password_reset.reset(
        request.config_dict[ENGINE],
        request.match_info["token"],
        body["password"],
        secret_key=request.config_dict[SETTINGS].secret_key,
        now=now(),
    )
    await clear_failures(request, user.email)
    response = web.Response(status=204)
    known_devices.remember(request, response, user.email)
    return response
