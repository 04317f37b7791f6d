import asyncio

import pytest
from aiohttp import web

from bookstore.errors import NotFound
from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE
from web.cache.guest_cache import CACHE_TTL_S, MAX_ENTRIES, GuestCache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Handler:
    """Creates responses and counts them."""

    calls = 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0)
        return web.Response(text=str(self.calls), headers={"ETag": '"1"'})


async def test_concurrent_requests_share_one_response_a_second():
    clock, handler = Clock(), Handler()
    cache = GuestCache(clock)

    first = await asyncio.gather(*(cache.get_or_create("/", handler) for _ in range(9)))
    clock.now = CACHE_TTL_S
    later = await cache.get_or_create("/", handler)

    assert {response.text for response in first} == {"1"}
    assert len({id(response) for response in first}) == 9
    assert later.text == "2"
    assert later.headers["ETag"] == '"1"'


async def test_an_error_is_not_cached():
    cache, handler = GuestCache(), Handler()

    async def refuse():
        raise NotFound

    with pytest.raises(NotFound):
        await cache.get_or_create("/", refuse)

    assert (await cache.get_or_create("/", handler)).text == "1"


async def test_a_disconnected_client_does_not_affect_the_others():
    cache, handler = GuestCache(), Handler()
    cancelled = asyncio.create_task(cache.get_or_create("/", handler))
    other = asyncio.create_task(cache.get_or_create("/", handler))
    await asyncio.sleep(0)

    cancelled.cancel()

    assert (await other).text == "1"


async def test_the_number_of_entries_is_limited():
    cache, handler = GuestCache(Clock()), Handler()

    for number in range(MAX_ENTRIES + 1):
        await cache.get_or_create(f"/{number}", handler)
    await cache.get_or_create("/0", handler)

    assert handler.calls == MAX_ENTRIES + 2


async def test_staff_see_their_changes_immediately(visitor, client):
    editor = await visitor(Role.EDITOR)
    await client.get("/api/v1/books")
    await editor.get("/api/v1/books")
    await editor.post("/api/v1/books", json=DUNE)

    found = await (await editor.get("/api/v1/books")).json()

    assert len(found["items"]) == 1


async def test_a_cached_response_supports_conditional_requests(visitor, client):
    editor = await visitor(Role.EDITOR)
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    path = f"/api/v1/books/{book['id']}"
    tag = (await client.get(path)).headers["ETag"]

    again = await client.get(path, headers={"If-None-Match": tag})
    whole = await client.get(path)

    assert again.status == 304
    assert await whole.json() == book
    assert whole.headers["X-Request-ID"] != again.headers["X-Request-ID"]
