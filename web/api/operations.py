"""Declare the input, responses and errors of an operation once, for validation and documentation.

@operation(body=ProfileIn, returns=(200, UserOut), tags=["users"])
async def change_profile(request: web.Request, body: Fields) -> web.Response:
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web
from marshmallow import Schema

from bookstore.database.pagination import Page
from bookstore.errors import (
    BookstoreError,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    RequestInProgress,
)
from web.api.request_parsing import PARSER
from web.api.schemas import NoQuery
from web.cache.guest_cache import GUEST_CACHE
from web.server.errors import InvalidInput, MalformedJson, NotJson
from web.server.keys import USER

#: A loaded body or query: the fields of its schema, by name.
Fields = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDEMPOTENCY_KEY = "Idempotency-Key"
#: Printable ASCII.  White space around the value of a header is not part of it (RFC 9110, section
#: 5.5).
KEY_PATTERN = "^[!-~]([ -~]*[!-~])?$"
_ATTRIBUTE = "__operation__"


class Header(NamedTuple):
    """A header that an operation reads from the request."""

    description: str
    required: bool = False
    #: The maximum length in characters.
    max_length: int | None = None
    #: The regular expression that the value must match.
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of an operation.  `answer` is None if the response is not JSON."""

    name: str
    summary: str
    description: str
    tags: Sequence[str]
    body: type[Schema] | None
    query: type[Schema]
    headers: Mapping[str, Header]
    status: int
    answer: type[Schema] | None
    #: The media types of a response that is not JSON.
    content_type: Sequence[str]
    #: The media types of a request body that is not JSON.
    upload: Sequence[str]
    refusals: Sequence[type[BookstoreError]]


def operation(
    *,
    returns: tuple[int, type[Schema] | None],
    tags: Sequence[str],
    body: type[Schema] | None = None,
    query: type[Schema] = NoQuery,
    headers: Mapping[str, Header | str] | None = None,
    content_type: str | Sequence[str] = (),
    upload: Sequence[str] = (),
    refusals: Sequence[type[BookstoreError]] = (),
    cached: bool = False,
    idempotent: bool = False,
) -> Callable[[Callable[..., Awaitable[web.StreamResponse]]], Handler]:
    """Make a handler an operation: it receives the validated body and query as arguments.

    `headers` are the request headers that the operation reads; a string describes an optional
    header.  `refusals` are the errors that it may return in addition to those of every operation.
    `upload` contains the media types of a body that the handler reads itself.  With `cached`, the
    response is cached for guests for a short time.  With `idempotent`, a repeat with the same
    `Idempotency-Key` creates nothing new: the handler calls `create_once` or `is_replay`.
    """
    common_refusals: list[type[BookstoreError]] = [InvalidInput]
    request_headers = {
        name: Header(header) if isinstance(header, str) else header
        for name, header in (headers or {}).items()
    }
    if idempotent:
        request_headers[IDEMPOTENCY_KEY] = Header(
            "1 to 255 characters, unique for each resource to create.  A repeat with the same"
            " key and body creates nothing new: it returns the resource that the first request"
            " created, with `Idempotent-Replayed: true`.",
            max_length=255,
            pattern=KEY_PATTERN,
        )
        common_refusals += [IdempotencyKeyRequired, IdempotencyKeyReused, RequestInProgress]
    if body is not None:
        common_refusals += [MalformedJson, NotJson]

    def declare(handler: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        takes_query = query is not NoQuery
        query_schema = instance(query)
        body_schema = None if body is None else instance(body)

        @functools.wraps(handler)
        async def run(request: web.Request) -> web.StreamResponse:
            async def make() -> web.StreamResponse:
                arguments: dict[str, Fields] = {}
                # Parsing is skipped for an empty query string, the usual case.
                if takes_query or request.query_string:
                    found = await PARSER.parse(query_schema, request, location="query")
                    if takes_query:
                        arguments["query"] = found
                if body_schema is not None:
                    arguments["body"] = await PARSER.parse(body_schema, request, location="json")
                return await handler(request, **arguments)

            if cached and request[USER] is None:
                response = await request.config_dict[GUEST_CACHE].get_or_create(
                    request.path_qs, make
                )
            else:
                response = await make()
            return _conditional(request, response)

        declared = Operation(
            name=handler.__name__,
            summary=summary.rstrip("."),
            description=description.strip(),
            tags=tags,
            body=body,
            query=query,
            headers=request_headers,
            status=returns[0],
            answer=returns[1],
            content_type=[content_type] if isinstance(content_type, str) else content_type,
            upload=upload,
            refusals=[*common_refusals, *refusals],
        )
        setattr(run, _ATTRIBUTE, declared)
        return run

    return declare


@functools.cache
def instance(schema: type[Schema]) -> Schema:
    """The cached instance of a schema.

    Creating an instance copies all fields, which costs more than validating a request.
    """
    return schema()


def operation_of(handler: object) -> Operation | None:
    """The declaration of a handler; None if it is not an operation."""
    return getattr(handler, _ATTRIBUTE, None)


def answer(
    schema: type[Schema],
    content: Any,
    *,
    status: int = 200,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A JSON response.  Without `etag`, the ETag is a hash of the content."""
    text = json.dumps(instance(schema).dump(content), ensure_ascii=False, separators=(",", ":"))
    body = text.encode()
    response = web.Response(
        body=body, status=status, content_type="application/json", headers=headers
    )
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["ETag"] = f'"{etag or hashlib.sha256(body).hexdigest()[:24]}"'
    return response


def page_answer(
    schema: type[Schema],
    request: web.Request,
    page: Page[Any],
    *,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A page of a list, with the URL of the next page in the `Link` header (RFC 8288)."""
    response = answer(schema, page, headers=headers)
    if page.next is not None:
        next_url = request.rel_url.update_query(cursor=page.next)
        response.headers["Link"] = f'<{next_url}>; rel="next"'
    return response


def _conditional(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """304 without a body if the client has the current content (RFC 9110, section 13.1.2)."""
    if_none_match = request.headers.get("If-None-Match")
    etag = response.headers.get("ETag")
    if (
        if_none_match is None
        or etag is None
        or request.method not in ("GET", "HEAD")
        or response.status != 200
    ):
        return response
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    if etag not in tags and tags != ["*"]:
        return response
    headers = {
        name: response.headers[name]
        for name in ("ETag", "Cache-Control", "Link")
        if name in response.headers
    }
    return web.Response(status=304, headers=headers)
