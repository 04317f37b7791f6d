"""What a guest asks again within a second is sent as it was."""

import asyncio
import re

import pytest

from bookstore.catalogue import books
from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import NOON, create_book
from web.cache.guest_cache import CACHE_S
from web.cache.response_bytes import GRACE_S
from web.monitoring.metrics import METRICS
from web.server.keys import ENGINE

OWN = {"X-Request-ID", "Date", "RateLimit"}


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await create_book(conn, title="Dune", price_cents=1290)


def shared(answer):
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def cents(price):
    """A price as the API has it: the number alone may be somebody's id."""
    return f'"price_cents":{price}'


@pytest.mark.parametrize("path", ["/api/v1/books", "/api/v1/books/{id}", "/books", "/books/{id}"])
async def test_the_second_answer_is_the_first_with_an_id_of_its_own(client, server, book, path):
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


async def test_who_is_known_or_asks_otherwise_is_answered_afresh(visitor, client, book):
    path = f"/books/{book.id}"
    await client.get(path)
    other = await visitor(Role.CUSTOMER)

    mine = await (await other.get(path)).text()
    small = await client.get(path, headers={"Accept-Encoding": "identity"})
    known = await client.get(path, headers={"If-None-Match": small.headers["ETag"]})
    head = await client.head(path)

    assert "Sign in" not in mine
    assert "Content-Encoding" not in small.headers
    assert known.status == 304
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


async def test_a_connection_goes_on_after_it(client, book):
    path = f"/api/v1/books/{book.id}"
    answers = [await (await client.get(path)).json() for _ in range(5)]

    assert answers == [answers[0]] * 5
    assert (await client.get("/api/v1/nowhere")).status == 404


async def test_nobody_but_the_first_waits_for_the_next_answer(client, server, book):
    engine, path = server.app[ENGINE], f"/books/{book.id}"
    if engine.dialect.name == "sqlite":
        pytest.skip("its readers wait for nobody")
    before = await (await client.get(path)).read()
    await asyncio.sleep(CACHE_S)

    async with transaction(engine) as conn:
        await conn.exec_driver_sql("LOCK TABLES books WRITE")
        first = asyncio.ensure_future(client.get(path))
        await asyncio.sleep(GRACE_S / 5)
        others = [await (await client.get(path)).read() for _ in range(3)]
        assert not first.done()
        await conn.exec_driver_sql("UNLOCK TABLES")

    assert others == [before] * 3
    assert (await first).status == 200
