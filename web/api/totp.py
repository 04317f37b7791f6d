"""The second factor of the caller's account (TOTP)."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database.engine import transaction
from bookstore.errors import (
    BadCode,
    BadCredentials,
    PasswordNeeded,
    SecondFactorNotBegun,
    SecondFactorOn,
)
from bookstore.users import two_factor
from web.api.operations import Fields, answer, operation
from web.auth.credentials import enable_second_factor, remove_second_factor
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now

TAGS = ["users"]
NO_STORE = {"Cache-Control": "no-store"}


class EnrolmentOut(Schema):
    secret = fields.String(
        required=True,
        metadata={"description": "The secret, to be typed into the authenticator (base32)."},
    )
    uri = fields.String(
        required=True, metadata={"description": "The `otpauth://` URI, to be shown as a QR code."}
    )


class CodeIn(Schema):
    code = fields.String(
        required=True,
        validate=validate.Length(max=100),
        metadata={"description": "The current code of the authenticator."},
    )


class RecoveryCodesOut(Schema):
    recovery_codes = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "Each replaces a code once.  They are shown only in this response."
        },
    )


class TotpRemovalIn(Schema):
    password = fields.String(
        required=True, validate=validate.Length(max=1000), metadata={"format": "password"}
    )


@operation(returns=(200, EnrolmentOut), tags=TAGS, refusals=[PasswordNeeded, SecondFactorOn])
async def begin_totp(request: web.Request) -> web.Response:
    """Begin to set up a second factor (TOTP, RFC 6238).

    To enable it, send the first code with `PUT`.
    """
    settings = request.config_dict[SETTINGS]
    async with transaction(request.config_dict[ENGINE]) as conn:
        enrolment = await two_factor.begin(
            conn,
            current_user(request).id,
            issuer=settings.store_name,
            secret_key=settings.secret_key,
            now=now(),
        )
    return answer(EnrolmentOut, enrolment, headers=NO_STORE)


@operation(
    body=CodeIn,
    returns=(200, RecoveryCodesOut),
    tags=TAGS,
    refusals=[BadCode, SecondFactorNotBegun, SecondFactorOn, TooManyAttempts],
)
async def enable_totp(request: web.Request, body: Fields) -> web.Response:
    """Enable the second factor.

    Signing in then requires a code.  All other sessions of the caller end.
    """
    codes = await enable_second_factor(request, body["code"])
    return answer(RecoveryCodesOut, {"recovery_codes": codes}, headers=NO_STORE)


@operation(
    body=TotpRemovalIn, returns=(204, None), tags=TAGS, refusals=[BadCredentials, TooManyAttempts]
)
async def remove_totp(request: web.Request, body: Fields) -> web.Response:
    """Disable the second factor.

    All other sessions of the caller end.
    """
    await remove_second_factor(request, body["password"])
    return web.Response(status=204)
