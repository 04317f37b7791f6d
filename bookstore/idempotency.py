"""Idempotency keys: a request that is sent twice takes effect once.

The key and a hash of the request are stored in the same transaction as the result.  The response
to a repeated request is built again from that result.  (draft-ietf-httpapi-idempotency-key-header)

Orders are placed in batches: `find` looks up their keys and `insert_statement` stores them.  Other
requests are processed one at a time.  They claim the key first and record the result later:

    result_id = await idempotency.claim(conn, key, request_hash, now=now)
    if result_id is None:
        book = await books.create(conn, ...)
        await idempotency.record_result(conn, key, book.id)
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import LOCK_WAIT_TIMEOUT
from bookstore.database.statements import Bulk, BulkQuery, Statement
from bookstore.database.tables import idempotency_keys
from bookstore.errors import IdempotencyKeyReused, RequestInProgress

#: How long a repeated request is recognised.
RETENTION = timedelta(days=30)


class Key(NamedTuple):
    """An idempotency key of one client.  `owner` separates the keys of different clients."""

    owner: str
    key: str


class KeyUse(NamedTuple):
    """The request that used a key, and the order that it placed."""

    request_hash: str
    order_id: int


_FIND = BulkQuery(
    "owner VARCHAR(50), key_text VARCHAR(255)",
    "k.owner, k.`key`, k.request_hash, k.order_id",
    """
    FROM {rows} AS v
    {join} idempotency_keys AS k ON k.owner = v.owner AND k.`key` = v.key_text
    """,
)
_ADD = Bulk(
    "owner VARCHAR(50), key_text VARCHAR(255), request_hash CHAR(64), order_id BIGINT",
    """
    INSERT INTO idempotency_keys (owner, `key`, request_hash, order_id, created_at)
    SELECT v.owner, v.key_text, v.request_hash, v.order_id, :now FROM {rows} AS v
    """,
)


def user_owner(user_id: int) -> str:
    """The `owner` of a signed-in user's keys."""
    return f"user:{user_id}"


def cart_owner(cart_id: int) -> str:
    """The `owner` of a guest's keys.  A guest is identified only by the cart."""
    return f"cart:{cart_id}"


def hash_request(request: Mapping[str, Any]) -> str:
    """A SHA-256 hash in 64 hexadecimal digits.  The order of the request's fields is ignored."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


async def find(conn: AsyncConnection, keys: Collection[Key]) -> dict[Key, KeyUse]:
    """The earlier uses of these keys.  Keys that were not used are missing from the result."""
    return parse_found(await _FIND(conn, keys))


def find_statement(keys: Collection[Key]) -> Statement:
    """The query of `find` as a statement to be batched.  Pass its rows to `parse_found`."""
    return _FIND.of(keys)


def parse_found(rows: Iterable[Sequence[Any]]) -> dict[Key, KeyUse]:
    """The key uses in the rows that `find_statement` returned."""
    return {
        Key(owner, key): KeyUse(request_hash, order_id)
        for owner, key, request_hash, order_id in rows
    }


def insert_statement(uses: Mapping[Key, KeyUse], *, now: datetime) -> Statement:
    """The statement that stores these key uses.  Run it in the transaction of the orders."""
    rows = [(*key, use.request_hash, use.order_id) for key, use in sorted(uses.items())]
    return _ADD.of(rows, now=now)


async def claim(conn: AsyncConnection, key: Key, request_hash: str, *, now: datetime) -> int | None:
    """Claim a key.  None if this request owns it now; else the result id of the earlier request.

    If another transaction is processing a request with the same key, this waits for it.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
        RequestInProgress: the first request with this key is still running.
    """
    query = select(idempotency_keys.c.request_hash, idempotency_keys.c.result_id).where(
        _matches(key)
    )
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        columns = {"owner": key.owner, "key": key.key, "request_hash": request_hash}
        try:
            await conn.execute(insert(idempotency_keys).values(**columns, created_at=now))
        except IntegrityError:
            found = (await conn.execute(query)).one()
        except OperationalError as error:
            if error.orig and error.orig.args[0] == LOCK_WAIT_TIMEOUT:
                raise RequestInProgress from error
            raise
        else:
            return None
    if found.request_hash != request_hash:
        raise IdempotencyKeyReused
    result_id: int = found.result_id
    return result_id


async def record_result(conn: AsyncConnection, key: Key, result_id: int) -> None:
    """Store the id of the created object.  The key must have been claimed in this transaction."""
    await conn.execute(update(idempotency_keys).where(_matches(key)).values(result_id=result_id))


async def transfer(conn: AsyncConnection, before: str, after: str) -> None:
    """Change the owner of keys from `before` to `after`, as when a guest signs in.

    The new owner can then repeat the earlier requests.  Keys that `after` has already used are not
    transferred.
    """
    owner = idempotency_keys.c.owner
    query = select(owner, idempotency_keys.c.key).where(
        or_(owner == before, owner.startswith(f"{before} "))
    )
    for row in (await conn.execute(query)).all():
        new_key = Key(after + row.owner.removeprefix(before), row.key)
        if await conn.scalar(select(literal(1)).where(_matches(new_key))) is None:
            await conn.execute(
                update(idempotency_keys).where(_matches(Key(*row))).values(owner=new_key.owner)
            )


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete keys older than `RETENTION`.  Returns how many were deleted."""
    deleted = await conn.execute(
        delete(idempotency_keys).where(idempotency_keys.c.created_at < now - RETENTION)
    )
    return deleted.rowcount


def _matches(key: Key) -> ColumnElement[bool]:
    return (idempotency_keys.c.owner == key.owner) & (idempotency_keys.c.key == key.key)
