"""The API's description (OpenAPI 3.1), read off the router and what its operations declare."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

import bookstore
from bookstore.errors import BookstoreError, NotAllowed, NotFound, NotSignedIn
from bookstore.permissions import GRANTS, Permission
from web.access import Access, Open
from web.api.fields import Moment
from web.api.operations import Operation, operation_of
from web.keys import ACCESS, SETTINGS
from web.problems import STATUS
from web.refusals import CrossSiteRequest
from web.sessions import cookie_name

PROBLEM = "application/problem+json"
#: Answers that any operation may give, whatever it does.
EVERYWHERE = {
    500: ("internal-error", "Something is wrong on our side."),
    503: ("unavailable", "The database is away; `Retry-After` says when to try again."),
}
_PARAMETER = re.compile(r"\{(\w+)\}")

_INTRODUCTION = """\
JSON in UTF-8.  Unknown fields and parameters are refused.  Times are RFC 3339 in UTC, money is
integer cents with its `currency` beside it, ISBNs have 13 digits.

Whatever is refused is answered with a problem document (RFC 9457); its `code` never changes.

Lists come in pages: `next` is the `cursor` of the page after, and null on the last; the `Link`
header has the same as an address.  Resources carry an `ETag`, and `If-None-Match` is honoured.

Sign in with `POST /api/v1/session`; the answer sets a cookie.  Unsafe requests that a browser
sends from another site are refused.

Send `X-Request-ID` to find a request in our logs again; without it we make one up.
"""
_TAGS = {
    "users": "Accounts, and who is signed in.",
    "books": "The catalogue: books, authors, categories.",
    "cart": "What a visitor is about to order; guests have carts too.",
    "orders": "Orders and their progress.",
    "notifications": "What we have told a customer.",
    "staff": "For people who work here.",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "What went wrong (RFC 9457).  Some codes bring facts of their own.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "What a program goes by; it never changes."},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "description": "Where the input is wrong; only with status 422.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON Pointer (RFC 6901)."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "type": "/api/docs#out-of-stock",
        "title": "Out of stock",
        "status": 409,
        "detail": "Only 2 of this book are left.",
        "code": "out-of-stock",
        "request_id": "7f3a9c51d2e84b06",
        "book_id": 17,
        "stock": 2,
    },
}


class Described(NamedTuple):
    """An operation at its address."""

    method: str
    path: str
    operation: Operation
    access: Access


def operations(app: web.Application) -> Iterator[Described]:
    """Every operation that the router knows."""
    for route in app.router.routes():
        operation = operation_of(route.handler)
        if operation is not None and route.method != "HEAD" and route.resource is not None:
            yield Described(route.method, route.resource.canonical, operation, app[ACCESS][route])


def describe(app: web.Application) -> dict[str, Any]:
    """The whole document."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="Bookstore",
        version=bookstore.__version__,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={
            "summary": "Catalogue, carts, orders and their progress.",
            "description": _INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    plugin.map_to_openapi_type(Moment, "string", "date-time")
    cookie = {"type": "apiKey", "in": "cookie", "name": cookie_name(app[SETTINGS])}
    spec.components.security_scheme("session", cookie)
    spec.components.schema("Problem", _PROBLEM_SCHEMA)
    for described in operations(app):
        content = _operation(described)
        spec.path(path=described.path, operations={described.method.lower(): content})
    return spec.to_dict()


def _operation(described: Described) -> dict[str, Any]:
    operation = described.operation
    content: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": list(operation.tags),
        "parameters": [
            *_path_parameters(described.path),
            {"in": "query", "schema": operation.query},
            *(
                {"in": "header", "name": name, "schema": {"type": "string"}, "description": text}
                for name, text in operation.headers.items()
            ),
        ],
        "responses": {str(operation.status): _success(described), **_refusals(described)},
        "security": [{"session": []}]
        if described.access is not Open.ANYONE
        else [{}, {"session": []}],
    }
    texts = [operation.description, _who(described.access)]
    content["description"] = "\n\n".join(text for text in texts if text)
    if operation.body is not None:
        content["requestBody"] = {
            "required": any(field.required for field in operation.body().fields.values()),
            "content": {"application/json": {"schema": operation.body}},
        }
    return content


def _success(described: Described) -> dict[str, Any]:
    operation = described.operation
    response: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        response["content"] = {"application/json": {"schema": operation.answer}}
        response["headers"] = {"ETag": {"schema": {"type": "string"}}}
    elif operation.content_type is not None:
        response["content"] = {operation.content_type: {"schema": {"type": "string"}}}
    return response


def _refusals(described: Described) -> dict[str, Any]:
    """One response for each status, naming the codes that come with it."""
    codes: dict[int, list[str]] = {}
    for refusal in _may_refuse(described):
        codes.setdefault(STATUS[refusal], []).append(f"`{refusal.code}`: {meaning(refusal)}")
    for status, (code, text) in EVERYWHERE.items():
        codes.setdefault(status, []).append(f"`{code}`: {text}")
    if described.operation.body is not None:
        codes.setdefault(413, []).append("`too-large`: More than we take at once.")
    responses: dict[str, Any] = {
        str(status): {
            "description": "\n".join(dict.fromkeys(texts)),
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, texts in sorted(codes.items())
    }
    if described.method == "GET" and described.operation.answer is not None:
        responses["304"] = {"description": "The client has it already (`If-None-Match`)."}
    return responses


def _may_refuse(described: Described) -> Sequence[type[BookstoreError]]:
    refusals = list(described.operation.refusals)
    if described.access is not Open.ANYONE:
        refusals.append(NotSignedIn)
    if isinstance(described.access, Permission):
        refusals.append(NotAllowed)
    if described.method not in ("GET", "HEAD"):
        refusals.append(CrossSiteRequest)
    if "{" in described.path:
        refusals.append(NotFound)
    return refusals


def meaning(refusal: type[BookstoreError]) -> str:
    """What a code stands for, in a sentence."""
    text = (refusal.__doc__ or "").strip().split("\n", 1)[0]
    return text or refusal.code.replace("-", " ").capitalize() + "."


def _who(access: Access) -> str:
    if access is Open.ANYONE:
        return ""
    if access is Open.SIGNED_IN:
        return "For whoever is signed in."
    roles = ", ".join(role for role, granted in GRANTS.items() if access in granted)
    return f"For staff with the permission `{access}`: {roles}."


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"in": "path", "name": name, "required": True, "schema": _path_schema(name)}
        for name in _PARAMETER.findall(path)
    ]


def _path_schema(name: str) -> dict[str, Any]:
    if name.endswith("id"):
        return {"type": "integer", "format": "int64", "minimum": 1}
    return {"type": "string"}
