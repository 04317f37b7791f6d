"""What an operation takes, answers and refuses: declared once, obeyed and documented.

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
#: ASCII that is seen; blanks around a header's value are not part of it (RFC 9110, section 5.5).
KEY_PATTERN = "^[!-~]([ -~]*[!-~])?$"
_DECLARED = "__operation__"


class Header(NamedTuple):
    """A header that an operation reads from the request."""

    description: str
    required: bool = False
    #: More characters are refused.
    longest: int | None = None
    #: What it is made of, as a regular expression.
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method at one address promises; `answer` is None where there is no JSON."""

    name: str
    summary: str
    description: str
    tags: Sequence[str]
    body: type[Schema] | None
    query: type[Schema]
    headers: Mapping[str, Header]
    status: int
    answer: type[Schema] | None
    #: The media types where it is not JSON.
    content_type: Sequence[str]
    #: The media types of a body that is no JSON.
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
    kept: bool = False,
    once: bool = False,
) -> Callable[[Callable[..., Awaitable[web.StreamResponse]]], Handler]:
    """Make a handler an operation: its body and query come in checked, as arguments.

    `headers` says what the operation reads from the request's headers (a text describes one
    that is optional), `refusals` what it may answer beside what every operation may.  With
    `upload` names the media types of a body that the handler reads by itself.  With `kept`,
    guests share one answer for a moment.  With `once`, a repeat with the same
    `Idempotency-Key` makes nothing new: the handler uses `made_once`.
    """
    always: list[type[BookstoreError]] = [InvalidInput]
    heard = {
        name: Header(header) if isinstance(header, str) else header
        for name, header in (headers or {}).items()
    }
    if once:
        heard[IDEMPOTENCY_KEY] = Header(
            "1 to 255 characters, new for each thing that is to be made.  A repeat with the same"
            " key and body makes nothing new and shows what the first has made, with"
            " `Idempotent-Replayed: true`.",
            longest=255,
            pattern=KEY_PATTERN,
        )
        always += [IdempotencyKeyRequired, IdempotencyKeyReused, RequestInProgress]
    if body is not None:
        always += [MalformedJson, NotJson]

    def declare(handler: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        takes_query = query is not NoQuery
        query_schema = instance(query)
        body_schema = None if body is None else instance(body)

        @functools.wraps(handler)
        async def run(request: web.Request) -> web.StreamResponse:
            async def make() -> web.StreamResponse:
                arguments: dict[str, Fields] = {}
                # Nothing is nothing wrong; most operations get just that.
                if takes_query or request.query_string:
                    found = await PARSER.parse(query_schema, request, location="query")
                    if takes_query:
                        arguments["query"] = found
                if body_schema is not None:
                    arguments["body"] = await PARSER.parse(body_schema, request, location="json")
                return await handler(request, **arguments)

            if kept and request[USER] is None:
                response = await request.config_dict[GUEST_CACHE].answer(request.path_qs, make)
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
            headers=heard,
            status=returns[0],
            answer=returns[1],
            content_type=[content_type] if isinstance(content_type, str) else content_type,
            upload=upload,
            refusals=[*always, *refusals],
        )
        setattr(run, _DECLARED, declared)
        return run

    return declare


@functools.cache
def instance(schema: type[Schema]) -> Schema:
    """The schema, ready for use: to make one copies all its fields, which costs more than to
    check a request."""
    return schema()


def operation_of(handler: object) -> Operation | None:
    """What a handler has declared; None when it is no operation."""
    return getattr(handler, _DECLARED, None)


def answer(
    schema: type[Schema],
    content: Any,
    *,
    status: int = 200,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The content as JSON; without an ETag of its own it gets its hash for one."""
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
    """A page of a list, with the address of the next one in its `Link` header (RFC 8288)."""
    response = answer(schema, page, headers=headers)
    if page.next is not None:
        following = request.rel_url.update_query(cursor=page.next)
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def _conditional(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """304 without a body when the client has what we would send (RFC 9110, section 13.1.2)."""
    known = request.headers.get("If-None-Match")
    etag = response.headers.get("ETag")
    if (
        known is None
        or etag is None
        or request.method not in ("GET", "HEAD")
        or response.status != 200
    ):
        return response
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    if etag not in tags and tags != ["*"]:
        return response
    kept = {
        name: response.headers[name]
        for name in ("ETag", "Cache-Control", "Link")
        if name in response.headers
    }
    return web.Response(status=304, headers=kept)
