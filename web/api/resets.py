"""Forgotten passwords."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.errors import BadLink, Invalid
from bookstore.users import password_reset
from web.api.operations import Fields, operation
from web.auth import known_devices
from web.auth.login_throttle import forgive
from web.auth.password_reset import ask
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
async def ask_for_password_reset(request: web.Request, body: Fields) -> web.Response:
    """Send a letter whose link sets a new password.

    Whether there is an account with this address is told by the letter only.
    """
    await ask(request, body["email"])
    return web.Response(status=202)


@operation(body=NewPasswordIn, returns=(204, None), tags=TAGS, refusals=[BadLink, Invalid])
async def reset_password(request: web.Request, body: Fields) -> web.Response:
    """Set a new password with the end of the link in a letter, which works once.

    All of the account's sessions end, and nobody is signed in by it.
    """
    user = await password_reset.reset(
        request.config_dict[ENGINE],
        request.match_info["token"],
        body["password"],
        secret_key=request.config_dict[SETTINGS].secret_key,
        now=now(),
    )
    await forgive(request, user.email)
    response = web.Response(status=204)
    known_devices.remember(request, response, user.email)
    return response
