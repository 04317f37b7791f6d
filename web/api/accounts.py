"""Passwords, sessions, and the accounts of users for staff."""

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import pagination
from bookstore.database.pagination import Page
from bookstore.errors import BadCredentials, Invalid
from bookstore.users import accounts, sessions
from bookstore.users.accounts import User
from bookstore.users.permissions import Role
from bookstore.users.sessions import Device
from web.api.field_types import JsonBoolean, NewPassword, Password, UtcDateTime, described
from web.api.operations import Fields, operation
from web.api.schemas import PageQuery, page_of
from web.api.users import UserOut
from web.auth.login_throttle import throttle_password
from web.auth.sessions import current_user, session_id, sign_in
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now
from web.server.transactions import read, write


class PasswordIn(Schema):
    current_password = Password()
    new_password = NewPassword()


class DeviceOut(Schema):
    id = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)
    last_seen_at = UtcDateTime(required=True)
    current = described(
        "Whether the request was sent from this session.", fields.Boolean(required=True)
    )


class AccountOut(UserOut):
    disabled = fields.Boolean(required=True)


class AccountIn(Schema):
    role = fields.Enum(Role, by_value=True)
    disabled = JsonBoolean()


class AccountQuery(PageQuery):
    q = described(
        "A prefix of the e-mail address, or a part of the name.",
        fields.String(load_default="", validate=validate.Length(max=200)),
    )


AccountPage = page_of(AccountOut)
DevicePage = page_of(DeviceOut)


@operation(
    body=PasswordIn,
    returns=(204, None),
    refusals=[BadCredentials, Invalid, TooManyAttempts],
)
async def change_password(request: web.Request, body: Fields) -> None:
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


@operation(query=PageQuery, returns=(200, DevicePage))
async def list_sessions(request: web.Request, query: Fields) -> Page[Device]:
    """List the caller's sessions, the most recently used first."""
    current_id = await session_id(request)
    user_id = current_user(request).id
    found = await read(request, sessions.of_user, user_id, now=now(), here=current_id)
    return pagination.paginate(
        found,
        lambda device: (-round(device.last_seen_at.timestamp() * 1e6), device.id),
        (int, str),
        **query,
    )


@operation(returns=(204, None))
async def end_session(request: web.Request, session: str) -> None:
    """End one of the caller's sessions immediately."""
    await write(request, sessions.end_device, current_user(request).id, session)


@operation(query=AccountQuery, returns=(200, AccountPage))
async def list_users(request: web.Request, query: Fields) -> Page[User]:
    """List users, the newest first."""
    return await read(request, accounts.find, **query)


@operation(returns=(200, AccountOut))
async def show_user(request: web.Request, user_id: int) -> User:
    """Show a user."""
    return await read(request, accounts.get, user_id)


@operation(body=AccountIn, returns=(200, AccountOut), refusals=[Invalid])
async def change_user(request: web.Request, user_id: int, body: Fields) -> User:
    """Change a user's role, or disable or enable the account.

    The change takes effect with the user's next request.  Callers cannot change their own
    account, and the last administrator can be neither demoted nor disabled.
    """
    by = current_user(request).id

    async def change(conn: AsyncConnection) -> User:
        user = await accounts.get(conn, user_id)
        if "role" in body:
            user = await accounts.change_role(conn, user.id, body["role"], by=by, now=now())
        if "disabled" in body:
            disabled = body["disabled"]
            user = await accounts.change_disabled(conn, user.id, disabled, by=by, now=now())
        return user

    return await write(request, change)
