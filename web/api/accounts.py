"""Passwords, sessions, and the accounts of users for staff."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BadCredentials, Invalid
from bookstore.users import accounts, sessions
from bookstore.users.accounts import User
from bookstore.users.permissions import Role
from web.api.field_types import JsonBoolean, UtcDateTime
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.api.users import UserOut
from web.auth.login_throttle import throttle_password
from web.auth.sessions import current_user, session_id, sign_in
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]
STAFF = ["staff"]


class PasswordIn(Schema):
    current_password = fields.String(
        required=True, validate=validate.Length(max=1000), metadata={"format": "password"}
    )
    new_password = fields.String(
        required=True,
        validate=validate.Length(max=1000),
        metadata={"format": "password", "description": "8 to 128 characters."},
    )


class DeviceOut(Schema):
    id = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)
    last_seen_at = UtcDateTime(required=True)
    current = fields.Boolean(
        required=True, metadata={"description": "Whether the request was sent from this session."}
    )


class AccountOut(UserOut):
    disabled = fields.Boolean(required=True)


class AccountIn(Schema):
    role = fields.Enum(Role, by_value=True)
    disabled = JsonBoolean()


class AccountQuery(PageQuery):
    q = fields.String(
        load_default="",
        validate=validate.Length(max=200),
        metadata={"description": "A prefix of the e-mail address, or a part of the name."},
    )


AccountPage = page_of(AccountOut)
DevicePage = page_of(DeviceOut)


@operation(
    body=PasswordIn,
    returns=(204, None),
    tags=TAGS,
    refusals=[BadCredentials, Invalid, TooManyAttempts],
)
async def change_password(request: web.Request, body: Fields) -> web.Response:
    """Change the caller's password.

    All other sessions of the caller end.
    """
    user = current_user(request)
    try:
        async with throttle_password(request, user.email):
            await accounts.change_password(
                request.config_dict[ENGINE],
                user,
                current=body["current_password"],
                new=body["new_password"],
                session_id=await session_id(request),
                now=now(),
            )
    except Invalid as refusal:
        raise Invalid("new_password", str(refusal)) from None
    await sign_in(request, user)
    return web.Response(status=204)


@operation(query=PageQuery, returns=(200, DevicePage), tags=TAGS, refusals=[Invalid])
async def list_sessions(request: web.Request, query: Fields) -> web.Response:
    """List the caller's sessions, the most recently used first."""
    current_id = await session_id(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await sessions.of_user(conn, current_user(request).id, now=now(), here=current_id)
    page = pagination.paginate(
        found,
        lambda device: (-round(device.last_seen_at.timestamp() * 1e6), device.id),
        (int, str),
        **query,
    )
    return page_answer(DevicePage, request, page)


@operation(returns=(204, None), tags=TAGS)
async def end_session(request: web.Request) -> web.Response:
    """End one of the caller's sessions immediately."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        await sessions.end_device(conn, current_user(request).id, request.match_info["session"])
    return web.Response(status=204)


@operation(query=AccountQuery, returns=(200, AccountPage), tags=STAFF, refusals=[Invalid])
async def list_users(request: web.Request, query: Fields) -> web.Response:
    """List users, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await accounts.find(conn, **query)
    return page_answer(AccountPage, request, page)


@operation(returns=(200, AccountOut), tags=STAFF)
async def show_user(request: web.Request) -> web.Response:
    """Show a user."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return answer(AccountOut, await accounts.get(conn, _user_id(request)))


@operation(body=AccountIn, returns=(200, AccountOut), tags=STAFF, refusals=[Invalid])
async def change_user(request: web.Request, body: Fields) -> web.Response:
    """Change a user's role, or disable or enable the account.

    The change takes effect with the user's next request.  Callers cannot change their own
    account, and the last administrator can be neither demoted nor disabled.
    """
    by = current_user(request).id

    async def work() -> User:
        async with transaction(request.config_dict[ENGINE]) as conn:
            user = await accounts.get(conn, _user_id(request))
            if "role" in body:
                user = await accounts.change_role(conn, user.id, body["role"], by=by, now=now())
            if "disabled" in body:
                disabled = body["disabled"]
                user = await accounts.change_disabled(conn, user.id, disabled, by=by, now=now())
            return user

    return answer(AccountOut, await retry_transaction(work))


def _user_id(request: web.Request) -> int:
    return int(request.match_info["user_id"])
