"""Identical requests of guests within a second get the cached bytes."""

import asyncio
import re

import pytest

from bookstore.catalogue import books
from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import NOON, create_book
from web.cache.guest_cache import CACHE_TTL_S
from web.cache.response_bytes import STALE_WHILE_REFRESHING_S
from web.monitoring.metrics import METRICS
from web.server.keys import ENGINE

PER_REQUEST = {"X-Request-ID", "Date", "RateLimit"}


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await create_book(conn, title="Dune", price_cents=1290)


def shared(answer):
    return {name: value for name, value in answer.headers.items() if name not in PER_REQUEST}


def cents(price):
    """A price in the API's JSON; the number alone could also be an id."""
    return f'"price_cents":{price}'


@pytest.mark.parametrize("path", ["/api/v1/books", "/api/v1/books/{id}", "/books", "/books/{id}"])
async def test_the_second_response_has_the_same_bytes_and_its_own_id(client, server, book, path):
    path = path.format(id=book.id)

    first = await client.get(path)
    second = await client.get(path, headers={"X-Request-ID": "mine"})

    assert await second.read() == await first.read()
    assert shared(second) == shared(first)
    assert "Content-Security-Policy" in second.headers
    assert second.headers["X-Request-ID"] == "mine" != first.headers["X-Request-ID"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", second.headers["Date"])
    counted = {
        sample.value
        for metric in server.app[METRICS].registry.collect()
        for sample in metric.samples
        if sample.name == "bookstore_http_requests_total"
    }
    assert counted == {2.0}


async def test_signed_in_or_different_requests_are_not_cached(visitor, client, book):
    path = f"/books/{book.id}"
    await client.get(path)
    other = await visitor(Role.CUSTOMER)

    mine = await (await other.get(path)).text()
    small = await client.get(path, headers={"Accept-Encoding": "identity"})
    conditional = await client.get(path, headers={"If-None-Match": small.headers["ETag"]})
    head = await client.head(path)

    assert "Sign in" not in mine
    assert "Content-Encoding" not in small.headers
    assert conditional.status == 304
    assert (head.status, await head.read()) == (200, b"")


async def test_a_changed_price_is_on_every_page_within_two_seconds(client, server, book):
    paths = ("/", "/books", f"/books/{book.id}", f"/api/v1/books/{book.id}", "/api/v1/books")
    for path in paths * 2:
        assert "12.90" in (text := await (await client.get(path)).text()) or cents(1290) in text

    async with transaction(server.app[ENGINE]) as conn:
        await books.change(
            conn, book.id, book.version, {"price_cents": 1795}, user_id=None, now=NOON
        )
    await asyncio.sleep(1.5)

    for path in paths:
        text = await (await client.get(path)).text()
        assert "17.95" in text or cents(1795) in text, path
        assert "12.90" not in text
        assert cents(1290) not in text


async def test_the_connection_stays_usable(client, book):
    path = f"/api/v1/books/{book.id}"
    answers = [await (await client.get(path)).json() for _ in range(5)]

    assert answers == [answers[0]] * 5
    assert (await client.get("/api/v1/nowhere")).status == 404


async def test_only_the_first_request_waits_for_the_refresh(client, server, book):
    engine, path = server.app[ENGINE], f"/books/{book.id}"
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite readers do not wait")
    before = await (await client.get(path)).read()
    await asyncio.sleep(CACHE_TTL_S)

    async with transaction(engine) as conn:
        await conn.exec_driver_sql("LOCK TABLES books WRITE")
        first = asyncio.ensure_future(client.get(path))
        await asyncio.sleep(STALE_WHILE_REFRESHING_S / 5)
        others = [await (await client.get(path)).read() for _ in range(3)]
        assert not first.done()
        await conn.exec_driver_sql("UNLOCK TABLES")

    assert others == [before] * 3
    assert (await first).status == 200
