"""The second factor of the caller's account (TOTP)."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore import errors
from bookstore.errors import SecondFactorOn
from bookstore.users import two_factor
from bookstore.users.two_factor import Enrolment
from web.api.field_types import Password, described
from web.api.operations import Fields, operation
from web.api.schemas import Text
from web.auth.credentials import enable_second_factor, remove_second_factor
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.server.keys import SETTINGS
from web.server.request_context import now
from web.server.transactions import write


class EnrolmentOut(Schema):
    secret = described("The secret, to be typed into the authenticator (base32).", Text())
    uri = described("The `otpauth://` URI, to be shown as a QR code.", Text())


class CodeIn(Schema):
    code = described(
        "The current code of the authenticator.",
        fields.String(required=True, validate=validate.Length(max=100)),
    )


class RecoveryCodesOut(Schema):
    recovery_codes = described(
        "Each replaces a code once.  They are shown only in this response.",
        fields.List(fields.String(), required=True),
    )


class TotpRemovalIn(Schema):
    password = Password()


@operation(returns=(200, EnrolmentOut), refusals=[errors.PasswordNeeded, SecondFactorOn])
async def begin_totp(request: web.Request) -> Enrolment:
    """Begin to set up a second factor (TOTP, RFC 6238).

    To enable it, send the first code with `PUT`.
    """
    settings = request.config_dict[SETTINGS]
    return await write(
        request,
        two_factor.begin,
        current_user(request).id,
        issuer=settings.store_name,
        secret_key=settings.secret_key,
        now=now(),
    )


@operation(
    body=CodeIn,
    returns=(200, RecoveryCodesOut),
    refusals=[errors.BadCode, errors.SecondFactorNotBegun, SecondFactorOn, TooManyAttempts],
)
async def enable_totp(request: web.Request, body: Fields) -> Fields:
    """Enable the second factor.

    Signing in then requires a code.  All other sessions of the caller end.
    """
    return {"recovery_codes": await enable_second_factor(request, body["code"])}


@operation(
    body=TotpRemovalIn, returns=(204, None), refusals=[errors.BadCredentials, TooManyAttempts]
)
async def remove_totp(request: web.Request, body: Fields) -> None:
    """Disable the second factor.

    All other sessions of the caller end.
    """
    await remove_second_factor(request, body["password"])
