"""Files (uploads, pictures, exports), stored in the database in chunks.

Processes on different machines share no disk, but all of them can read the database.  A file of
any size is written and read chunk by chunk.  It is visible once all of it has been written.
"""

import hashlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database.engine import reading, run_transaction, transaction
from bookstore.database.tables import file_chunks, files
from bookstore.errors import NotFound, TooLarge

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
#: Chunks written in one transaction (1 MiB), so that other writers wait only briefly.
_CHUNKS_PER_TRANSACTION = 4
#: The largest file.  A catalogue of a million rows has about 200 MB.
MAX_BYTES = 256 * 1024 * 1024
MAX_NAME_LENGTH = 255
#: A file that is still incomplete after this time is deleted by `purge`.
_UPLOAD_TIMEOUT = timedelta(days=1)
#: Files deleted in one transaction, so that other writers wait only briefly.
_PURGE_BATCH = 10


@dataclass(frozen=True, slots=True)
class File:
    """A complete file; `kind` says what it is for.  `expires_at` None means: never deleted."""

    id: int
    name: str
    media_type: str
    size: int
    sha256: str
    kind: str
    owner_id: int | None
    created_at: datetime
    expires_at: datetime | None


async def store(
    engine: AsyncEngine,
    stream: AsyncIterable[bytes],
    *,
    name: str,
    media_type: str,
    kind: str,
    owner_id: int | None = None,
    now: datetime,
    expires_at: datetime | None = None,
    max_bytes: int = MAX_BYTES,
) -> File:
    """Store a stream of pieces of any size.

    It uses its own short transactions, because a client may send slowly.  If the stream breaks
    off, the written part is deleted; after a crash `purge` deletes it later.

    Raises:
        TooLarge: there are more than `max_bytes` bytes.
    """
    facts = {"name": name, "media_type": media_type, "kind": kind, "owner_id": owner_id}
    incomplete = {"size": 0, "created_at": now, "expires_at": now + _UPLOAD_TIMEOUT}
    file_id = await run_transaction(engine, _insert, {**facts, **incomplete})
    try:
        size, digest = await _write(engine, file_id, stream, max_bytes)
    except BaseException:
        await _discard(engine, file_id)
        raise
    complete = {"size": size, "sha256": digest, "expires_at": expires_at}
    return await run_transaction(engine, _finish, file_id, complete)


async def add(
    conn: AsyncConnection,
    content: bytes,
    *,
    name: str,
    media_type: str,
    kind: str,
    owner_id: int | None = None,
    now: datetime,
    expires_at: datetime | None = None,
) -> File:
    """Store a small file, such as a picture, in the caller's transaction."""
    facts = {"name": name, "media_type": media_type, "kind": kind, "owner_id": owner_id}
    digest = hashlib.sha256(content).hexdigest()
    complete = {"size": len(content), "sha256": digest, "expires_at": expires_at}
    file_id = await _insert(conn, {**facts, **complete, "created_at": now})
    await _add_chunks(conn, file_id, 0, content)
    return await get(conn, file_id)


async def get(conn: AsyncConnection, file_id: int) -> File:
    """The metadata of a file.

    Raises:
        NotFound: the file does not exist or is incomplete.
    """
    query = select(files).where(files.c.id == file_id, files.c.sha256.is_not(None))
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This file")
    return File(**found._mapping)


async def names(conn: AsyncConnection, file_ids: Collection[int]) -> dict[int, str]:
    """The names of these files, as given by their senders, by id."""
    if not file_ids:
        return {}
    found = await conn.execute(select(files.c.id, files.c.name).where(files.c.id.in_(file_ids)))
    return {row.id: row.name for row in found}


async def content(conn: AsyncConnection, file_id: int) -> bytes:
    """The whole content of a small file.

    Raises:
        NotFound: the file does not exist or is incomplete.
    """
    await get(conn, file_id)
    found = await conn.scalars(
        select(file_chunks.c.content)
        .where(file_chunks.c.file_id == file_id)
        .order_by(file_chunks.c.position)
    )
    return b"".join(found)


async def chunks(engine: AsyncEngine, file_id: int) -> AsyncIterator[bytes]:
    """The content of a file chunk by chunk, each read in its own transaction.

    Raises:
        NotFound: the file does not exist or is incomplete, or was deleted during the reading.
    """
    async with reading(engine) as conn:
        remaining = (await get(conn, file_id)).size
    position = 0
    while remaining > 0:
        at = (file_chunks.c.file_id == file_id) & (file_chunks.c.position == position)
        async with reading(engine) as conn:
            chunk: bytes | None = await conn.scalar(select(file_chunks.c.content).where(at))
        if chunk is None:
            raise NotFound("This file")
        yield chunk
        position += 1
        remaining -= len(chunk)


async def fetch(engine: AsyncEngine, file_id: int, into: BinaryIO) -> None:
    """Copy a file into an open local file, and seek to its start.

    Raises:
        NotFound: the file does not exist or is incomplete.
    """
    async for chunk in chunks(engine, file_id):
        into.write(chunk)
    into.seek(0)


async def pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """A local file as a stream for `store`."""
    while piece := file.read(CHUNK_BYTES):
        yield piece


async def remove(conn: AsyncConnection, file_ids: Collection[int]) -> None:
    """Delete files; ids that do not exist are ignored."""
    for file_id in sorted(file_ids):
        await conn.execute(delete(file_chunks).where(file_chunks.c.file_id == file_id))
        await conn.execute(delete(files).where(files.c.id == file_id))


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete up to `_PURGE_BATCH` expired or abandoned files; returns how many."""
    expired = await conn.scalars(
        select(files.c.id).where(files.c.expires_at < now).order_by(files.c.id).limit(_PURGE_BATCH)
    )
    ids = list(expired)
    await remove(conn, ids)
    return len(ids)


async def _insert(conn: AsyncConnection, values: Mapping[str, Any]) -> int:
    name = values["name"][:MAX_NAME_LENGTH]
    inserted = await conn.execute(insert(files).values({**values, "name": name}))
    file_id: int = inserted.lastrowid
    return file_id


async def _finish(conn: AsyncConnection, file_id: int, values: Mapping[str, Any]) -> File:
    await conn.execute(update(files).where(files.c.id == file_id).values(values))
    return await get(conn, file_id)


async def _write(
    engine: AsyncEngine, file_id: int, stream: AsyncIterable[bytes], max_bytes: int
) -> tuple[int, str]:
    """Write the chunks; returns the size in bytes and the SHA-256 of the content."""
    digest = hashlib.sha256()
    size, position, buffer = 0, 0, bytearray()
    async for piece in stream:
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(max_bytes)
        digest.update(piece)
        buffer += piece
        while len(buffer) >= _CHUNKS_PER_TRANSACTION * CHUNK_BYTES:
            block = bytes(buffer[: _CHUNKS_PER_TRANSACTION * CHUNK_BYTES])
            del buffer[: _CHUNKS_PER_TRANSACTION * CHUNK_BYTES]
            await run_transaction(engine, _add_chunks, file_id, position, block)
            position += _CHUNKS_PER_TRANSACTION
    if buffer:
        await run_transaction(engine, _add_chunks, file_id, position, bytes(buffer))
    return size, digest.hexdigest()


async def _add_chunks(conn: AsyncConnection, file_id: int, position: int, block: bytes) -> None:
    for number, start in enumerate(range(0, len(block), CHUNK_BYTES), start=position):
        row = {"file_id": file_id, "position": number, "content": block[start:][:CHUNK_BYTES]}
        # One INSERT for each chunk: all of them may exceed MariaDB's max_allowed_packet.
        await conn.execute(insert(file_chunks).values(row))


async def _discard(engine: AsyncEngine, file_id: int) -> None:
    """Delete an incomplete file, best effort: `purge` deletes it later otherwise."""
    try:
        async with transaction(engine) as conn:
            await remove(conn, [file_id])
    except Exception:
        log.warning("incomplete upload left for the purge: file %d", file_id)
