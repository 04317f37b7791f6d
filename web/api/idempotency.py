"""`Idempotency-Key`: a repeated request creates a resource once.

(draft-ietf-httpapi-idempotency-key-header)
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import idempotency
from bookstore.errors import IdempotencyKeyRequired
from web.api.operations import IDEMPOTENCY_KEY, Answer
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import write

#: Printable ASCII: a header can contain it and the database stores it unchanged.
_KEY = re.compile(r"[\x20-\x7e]{1,255}")

#: Marks the response to a repeated request.
REPLAYED = {"Idempotent-Replayed": "true"}


class HasId(Protocol):
    """An object with the id of its row."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=HasId)


def key_of(request: web.Request) -> str | None:
    """The idempotency key of the request; None without one.

    Raises:
        IdempotencyKeyRequired: the key is not 1 to 255 characters of printable ASCII.
    """
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise IdempotencyKeyRequired
    return key


async def create_once(
    request: web.Request,
    body: Mapping[str, Any],
    create: Callable[[AsyncConnection], Awaitable[T]],
    load: Callable[[AsyncConnection, int], Awaitable[T]],
    *,
    location_by: str | None = None,
) -> Answer:
    """Call `create` in a transaction of its own, or for a repeated request `load` with its id.

    `body` is the content of the request apart from its URL; a repeat must have the same content.
    A key is scoped to one user and one route.  Without a key, every request creates a resource.
    For the `Location` header, `location_by` is the attribute with which the resource's URL ends.

    Raises:
        IdempotencyKeyRequired, IdempotencyKeyReused, RequestInProgress: see `idempotency`.
    """
    key = key_of(request)
    request_hash = idempotency.hash_request({"path": request.path, "body": dict(body)})

    async def create_or_load(conn: AsyncConnection) -> tuple[T, dict[str, str]]:
        if key is None:
            return await create(conn), {}
        owner = idempotency.user_owner(current_user(request).id)
        scoped_key = idempotency.Key(f"{owner} {_route_key(request)}", key)
        result_id = await idempotency.claim(conn, scoped_key, request_hash, now=now())
        if result_id is not None:
            return await load(conn, result_id), dict(REPLAYED)
        content = await create(conn)
        await idempotency.record_result(conn, scoped_key, content.id)
        return content, {}

    content, headers = await write(request, create_or_load)
    if location_by is not None:
        collection = request.rel_url.with_query(None)
        headers["Location"] = str(collection / str(getattr(content, location_by)))
    return Answer(content, headers)


async def is_replay(
    request: web.Request,
    conn: AsyncConnection,
    owner: str,
    body: Mapping[str, Any],
    changed_id: int,
    *,
    key: str | None = None,
) -> bool:
    """Whether an earlier request with the same key was processed; if not, claim the key.

    For operations that guests may call: `owner` is the scope of the key.  `body` is the content of
    the request, and `changed_id` the id of the row that it changes.  `key` is the key of a form.
    Without a key, the request is never a repeat.

    Raises:
        IdempotencyKeyRequired, IdempotencyKeyReused, RequestInProgress: see `idempotency`.
    """
    key = key or key_of(request)
    if key is None:
        return False
    scoped_key = idempotency.Key(f"{owner} {_route_key(request)}", key)
    request_hash = idempotency.hash_request({"path": request.path, "body": dict(body)})
    if await idempotency.claim(conn, scoped_key, request_hash, now=now()) is not None:
        return True
    await idempotency.record_result(conn, scoped_key, changed_id)
    return False


def _route_key(request: web.Request) -> str:
    """The pattern of the route, so that each operation has its own keys."""
    resource = request.match_info.route.resource
    assert resource is not None
    return resource.canonical.removeprefix("/api/v1/")[:24]
