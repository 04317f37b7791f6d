"""Declare the input, responses and errors of an operation once, for validation and documentation.

@operation(body=AccountIn, returns=(200, AccountOut))
async def change_user(request: web.Request, user_id: int, body: Fields) -> User:
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from marshmallow import Schema

from bookstore import errors
from bookstore.database.pagination import Page
from bookstore.errors import BookstoreError, Invalid, Stale
from web.api.request_parsing import PARSER
from web.api.schemas import NoQuery, PageQuery
from web.cache.guest_cache import GUEST_CACHE
from web.server.compression import plain_etag
from web.server.errors import IfMatchRequired, InvalidInput, MalformedJson, NotJson
from web.server.keys import USER

#: A loaded body or query: the fields of its schema, by name.
Fields = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDEMPOTENCY_KEY = "Idempotency-Key"
#: Printable ASCII.  White space around the value of a header is not part of it (RFC 9110, section
#: 5.5).
KEY_SCHEMA = {"maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}
IDEMPOTENCY_ERRORS = (
    errors.IdempotencyKeyRequired,
    errors.IdempotencyKeyReused,
    errors.RequestInProgress,
)
_ATTRIBUTE = "__operation__"


class Header(NamedTuple):
    """A header that an operation reads from the request."""

    description: str
    required: bool = False
    #: Rules for the value, in JSON Schema.
    schema: Mapping[str, Any] = {}


class Answer(NamedTuple):
    """The content of a response that has its own headers or ETag."""

    content: Any
    headers: Mapping[str, str] = {}
    #: Without it, the ETag is a hash of the content.
    etag: str | None = None
    #: Precedes the ETag, for `check_if_match`.
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of an operation.  `answer` is None if the response is not JSON."""

    name: str
    summary: str
    description: str
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
    cached: bool
    #: Whether a repeat has no further effect, with or without a key.
    repeatable: bool

    @property
    def takes_key(self) -> bool:
        """Whether a repeat with the same `Idempotency-Key` is recognised."""
        return IDEMPOTENCY_KEY in self.headers


def operation(
    *,
    returns: tuple[int, type[Schema] | None],
    body: type[Schema] | None = None,
    query: type[Schema] = NoQuery,
    headers: Mapping[str, Header | str] | None = None,
    content_type: str | Sequence[str] = (),
    upload: Sequence[str] = (),
    refusals: Sequence[type[BookstoreError]] = (),
    cached: bool = False,
    idempotent: bool = False,
    repeatable: bool = False,
    versioned: bool = False,
) -> Callable[[Callable[..., Awaitable[object]]], Handler]:
    """Make a handler an operation.

    The handler receives the validated `body` and `query`, and the parameters of the path that it
    names; ids are integers.  It returns the content of the response, an `Answer`, or a response.

    `headers` are the request headers that the operation reads; a string describes an optional
    header.  `refusals` are the errors that it may return in addition to those of every operation.
    `upload` contains the media types of a body that the handler reads itself.  With `cached`, the
    response is cached for guests for a short time, and other caches must revalidate it.  With
    `idempotent`, a repeat with the same `Idempotency-Key` has no further effect: the handler calls
    `create_once` or `is_replay`.  With `repeatable`, no repeat has a further effect, with or
    without a key.  Any other POST refuses the header.  With `versioned`, the request must have an
    `If-Match`: the handler calls `check_if_match`.
    """
    common_refusals: list[type[BookstoreError]] = [InvalidInput]
    request_headers = {
        name: Header(header) if isinstance(header, str) else header
        for name, header in (headers or {}).items()
    }
    if idempotent:
        request_headers[IDEMPOTENCY_KEY] = Header(
            "1 to 255 characters, unique for each request.  A repeat with the same key and body"
            " has no further effect: it returns the resource that the first request created or"
            " changed, with `Idempotent-Replayed: true`.",
            schema=KEY_SCHEMA,
        )
        common_refusals += IDEMPOTENCY_ERRORS
    if versioned:
        request_headers["If-Match"] = Header(
            "The `ETag` of the resource, or `*` for any version.", required=True
        )
        common_refusals += [Stale, IfMatchRequired]
    if body is not None:
        common_refusals += [MalformedJson, NotJson]
    if issubclass(query, PageQuery):
        common_refusals.append(Invalid)  # The cursor may belong to another list.

    def declare(handler: Callable[..., Awaitable[object]]) -> Handler:
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        declared = Operation(
            name=handler.__name__,
            summary=summary.rstrip("."),
            description=description.strip(),
            body=body,
            query=query,
            headers=request_headers,
            status=returns[0],
            answer=returns[1],
            content_type=[content_type] if isinstance(content_type, str) else content_type,
            upload=upload,
            refusals=[*common_refusals, *refusals],
            cached=cached,
            repeatable=repeatable,
        )
        refuses_key = not (declared.takes_key or repeatable)
        names = set(inspect.signature(handler).parameters) - {"request", "body", "query"}
        takes_query = query is not NoQuery
        query_schema = instance(query)
        body_schema = None if body is None else instance(body)

        @functools.wraps(handler)
        async def run(request: web.Request) -> web.StreamResponse:
            if (
                refuses_key
                and request.method == hdrs.METH_POST
                and IDEMPOTENCY_KEY in request.headers
            ):
                raise errors.IdempotencyKeyNotSupported

            async def make() -> web.StreamResponse:
                path = request.match_info
                arguments: dict[str, Any] = {
                    name: int(path[name]) if name.endswith("_id") else path[name] for name in names
                }
                # Parsing is skipped for an empty query string, the usual case.
                if takes_query or request.query_string:
                    found = await PARSER.parse(query_schema, request, location="query")
                    if takes_query:
                        arguments["query"] = found
                if body_schema is not None:
                    arguments["body"] = await PARSER.parse(body_schema, request, location="json")
                return _respond(request, declared, await handler(request, **arguments))

            if cached and request[USER] is None:
                response = await request.config_dict[GUEST_CACHE].get_or_create(
                    request.path_qs, make
                )
            else:
                response = await make()
            return _conditional(request, response)

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


def _respond(request: web.Request, operation: Operation, result: object) -> web.StreamResponse:
    """The response to a request, made from the result of its handler."""
    if isinstance(result, web.StreamResponse):
        return result
    content, headers, etag, version = result if isinstance(result, Answer) else Answer(result)
    if operation.answer is None:
        return web.Response(status=operation.status, headers=headers)
    text = json.dumps(
        instance(operation.answer).dump(content), ensure_ascii=False, separators=(",", ":")
    )
    body = text.encode()
    tags = [] if version is None else [str(version)]
    tags.append(etag or hashlib.sha256(body).hexdigest()[:24])
    response = web.Response(
        body=body, status=operation.status, content_type="application/json", headers=headers
    )
    response.headers.setdefault("Cache-Control", "no-cache" if operation.cached else "no-store")
    response.headers["ETag"] = f'"{".".join(tags)}"'
    if isinstance(content, Page) and content.next is not None:
        next_url = request.rel_url.update_query(cursor=content.next)
        response.headers["Link"] = f'<{next_url}>; rel="next"'  # RFC 8288.
    return response


def _conditional(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """304 without a body if the client has the current content (RFC 9110, section 13.1.2)."""
    if_none_match = request.headers.get("If-None-Match")
    etag = response.headers.get("ETag")
    is_read = request.method in ("GET", "HEAD") and response.status == 200
    if not is_read or if_none_match is None or etag is None:
        return response
    tags = [plain_etag(tag.strip().removeprefix("W/")) for tag in if_none_match.split(",")]
    if etag not in tags and tags != ["*"]:
        return response
    kept = ("ETag", "Cache-Control", "Link")
    headers = {name: response.headers[name] for name in kept if name in response.headers}
    return web.Response(status=304, headers=headers)
