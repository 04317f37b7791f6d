"""Files in chunks: written and read chunk by chunk, visible once they are complete."""

import hashlib
import io
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from bookstore.database import file_store
from bookstore.database.engine import reading, transaction
from bookstore.database.file_store import CHUNK_BYTES
from bookstore.database.tables import file_chunks
from bookstore.database.tables import files as rows
from bookstore.errors import NotFound, TooLarge
from tests.factories import NOON, add_user

LATER = NOON + timedelta(days=2)
METADATA = {"name": "books.csv", "media_type": "text/csv", "kind": "import", "now": NOON}


async def stream(content, step):
    for start in range(0, len(content), step):
        yield content[start : start + step]


async def broken_stream(content):
    yield content
    raise ConnectionResetError


async def count(engine, table):
    async with reading(engine) as conn:
        return await conn.scalar(select(func.count()).select_from(table))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9 * CHUNK_BYTES + 7])
@pytest.mark.parametrize("step", [1000, 3 * CHUNK_BYTES])
async def test_a_file_is_read_as_it_was_written(engine, size, step):
    content = bytes(number * 7 % 256 for number in range(1000)) * (size // 1000 + 1)
    content = content[:size]

    file = await file_store.store(engine, stream(content, step), **METADATA)

    assert (file.size, file.sha256) == (size, hashlib.sha256(content).hexdigest())
    found = [chunk async for chunk in file_store.chunks(engine, file.id)]
    assert b"".join(found) == content
    assert all(len(chunk) == CHUNK_BYTES for chunk in found[:-1])
    on_disk = io.BytesIO()
    await file_store.fetch(engine, file.id, on_disk)
    assert on_disk.read() == content


async def test_a_small_file_is_added_in_the_callers_transaction(conn):
    owner_id = await add_user(conn)

    file = await file_store.add(conn, b"\x00\xff'picture", owner_id=owner_id, **METADATA)

    assert await file_store.content(conn, file.id) == b"\x00\xff'picture"
    assert (await file_store.get(conn, file.id)).owner_id == owner_id


async def test_a_file_that_is_too_large_leaves_nothing(engine):
    with pytest.raises(TooLarge):
        await file_store.store(
            engine, stream(b"x" * 5 * CHUNK_BYTES, 5000), max_bytes=CHUNK_BYTES, **METADATA
        )

    assert await count(engine, rows) == await count(engine, file_chunks) == 0


async def test_an_upload_that_breaks_off_leaves_nothing(engine):
    with pytest.raises(ConnectionResetError):
        await file_store.store(engine, broken_stream(b"x" * 5 * CHUNK_BYTES), **METADATA)

    assert await count(engine, rows) == await count(engine, file_chunks) == 0


async def test_an_incomplete_file_is_not_found_and_is_purged(engine):
    file = await file_store.store(engine, stream(b"abc", 1), **METADATA)
    async with transaction(engine) as conn:  # As after a crash during the upload.
        await conn.execute(rows.update().values(sha256=None, expires_at=NOON + timedelta(days=1)))

    with pytest.raises(NotFound):
        await anext(file_store.chunks(engine, file.id))
    async with transaction(engine) as conn:
        assert await file_store.purge(conn, now=NOON) == 0
        assert await file_store.purge(conn, now=LATER) == 1

    assert await count(engine, file_chunks) == 0


async def test_reading_a_file_fails_if_it_is_removed_meanwhile(engine):
    file = await file_store.store(engine, stream(b"x" * 2 * CHUNK_BYTES, 99999), **METADATA)
    reader = file_store.chunks(engine, file.id)
    await anext(reader)

    async with transaction(engine) as conn:
        await file_store.remove(conn, [file.id, file.id + 1])

    with pytest.raises(NotFound):
        await anext(reader)
