"""A request that is sent twice is done once.

The key lies in the transaction of what it made, with a hash of the request; the answer to a
repeat is made anew from that.  (draft-ietf-httpapi-idempotency-key-header)

Orders are placed by the list: their keys are looked up with `find` and written by `keeping`.
Everything else is made one by one, and is claimed first and settled when it is there:

    result_id = await idempotency.claim(conn, key, request_hash, now=now)
    if result_id is None:
        book = await books.create(conn, ...)
        await idempotency.settle(conn, key, book.id)
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

#: How long a repeat is recognised.
RETENTION = timedelta(days=30)


class Key(NamedTuple):
    """A key of a caller: `owner` keeps callers from meeting each other's keys."""

    owner: str
    key: str


class Use(NamedTuple):
    """What a key was used for."""

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


def of_user(user_id: int) -> str:
    """Whose the keys of a user are."""
    return f"user:{user_id}"


def of_cart(cart_id: int) -> str:
    """Whose the keys of a guest are: they have nothing but their cart."""
    return f"cart:{cart_id}"


def hash_of(request: Mapping[str, Any]) -> str:
    """The same 64 hexadecimal digits for the same request, however its fields were ordered."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


async def find(conn: AsyncConnection, keys: Collection[Key]) -> dict[Key, Use]:
    """What these keys were used for already."""
    return used(await _FIND(conn, keys))


def finding(keys: Collection[Key]) -> Statement:
    """The same as a query for `ask`, whose answer is for `used`."""
    return _FIND.of(keys)


def used(found: Iterable[Sequence[Any]]) -> dict[Key, Use]:
    """What the keys that were found were used for."""
    return {
        Key(owner, key): Use(request_hash, order_id) for owner, key, request_hash, order_id in found
    }


def keeping(uses: Mapping[Key, Use], *, now: datetime) -> Statement:
    """Remembers what these keys were used for: for the transaction that does it."""
    rows = [(*key, use.request_hash, use.order_id) for key, use in sorted(uses.items())]
    return _ADD.of(rows, now=now)


async def claim(conn: AsyncConnection, key: Key, request_hash: str, *, now: datetime) -> int | None:
    """The id of what an earlier request with this key made; None when the key is ours now.

    A request with the same key that is under way in another transaction is waited for.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
        RequestInProgress: the first request with this key is still running.
    """
    asked = select(idempotency_keys.c.request_hash, idempotency_keys.c.result_id).where(_is(key))
    found = (await conn.execute(asked)).one_or_none()
    if found is None:
        ours = {"owner": key.owner, "key": key.key, "request_hash": request_hash}
        try:
            await conn.execute(insert(idempotency_keys).values(**ours, created_at=now))
        except IntegrityError:
            found = (await conn.execute(asked)).one()
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


async def settle(conn: AsyncConnection, key: Key, result_id: int) -> None:
    """Remember what the request with this key, claimed in this transaction, has made."""
    await conn.execute(update(idempotency_keys).where(_is(key)).values(result_id=result_id))


async def hand_over(conn: AsyncConnection, before: str, after: str) -> None:
    """Let `after`, who was `before` until now, repeat what was done: the keys become theirs.

    Those that `after` has used for something else stay where they are.
    """
    owner = idempotency_keys.c.owner
    asked = select(owner, idempotency_keys.c.key).where(
        or_(owner == before, owner.startswith(f"{before} "))
    )
    for row in (await conn.execute(asked)).all():
        mine = Key(after + row.owner.removeprefix(before), row.key)
        if await conn.scalar(select(literal(1)).where(_is(mine))) is None:
            await conn.execute(
                update(idempotency_keys).where(_is(Key(*row))).values(owner=mine.owner)
            )


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Forget keys that are too old to be repeated; the number of them."""
    gone = await conn.execute(
        delete(idempotency_keys).where(idempotency_keys.c.created_at < now - RETENTION)
    )
    return gone.rowcount


def _is(key: Key) -> ColumnElement[bool]:
    return (idempotency_keys.c.owner == key.owner) & (idempotency_keys.c.key == key.key)
