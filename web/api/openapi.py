"""The OpenAPI 3.1 document, generated from the router and the declarations of its operations."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields

import bookstore
from bookstore import errors
from bookstore.errors import BookstoreError
from bookstore.users.permissions import GRANTS, Permission
from web.api.examples import examples
from web.api.field_types import UtcDateTime
from web.api.operations import IDEMPOTENCY_KEY, Operation, operation_of
from web.auth.session_storage import cookie_name
from web.server.errors import CrossSiteRequest, TooManyRequests
from web.server.keys import SETTINGS
from web.server.problems import AIOHTTP_ERRORS, STATUS, title_of, type_of
from web.server.route_access import ACCESS, Access, AccessLevel

PROBLEM = "application/problem+json"
#: Error responses that any operation may return.
COMMON_PROBLEMS = {
    500: ("internal-error", "An unexpected error occurred on the server."),
    503: ("unavailable", "The database is unavailable; retry after the time in `Retry-After`."),
}
_PARAMETER = re.compile(r"\{(\w+)\}")

#: The tags of paths that do not start with the name of their tag.
_TAGS = {
    **dict.fromkeys(("email-verifications", "password-resets", "session"), "users"),
    **dict.fromkeys(("authors", "categories", "covers"), "books"),
}
_REQUEST_ID = "7f3a9c51d2e84b06"


class RoutedOperation(NamedTuple):
    """An operation with its method, path and access."""

    method: str
    path: str
    operation: Operation
    access: Access


def operations(app: web.Application) -> Iterator[RoutedOperation]:
    """The operations of all routes."""
    for route in app.router.routes():
        operation = operation_of(route.handler)
        if operation is not None and route.method != "HEAD" and route.resource is not None:
            yield RoutedOperation(
                route.method, route.resource.canonical, operation, app[ACCESS][route]
            )


def describe(app: web.Application) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    fixed = json.loads(static_file("openapi.json"))
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="Bookstore",
        version=bookstore.__version__,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={
            "summary": "Catalogue, carts and orders of the bookstore.",
            "description": static_file("introduction.md"),
            "license": {"name": "MIT", "identifier": "MIT"},
            "contact": {"name": app[SETTINGS].store_name, "url": app[SETTINGS].base_url},
        },
        servers=[{"url": "/"}],
        tags=fixed["tags"],
    )
    plugin.map_to_openapi_type(UtcDateTime, "string", "date-time")
    assert plugin.converter is not None  # APISpec has set it.
    plugin.converter.add_attribute_function(_stated_values)
    cookie = {"type": "apiKey", "in": "cookie", "name": cookie_name(app[SETTINGS])}
    spec.components.security_scheme(
        "session", {**cookie, "description": "Set by `POST /api/v1/session`."}
    )
    spec.components.security_scheme(
        "token",
        {"type": "http", "scheme": "bearer", "description": "A personal token, `bks_...`."},
    )
    spec.components.schema("Problem", fixed["problem"])
    for name, header in fixed["headers"].items():
        spec.components.header(name, header)
    for routed in operations(app):
        content = _operation(routed)
        spec.path(path=routed.path, operations={routed.method.lower(): content})
    document: dict[str, Any] = spec.to_dict()
    document["components"]["examples"] = _examples(app)
    for key, name in plugin.converter.refs.items():
        conditions = getattr(key[0], "conditions", {})
        document["components"]["schemas"][name] |= conditions
    for methods in document["paths"].values():
        for content in methods.values():
            for parameter in content["parameters"]:
                if parameter["in"] == "query":
                    _without_null(parameter["schema"])
    return document


def _stated_values(_: object, field: fields.Field[Any], **_options: Any) -> dict[str, Any]:
    """Some of the values of an enumeration, if its field states them."""
    stated = field.metadata.get("enum")
    return {} if stated is None else {"enum": stated}


def _without_null(schema: dict[str, Any]) -> None:
    """A query string cannot contain null; there, None means that the parameter is not sent."""
    if isinstance(schema.get("type"), list):
        schema["type"] = next(name for name in schema["type"] if name != "null")
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if "default" in schema and schema["default"] is None:
        del schema["default"]


@cache
def static_file(name: str) -> str:
    """The text of a file in `static`."""
    return files("web.api").joinpath("static", name).read_text("utf-8")


def _operation(routed: RoutedOperation) -> dict[str, Any]:
    operation = routed.operation
    example = examples().get(operation.name, {})
    content: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": ["staff" if isinstance(routed.access, Permission) else _tag(routed.path)],
        "parameters": [
            *_path_parameters(routed.path, example.get("path", {})),
            {"in": "query", "schema": operation.query},
            *(
                {
                    "in": "header",
                    "name": name,
                    "required": header.required,
                    "schema": {"type": "string", "minLength": 1, **header.schema},
                    "description": header.description,
                    **_example_of(example.get("headers", {}), name),
                }
                for name, header in operation.headers.items()
            ),
        ],
        "responses": {
            str(operation.status): _success(routed, example),
            **_refusals(routed),
        },
        "security": [
            *([{}] if routed.access is AccessLevel.ANYONE else []),
            {"session": []},
            *([] if routed.access is AccessLevel.IN_PERSON else [{"token": []}]),
        ],
    }
    texts = [operation.description or f"{operation.summary}.", _access_text(routed.access)]
    if operation.repeatable:
        texts.append("A repeat has no further effect.")
    elif _refuses_key(routed):
        texts.append("An `Idempotency-Key` is refused.")
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
        # OpenAPI 3.1 describes binary content by its media type alone.
        content["requestBody"] = {
            "required": True,
            "content": {name: {"schema": {}} for name in operation.upload},
        }
    return content


def _success(routed: RoutedOperation, example: Mapping[str, Any]) -> dict[str, Any]:
    operation = routed.operation
    shown = {"example": example["answer"]} if "answer" in example else {}
    response: dict[str, Any] = {"description": "Success."}
    if operation.answer is not None:
        response["content"] = {"application/json": {"schema": operation.answer, **shown}}
    elif operation.content_type:
        response["content"] = {
            # OpenAPI 3.1 cannot describe the events of a stream.
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


def _refusals(routed: RoutedOperation) -> dict[str, Any]:
    """One response for each error status, with the codes that it may have."""
    codes = sorted(_codes(routed).items())
    responses = {str(status): _refusal(status, meanings) for status, meanings in codes}
    if routed.method == "GET" and routed.operation.answer is not None:
        responses["304"] = {"description": "The content is unchanged (`If-None-Match`)."}
    return responses


def _codes(routed: RoutedOperation) -> dict[int, dict[str, str]]:
    """The meanings of the codes that an operation may return, by status."""
    codes: dict[int, dict[str, str]] = {}
    for refusal in _may_refuse(routed):
        codes.setdefault(STATUS[refusal], {})[refusal.code] = meaning(refusal)
    for status, (code, text) in COMMON_PROBLEMS.items():
        codes.setdefault(status, {})[code] = text
    if routed.operation.body is not None:
        code, text = AIOHTTP_ERRORS[413]
        codes.setdefault(413, {})[code] = text
    return codes


def _refusal(status: int, meanings: dict[str, str]) -> dict[str, Any]:
    """A response with an example of each code."""
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in meanings},
    }
    description = "\n".join(f"`{code}`: {text}" for code, text in meanings.items())
    response: dict[str, Any] = {"description": description, "content": {PROBLEM: content}}
    if status in (429, 503):
        response["headers"] = {"Retry-After": _header("Retry-After")}
    return response


def _examples(app: web.Application) -> dict[str, Any]:
    """An example problem for each code, without the additional fields of its kind."""
    by_code = {
        code: (status, text)
        for routed in operations(app)
        for status, meanings in _codes(routed).items()
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
        for code, (status, text) in sorted(by_code.items())
    }


def _refuses_key(routed: RoutedOperation) -> bool:
    operation = routed.operation
    return routed.method == "POST" and not (operation.takes_key or operation.repeatable)


def _may_refuse(routed: RoutedOperation) -> Sequence[type[BookstoreError]]:
    refusals = [*routed.operation.refusals, TooManyRequests]
    refusals += [
        errors.BadToken,
        errors.NotAllowed,
    ]  # A token may be invalid or have the wrong scope.
    if routed.access is not AccessLevel.ANYONE:
        refusals.append(errors.NotSignedIn)
    if isinstance(routed.access, Permission):
        refusals.append(errors.SecondFactorRequired)
    if routed.method not in ("GET", "HEAD"):
        refusals.append(CrossSiteRequest)
    if _refuses_key(routed):
        refusals.append(errors.IdempotencyKeyNotSupported)
    if "{" in routed.path:
        refusals.append(errors.NotFound)
    return refusals


def meaning(refusal: type[BookstoreError]) -> str:
    """The meaning of a code, in a sentence."""
    text = (refusal.__doc__ or "").strip().split("\n", 1)[0]
    return text or refusal.code.replace("-", " ").capitalize() + "."


def _tag(path: str) -> str:
    """The tag of an operation that requires no permission, by the first part of its path."""
    part = path.split("/")[3]
    return _TAGS.get(part, part)


def _access_text(access: Access) -> str:
    if access is AccessLevel.ANYONE:
        return ""
    if access is AccessLevel.SIGNED_IN:
        return "Requires a signed-in user."
    if access is AccessLevel.IN_PERSON:
        return "Requires a user who is signed in with a session; tokens are not accepted."
    roles = ", ".join(role for role, granted in GRANTS.items() if access in granted)
    return f"Requires the permission `{access}`.  Roles with this permission: {roles}."


def _example_of(example: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The example of a parameter, if there is one."""
    return {"example": example[name]} if name in example else {}


def _path_parameters(path: str, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    # The route accepts any digits.  No row has the id 0, so it is answered with 404.
    id_schema = {"type": "integer", "format": "int64", "minimum": 0}
    return [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": id_schema if name.endswith("id") else {"type": "string"},
            **_example_of(example, name),
        }
        for name in _PARAMETER.findall(path)
    ]
