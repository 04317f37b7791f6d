"""Registration, sign-in and the profile of the caller."""

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.errors import BadCode, BadCredentials, CodeRequired, EmailTaken, Invalid
from bookstore.idempotency import user_owner
from bookstore.users import accounts
from bookstore.users.accounts import User
from bookstore.users.permissions import Role
from web.api.field_types import NewPassword, Password, SingleLine, UtcDateTime, described
from web.api.idempotency import REPLAYED, is_replay, key_of
from web.api.operations import Answer, Fields, operation
from web.auth import guest_cart, sessions
from web.auth.credentials import check
from web.auth.login_throttle import throttle_registration
from web.auth.sessions import current_user
from web.server import languages
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, USER
from web.server.request_context import now
from web.server.transactions import write


class UserOut(Schema):
    id = fields.Integer(required=True)
    email = fields.Email(required=True)
    name = fields.String(required=True)
    role = fields.Enum(Role, by_value=True, required=True)
    email_verified = fields.Boolean(required=True)
    created_at = UtcDateTime(required=True)


class RegistrationIn(Schema):
    email = SingleLine(254, required=True, metadata={"format": "email"})
    password = NewPassword()
    name = SingleLine(200, required=True)


class CredentialsIn(Schema):
    email = fields.String(required=True, validate=validate.Length(max=1000))
    password = Password()
    code = described(
        "A code of the second factor, or a recovery code.  Required if the account has a second"
        " factor.",
        fields.String(load_default=None, allow_none=True, validate=validate.Length(max=100)),
    )


class ProfileIn(Schema):
    name = SingleLine(200, required=True)


class SessionOut(Schema):
    user = fields.Nested(UserOut, required=True, allow_none=True)


@operation(
    body=RegistrationIn,
    returns=(201, UserOut),
    refusals=[EmailTaken, Invalid, TooManyAttempts],
    idempotent=True,
)
async def register(request: web.Request, body: Fields) -> Answer:
    """Create an account and sign in to it.

    E-mails to the account are in the language of `Accept-Language`, if the store supports it.
    """
    headers = {"Location": "/api/v1/users/me"}

    async def claim_key(conn: AsyncConnection, user: User) -> None:
        await is_replay(request, conn, user_owner(user.id), _without_password(body), user.id)

    try:
        async with throttle_registration(request):
            user = await accounts.sign_up(
                request.config_dict[ENGINE],
                **body,
                language=languages.email_language(request),
                and_then=claim_key,
                now=now(),
            )
    except EmailTaken:
        user = await _registered_before(request, body)
        headers |= REPLAYED
    await guest_cart.sign_in(request, user)
    return Answer(user, headers)


async def _registered_before(request: web.Request, body: Fields) -> User:
    """The user whom an earlier request with the same key and body registered.

    Raises:
        EmailTaken: there is none, or the password is another one.
    """
    if key_of(request) is None:
        raise EmailTaken
    try:
        user = await check(request, body["email"], body["password"])
    except (BadCredentials, CodeRequired):
        raise EmailTaken from None
    content = _without_password(body)

    async def find_key(conn: AsyncConnection) -> None:
        if not await is_replay(request, conn, user_owner(user.id), content, user.id):
            raise EmailTaken  # Which also removes the key.

    await write(request, find_key)
    return user


def _without_password(body: Fields) -> Fields:
    """What is stored of the body, as a hash: a fast hash of a password could be reversed."""
    return {name: value for name, value in body.items() if name != "password"}


@operation(
    body=CredentialsIn,
    returns=(200, UserOut),
    refusals=[BadCode, BadCredentials, CodeRequired, TooManyAttempts],
)
async def sign_in(request: web.Request, body: Fields) -> User:
    """Sign in; the response sets the session cookie.

    The response is the same for an unknown e-mail address and a wrong password.  Accounts with a
    second factor require `code`.  Items in the guest's cart are moved to the user's cart.
    """
    user = await check(request, **body)
    await guest_cart.sign_in(request, user)
    return user


@operation(returns=(200, SessionOut))
async def show_session(request: web.Request) -> Fields:
    """Show the user who is signed in.

    `user` is null for a guest.
    """
    return {"user": request[USER]}


@operation(returns=(204, None))
async def sign_out(request: web.Request) -> Answer:
    """Sign out.

    The request succeeds without a session.
    """
    await sessions.sign_out(request)
    return Answer(None, {"Clear-Site-Data": '"cache", "storage"'})


@operation(returns=(200, UserOut))
async def show_profile(request: web.Request) -> User:
    """Show the caller's profile."""
    return current_user(request)


@operation(body=ProfileIn, returns=(200, UserOut))
async def change_profile(request: web.Request, body: Fields) -> User:
    """Change the caller's profile."""
    user_id = current_user(request).id
    return await write(request, accounts.change_name, user_id, body["name"], now=now())
