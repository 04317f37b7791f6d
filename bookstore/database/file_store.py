"""Files: uploads, pictures, exports, kept in the database in chunks.

No process reads another machine's disk, so what one writes any other can read.  A file is
written and read chunk by chunk, whatever its size; it exists once all of it is there.
"""

import hashlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import file_chunks, files
from bookstore.errors import NotFound, TooLarge

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
#: So many chunks are committed at once: nobody waits for more than a megabyte.
_TOGETHER = 4
#: No list of books is larger; a catalogue of a million rows has about 200 MB.
MOST_BYTES = 256 * 1024 * 1024
NAME_LENGTH = 255
#: What is not all there after so long never will be.
_UNFINISHED = timedelta(days=1)
#: Files thrown away at once, so that a writer waits only a moment.
_PURGED = 10


@dataclass(frozen=True, slots=True)
class File:
    """A file that is all there; `kind` says what it is for, None of `expires_at` keeps it."""

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
    most: int = MOST_BYTES,
) -> File:
    """Keep a stream of pieces of any size, in transactions of its own: senders may be slow.

    When it breaks off, what was written is thrown away, or after a crash purged later.

    Raises:
        TooLarge: there are more than `most` bytes.
    """
    file_id = await retry_transaction(
        lambda: _begin(engine, name, media_type, kind, owner_id, now),
    )
    try:
        size, digest = await _write(engine, file_id, stream, most)
    except BaseException:
        await _abandon(engine, file_id)
        raise

    async def finish() -> File:
        async with transaction(engine) as conn:
            await conn.execute(
                update(files)
                .where(files.c.id == file_id)
                .values(size=size, sha256=digest, expires_at=expires_at)
            )
            return await get(conn, file_id)

    return await retry_transaction(finish)


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
    """Keep something small, a picture say, in the caller's transaction."""
    inserted = await conn.execute(
        insert(files).values(
            name=name[:NAME_LENGTH],
            media_type=media_type,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            kind=kind,
            owner_id=owner_id,
            created_at=now,
            expires_at=expires_at,
        )
    )
    file_id = inserted.lastrowid
    await _add_chunks(conn, file_id, 0, content)
    return await get(conn, file_id)


async def get(conn: AsyncConnection, file_id: int) -> File:
    """What is known of a file.

    Raises:
        NotFound: there is none, or it is not all there.
    """
    found = (
        await conn.execute(select(files).where(files.c.id == file_id, files.c.sha256.is_not(None)))
    ).one_or_none()
    if found is None:
        raise NotFound("This file")
    return File(**found._mapping)


async def names(conn: AsyncConnection, file_ids: Collection[int]) -> dict[int, str]:
    """What these files were called by those who sent them."""
    if not file_ids:
        return {}
    found = await conn.execute(select(files.c.id, files.c.name).where(files.c.id.in_(file_ids)))
    return {row.id: row.name for row in found}


async def content(conn: AsyncConnection, file_id: int) -> bytes:
    """All of a small file.

    Raises:
        NotFound: there is no such file.
    """
    await get(conn, file_id)
    found = await conn.scalars(
        select(file_chunks.c.content)
        .where(file_chunks.c.file_id == file_id)
        .order_by(file_chunks.c.position)
    )
    return b"".join(found)


async def chunks(engine: AsyncEngine, file_id: int) -> AsyncIterator[bytes]:
    """A file piece by piece, each read in a transaction of its own.

    Raises:
        NotFound: there is no such file, or it was removed meanwhile.
    """
    async with reading(engine) as conn:
        left = (await get(conn, file_id)).size
    position = 0
    while left > 0:
        async with reading(engine) as conn:
            chunk: bytes | None = await conn.scalar(
                select(file_chunks.c.content).where(
                    file_chunks.c.file_id == file_id, file_chunks.c.position == position
                )
            )
        if chunk is None:
            raise NotFound("This file")
        yield chunk
        position += 1
        left -= len(chunk)


async def fetch(engine: AsyncEngine, file_id: int, into: BinaryIO) -> None:
    """Write a file into one on this machine's disk, and go back to its start.

    Raises:
        NotFound: there is no such file.
    """
    async for chunk in chunks(engine, file_id):
        into.write(chunk)
    into.seek(0)


async def pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """A file on this machine's disk as the stream that `store` takes."""
    while piece := file.read(CHUNK_BYTES):
        yield piece


async def remove(conn: AsyncConnection, file_ids: Collection[int]) -> None:
    """Delete files; those that are gone already do not matter."""
    for file_id in sorted(file_ids):
        await conn.execute(delete(file_chunks).where(file_chunks.c.file_id == file_id))
        await conn.execute(delete(files).where(files.c.id == file_id))


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete some of the files whose time is over, also those that never were all there."""
    expired = await conn.scalars(
        select(files.c.id).where(files.c.expires_at < now).order_by(files.c.id).limit(_PURGED)
    )
    ids = list(expired)
    await remove(conn, ids)
    return len(ids)


async def _begin(
    engine: AsyncEngine,
    name: str,
    media_type: str,
    kind: str,
    owner_id: int | None,
    now: datetime,
) -> int:
    async with transaction(engine) as conn:
        inserted = await conn.execute(
            insert(files).values(
                name=name[:NAME_LENGTH],
                media_type=media_type,
                size=0,
                kind=kind,
                owner_id=owner_id,
                created_at=now,
                expires_at=now + _UNFINISHED,
            )
        )
        file_id: int = inserted.lastrowid
        return file_id


async def _write(
    engine: AsyncEngine, file_id: int, stream: AsyncIterable[bytes], most: int
) -> tuple[int, str]:
    """Write the chunks; gives how many bytes there were, and their SHA-256."""
    digest = hashlib.sha256()
    size, position, waiting = 0, 0, bytearray()

    async def flush(block: bytes) -> None:
        async def work() -> None:
            async with transaction(engine) as conn:
                await _add_chunks(conn, file_id, position, block)

        await retry_transaction(work)

    async for piece in stream:
        size += len(piece)
        if size > most:
            raise TooLarge(most)
        digest.update(piece)
        waiting += piece
        while len(waiting) >= _TOGETHER * CHUNK_BYTES:
            block = bytes(waiting[: _TOGETHER * CHUNK_BYTES])
            del waiting[: _TOGETHER * CHUNK_BYTES]
            await flush(block)
            position += _TOGETHER
    if waiting:
        await flush(bytes(waiting))
    return size, digest.hexdigest()


async def _add_chunks(conn: AsyncConnection, file_id: int, position: int, block: bytes) -> None:
    rows: list[dict[str, Any]] = [
        {"file_id": file_id, "position": position + place, "content": block[start:][:CHUNK_BYTES]}
        for place, start in enumerate(range(0, len(block), CHUNK_BYTES))
    ]
    for row in rows:
        # One by one: together they may be more than MariaDB takes in one packet.
        await conn.execute(insert(file_chunks).values(row))


async def _abandon(engine: AsyncEngine, file_id: int) -> None:
    """Best effort: whatever is left is purged when its time is over."""
    try:
        async with transaction(engine) as conn:
            await remove(conn, [file_id])
    except Exception:
        log.warning("a broken upload is left for the purge: file %d", file_id)
