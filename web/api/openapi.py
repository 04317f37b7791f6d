"""The API's description (OpenAPI 3.1), read off the router and what its operations declare."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

import bookstore
from bookstore.errors import (
    BadToken,
    BookstoreError,
    NotAllowed,
    NotFound,
    NotSignedIn,
    SecondFactorRequired,
)
from bookstore.users.permissions import GRANTS, Permission
from web.api.examples import examples
from web.api.field_types import Moment
from web.api.operations import IDEMPOTENCY_KEY, Operation, operation_of
from web.auth.sessions import cookie_name
from web.server.errors import CrossSiteRequest, TooManyRequests
from web.server.keys import SETTINGS
from web.server.problems import ITS_OWN, STATUS, title_of, type_of
from web.server.route_access import ACCESS, Access, Open

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

Sign in with `POST /api/v1/session`; the answer sets a cookie.  Programs make themselves a token
with `POST /api/v1/users/me/tokens` and send it as `Authorization: Bearer bks_...`.  Unsafe
requests that a browser sends from another site are refused.

`RateLimit-Policy` says how many requests an address or a token may send in a minute, and
`RateLimit` how many are left; after them comes a 429 with `Retry-After`.

Whatever makes something takes an `Idempotency-Key`: a repeat after a broken connection makes
nothing new.  Catalogue records are changed with `If-Match`, so that nobody writes over a change
that they have not seen.

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
    "additionalProperties": True,
}
_REQUEST_ID = "7f3a9c51d2e84b06"
#: Headers of answers, by their names among the components.
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "What the content is known by: for `If-None-Match` and `If-Match`.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": 'The address of the next page, `rel="next"` (RFC 8288); not on the last.',
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "Where the new thing is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotent-Replayed": {
        "description": "`true` when an earlier request with this key had made it.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit": {
        "description": "How many requests are left, and in how many seconds all are back.",
        "schema": {"type": "string"},
        "example": '"address";r=29999;t=60',
    },
    "RateLimit-Policy": {
        "description": "How many requests pass in so many seconds.",
        "schema": {"type": "string"},
        "example": '"address";q=30000;w=60',
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
            "contact": {"name": app[SETTINGS].store_name, "url": app[SETTINGS].base_url},
        },
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    plugin.map_to_openapi_type(Moment, "string", "date-time")
    cookie = {"type": "apiKey", "in": "cookie", "name": cookie_name(app[SETTINGS])}
    spec.components.security_scheme(
        "session", {**cookie, "description": "Set by `POST /api/v1/session`."}
    )
    spec.components.security_scheme(
        "token",
        {"type": "http", "scheme": "bearer", "description": "A personal token, `bks_...`."},
    )
    spec.components.schema("Problem", _PROBLEM_SCHEMA)
    for name, header in _HEADERS.items():
        spec.components.header(name, header)
    for described in operations(app):
        content = _operation(described)
        spec.path(path=described.path, operations={described.method.lower(): content})
    document: dict[str, Any] = spec.to_dict()
    document["components"]["examples"] = _examples(app)
    return document


def _operation(described: Described) -> dict[str, Any]:
    operation = described.operation
    example = examples().get(operation.name, {})
    content: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": list(operation.tags),
        "parameters": [
            *_path_parameters(described.path, example.get("path", {})),
            {"in": "query", "schema": operation.query},
            *(
                {
                    "in": "header",
                    "name": name,
                    "required": header.required,
                    "schema": {
                        "type": "string",
                        "minLength": 1,
                        **({"maxLength": header.longest} if header.longest else {}),
                        **({"pattern": header.pattern} if header.pattern else {}),
                    },
                    "description": header.description,
                    **_only(example.get("headers", {}), name),
                }
                for name, header in operation.headers.items()
            ),
        ],
        "responses": {
            str(operation.status): _success(described, example),
            **_refusals(described),
        },
        "security": [
            *([{}] if described.access is Open.ANYONE else []),
            {"session": []},
            *([] if described.access is Open.IN_PERSON else [{"token": []}]),
        ],
    }
    texts = [operation.description or f"{operation.summary}.", _who(described.access)]
    content["description"] = "\n\n".join(text for text in texts if text)
    if operation.body is not None:
        content["requestBody"] = {
            "required": any(field.required for field in operation.body().fields.values()),
            "content": {
                "application/json": {
                    "schema": operation.body,
                    **({"example": example["body"]} if "body" in example else {}),
                }
            },
        }
    if operation.upload:
        # OpenAPI 3.1 says nothing more of bytes than their media type.
        content["requestBody"] = {
            "required": True,
            "content": {name: {"schema": {}} for name in operation.upload},
        }
    return content


def _success(described: Described, example: Mapping[str, Any]) -> dict[str, Any]:
    operation = described.operation
    shown = {"example": example["answer"]} if "answer" in example else {}
    response: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        response["content"] = {"application/json": {"schema": operation.answer, **shown}}
    elif operation.content_type:
        response["content"] = {
            # Of events OpenAPI 3.1 says nothing but that they are text.
            name: {
                "schema": {} if name == "text/event-stream" else {"type": "string"},
                **(shown if not place else {}),
            }
            for place, name in enumerate(operation.content_type)
        }
    names = ["RateLimit", "RateLimit-Policy"]
    if operation.answer is not None:
        names.append("ETag")
    if "next" in getattr(operation.answer, "_declared_fields", {}):
        names.append("Link")
    if "location" in example:
        names.append("Location")
    if IDEMPOTENCY_KEY in operation.headers:
        names.append("Idempotent-Replayed")
    response["headers"] = {name: _header(name) for name in sorted(names)}
    return response


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _refusals(described: Described) -> dict[str, Any]:
    """One response for each status, naming the codes that come with it."""
    responses = {
        str(status): _refusal(status, meanings)
        for status, meanings in sorted(_codes(described).items())
    }
    if described.method == "GET" and described.operation.answer is not None:
        responses["304"] = {"description": "The client has it already (`If-None-Match`)."}
    return responses


def _codes(described: Described) -> dict[int, dict[str, str]]:
    """What each code means that may come, by status."""
    codes: dict[int, dict[str, str]] = {}
    for refusal in _may_refuse(described):
        codes.setdefault(STATUS[refusal], {})[refusal.code] = meaning(refusal)
    for status, (code, text) in EVERYWHERE.items():
        codes.setdefault(status, {})[code] = text
    if described.operation.body is not None:
        code, text = ITS_OWN[413]
        codes.setdefault(413, {})[code] = text
    return codes


def _refusal(status: int, meanings: dict[str, str]) -> dict[str, Any]:
    """A response with an example of each code."""
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in meanings}
    response: dict[str, Any] = {
        "description": "\n".join(f"`{code}`: {text}" for code, text in meanings.items()),
        "content": {
            PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }
    if status in (429, 503):
        response["headers"] = {"Retry-After": _header("Retry-After")}
    return response


def _examples(app: web.Application) -> dict[str, Any]:
    """A problem of each code; no more is known of what an instance brings."""
    told = {
        code: (status, text)
        for described in operations(app)
        for status, meanings in _codes(described).items()
        for code, text in meanings.items()
    }
    return {
        code: {
            "summary": title_of(code),
            "value": {
                "type": type_of(code),
                "title": title_of(code),
                "status": status,
                "detail": text,
                "code": code,
                "request_id": _REQUEST_ID,
            },
        }
        for code, (status, text) in sorted(told.items())
    }


def _may_refuse(described: Described) -> Sequence[type[BookstoreError]]:
    refusals = [*described.operation.refusals, TooManyRequests]
    refusals += [BadToken, NotAllowed]  # A token may be worthless, or of the wrong scope.
    if described.access is not Open.ANYONE:
        refusals.append(NotSignedIn)
    if isinstance(described.access, Permission):
        refusals.append(SecondFactorRequired)
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
    if access is Open.IN_PERSON:
        return "For whoever is signed in with a session; not with a token."
    roles = ", ".join(role for role, granted in GRANTS.items() if access in granted)
    return f"For staff with the permission `{access}`: {roles}."


def _only(example: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The example of a parameter, where there is one."""
    return {"example": example[name]} if name in example else {}


def _path_parameters(path: str, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": _path_schema(name),
            **_only(example, name),
        }
        for name in _PARAMETER.findall(path)
    ]


def _path_schema(name: str) -> dict[str, Any]:
    if name.endswith("id"):
        # Digits are understood as they are: 0 is nobody's id, and found nowhere.
        return {"type": "integer", "format": "int64", "minimum": 0}
    return {"type": "string"}
