"""`Idempotency-Key`: a request that is sent twice makes one thing.

(draft-ietf-httpapi-idempotency-key-header)
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import idempotency
from bookstore.database.engine import retry_transaction, transaction
from bookstore.errors import IdempotencyKeyRequired
from web.api.operations import IDEMPOTENCY_KEY
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

#: What can be said in a header and kept as it is.
_KEY = re.compile(r"[\x20-\x7e]{1,255}")

#: What the answer to a repeat says.
REPLAYED = {"Idempotent-Replayed": "true"}


class HasId(Protocol):
    """Whatever has a row of its own."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=HasId)


class Made(NamedTuple):
    """What was made, and what the answer's headers say about it."""

    content: Any
    headers: dict[str, str]


def key_of(request: web.Request) -> str | None:
    """The request's key; None when it has none.

    Raises:
        IdempotencyKeyRequired: it has one that cannot be kept.
    """
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise IdempotencyKeyRequired
    return key


async def made_once(
    request: web.Request,
    body: Mapping[str, Any],
    make: Callable[[AsyncConnection], Awaitable[T]],
    again: Callable[[AsyncConnection, int], Awaitable[T]],
) -> Made:
    """What `make` makes in a transaction of its own; a repeat finds it by its id with `again`.

    `body` is what the request says beside its address; a repeat has to say the same.  A key
    belongs to one user and one address, and without one every request makes something.

    Raises:
        IdempotencyKeyRequired, IdempotencyKeyReused, RequestInProgress: see `idempotency`.
    """
    key = key_of(request)
    request_hash = idempotency.hash_of({"path": request.path, "body": dict(body)})

    async def work() -> Made:
        async with transaction(request.config_dict[ENGINE]) as conn:
            if key is None:
                return Made(await make(conn), {})
            owned = idempotency.Key(f"{idempotency.of_user(me(request).id)} {_place(request)}", key)
            result_id = await idempotency.claim(conn, owned, request_hash, now=now())
            if result_id is not None:
                return Made(await again(conn, result_id), dict(REPLAYED))
            made = await make(conn)
            await idempotency.settle(conn, owned, made.id)
            return Made(made, {})

    return await retry_transaction(work)


async def done_before(
    request: web.Request, conn: AsyncConnection, owner: str, key: str | None, changed_id: int
) -> bool:
    """Whether this request changed the row with this id before; if not, it does so now.

    For what guests may do too: `owner` says whose key it is.  Without one nothing is a repeat.

    Raises:
        IdempotencyKeyReused, RequestInProgress: see `idempotency`.
    """
    if key is None:
        return False
    owned = idempotency.Key(f"{owner} {_place(request)}", key)
    request_hash = idempotency.hash_of({"path": request.path, "body": {}})
    if await idempotency.claim(conn, owned, request_hash, now=now()) is not None:
        return True
    await idempotency.settle(conn, owned, changed_id)
    return False


def _place(request: web.Request) -> str:
    """The address's pattern, so that each operation has its own keys."""
    resource = request.match_info.route.resource
    assert resource is not None
    return resource.canonical.removeprefix("/api/v1/")[:24]
