"""Personal API tokens, which programs use instead of a password."""

from datetime import UTC

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, PasswordNeeded, TooManyTokens
from bookstore.users import api_tokens
from bookstore.users.api_tokens import Scope
from web.api.field_types import SingleLine, UtcDateTime
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]


class TokenIn(Schema):
    name = SingleLine(
        100, required=True, metadata={"description": "A name that describes the use of the token."}
    )
    expires_at = fields.AwareDateTime(
        load_default=None,
        allow_none=True,
        default_timezone=UTC,
        format="iso",
        metadata={"description": "Without it, the token is valid until it is deleted."},
    )
    scopes = fields.List(
        fields.Enum(Scope, by_value=True),
        load_default=list(Scope),
        validate=validate.Length(1, len(Scope)),
        metadata={
            "description": "`read`: safe requests.  `write`: requests that change something."
            "  `staff`: the additional permissions of your role.  The default is all scopes."
        },
    )


class TokenOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.Enum(Scope, by_value=True), required=True)
    created_at = UtcDateTime(required=True)
    expires_at = UtcDateTime(required=True, allow_none=True)
    last_used_at = UtcDateTime(required=True, allow_none=True)


class NewTokenOut(TokenOut):
    token = fields.String(
        required=True, metadata={"description": "The token; it is shown only in this response."}
    )


TokenPage = page_of(TokenOut)


@operation(query=PageQuery, returns=(200, TokenPage), tags=TAGS, refusals=[Invalid])
async def list_tokens(request: web.Request, query: Fields) -> web.Response:
    """List the caller's tokens, the newest first.

    The response does not contain the secret tokens themselves.
    """
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await api_tokens.of_user(conn, current_user(request).id)
    page = pagination.paginate(found, lambda token: (-token.id,), (int,), **query)
    return page_answer(
        TokenPage, request, Page([_token_content(token) for token in page.items], page.next)
    )


@operation(
    body=TokenIn,
    returns=(201, NewTokenOut),
    tags=TAGS,
    refusals=[Invalid, PasswordNeeded, TooManyTokens],
)
async def create_token(request: web.Request, body: Fields) -> web.Response:
    """Create a personal token.

    The token is shown only in this response.  Send it as `Authorization: Bearer bks_...`.  A token
    does not permit managing passwords, second factors, sessions or tokens.
    """

    async def work() -> tuple[api_tokens.ApiToken, str]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await api_tokens.make(conn, current_user(request).id, **body, now=now())

    created, token = await retry_transaction(work)
    return answer(
        NewTokenOut,
        {**_token_content(created), "token": token},
        status=201,
        headers={"Cache-Control": "no-store"},
    )


@operation(returns=(204, None), tags=TAGS)
async def end_token(request: web.Request) -> web.Response:
    """Delete one of the caller's tokens; it becomes invalid immediately."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        await api_tokens.end(conn, current_user(request).id, int(request.match_info["token_id"]))
    return web.Response(status=204)


def _token_content(token: api_tokens.ApiToken) -> Fields:
    names = [field for field in TokenOut().fields if field != "scopes"]
    return {"scopes": sorted(token.scopes), **{name: getattr(token, name) for name in names}}
