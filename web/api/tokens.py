"""Personal API tokens, which programs use instead of a password."""

from dataclasses import asdict
from datetime import UTC
from typing import Any

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database import pagination
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, PasswordNeeded, TooManyTokens
from bookstore.users import api_tokens
from bookstore.users.api_tokens import USUAL_SCOPES, ApiToken, Scope
from web.api.field_types import SingleLine, UtcDateTime, described
from web.api.operations import Fields, operation
from web.api.schemas import PageQuery, Text, page_of
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write


class TokenIn(Schema):
    name = described("A name that describes the use of the token.", SingleLine(100, required=True))
    expires_at = described(
        "At most a year from now.  Without it, the token is valid for 90 days.",
        fields.AwareDateTime(
            load_default=None, allow_none=True, default_timezone=UTC, format="iso"
        ),
    )
    scopes = described(
        "`read`: safe requests.  `write`: requests that change something.  `staff`: the additional"
        " permissions of your role.  `elevated`: actions for which the dashboard asks for the"
        " password, such as changing roles; such a token is valid for at most a day.  The default"
        " is all but `elevated`.",
        fields.List(
            fields.Enum(Scope, by_value=True),
            load_default=list(USUAL_SCOPES),
            validate=validate.Length(1, len(Scope)),
        ),
    )


class _SortedList(fields.List[Scope]):
    """A set, as a sorted list."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> list[Any] | None:
        return super()._serialize(sorted(value), attr, obj, **kwargs)


class TokenOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    scopes = _SortedList(fields.Enum(Scope, by_value=True), required=True)
    created_at = UtcDateTime(required=True)
    expires_at = UtcDateTime(required=True, allow_none=True)
    last_used_at = UtcDateTime(required=True, allow_none=True)


class NewTokenOut(TokenOut):
    token = described("The token; it is shown only in this response.", Text())


TokenPage = page_of(TokenOut)


@operation(query=PageQuery, returns=(200, TokenPage))
async def list_tokens(request: web.Request, query: Fields) -> Page[ApiToken]:
    """List the caller's tokens, the newest first.

    The response does not contain the secret tokens themselves.
    """
    found = await read(request, api_tokens.of_user, current_user(request).id)
    return pagination.paginate(found, lambda token: (-token.id,), (int,), **query)


@operation(
    body=TokenIn,
    returns=(201, NewTokenOut),
    refusals=[Invalid, PasswordNeeded, TooManyTokens],
)
async def create_token(request: web.Request, body: Fields) -> Fields:
    """Create a personal token.

    The token is shown only in this response.  Send it as `Authorization: Bearer bks_...`.  A token
    does not permit managing passwords, second factors, sessions or tokens.
    """
    user_id = current_user(request).id
    created, token = await write(request, api_tokens.make, user_id, **body, now=now())
    return asdict(created) | {"token": token}


@operation(returns=(204, None))
async def end_token(request: web.Request, token_id: int) -> None:
    """Delete one of the caller's tokens; it becomes invalid immediately."""
    await write(request, api_tokens.end, current_user(request).id, token_id)
