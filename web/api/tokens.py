"""Personal tokens, which programs show instead of a password."""

from datetime import UTC

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, PasswordNeeded, TooManyTokens
from bookstore.users import api_tokens
from bookstore.users.api_tokens import Scope
from web.api.field_types import Line, Moment
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]


class TokenIn(Schema):
    name = Line(100, required=True, metadata={"description": "What it is for."})
    expires_at = fields.AwareDateTime(
        load_default=None,
        allow_none=True,
        default_timezone=UTC,
        format="iso",
        metadata={"description": "Without it, the token works until it is ended."},
    )
    scopes = fields.List(
        fields.Enum(Scope, by_value=True),
        load_default=list(Scope),
        validate=validate.Length(1, len(Scope)),
        metadata={
            "description": "`read` to look, `write` to change, `staff` for what your role permits"
            " beyond a customer's; all of them when nothing is said."
        },
    )


class TokenOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.Enum(Scope, by_value=True), required=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True, allow_none=True)
    last_used_at = Moment(required=True, allow_none=True)


class NewTokenOut(TokenOut):
    token = fields.String(
        required=True, metadata={"description": "What to send; it is shown this once."}
    )


TokenPage = page_of(TokenOut)


@operation(query=PageQuery, returns=(200, TokenPage), tags=TAGS, refusals=[Invalid])
async def list_tokens(request: web.Request, query: Fields) -> web.Response:
    """Show the caller's tokens, the newest first: their names, not what they are."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await api_tokens.of_user(conn, me(request).id)
    page = pagination.of_whole(found, lambda it: (-it.id,), (int,), **query)
    return page_answer(TokenPage, request, Page([_shown(token) for token in page.items], page.next))


@operation(
    body=TokenIn,
    returns=(201, NewTokenOut),
    tags=TAGS,
    refusals=[Invalid, PasswordNeeded, TooManyTokens],
)
async def create_token(request: web.Request, body: Fields) -> web.Response:
    """Make a token for a program of the caller's; it is shown this once.

    Send it as `Authorization: Bearer bks_...`.  It manages neither passwords, second factors,
    sessions nor tokens.
    """

    async def work() -> tuple[api_tokens.ApiToken, str]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await api_tokens.make(conn, me(request).id, **body, now=now())

    made, token = await retry_transaction(work)
    return answer(
        NewTokenOut,
        {**_shown(made), "token": token},
        status=201,
        headers={"Cache-Control": "no-store"},
    )


@operation(returns=(204, None), tags=TAGS)
async def end_token(request: web.Request) -> web.Response:
    """Make one of the caller's tokens worthless, at once."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        await api_tokens.end(conn, me(request).id, int(request.match_info["token_id"]))
    return web.Response(status=204)


def _shown(token: api_tokens.ApiToken) -> Fields:
    names = [field for field in TokenOut().fields if field != "scopes"]
    return {"scopes": sorted(token.scopes), **{name: getattr(token, name) for name in names}}
