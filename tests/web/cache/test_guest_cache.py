import asyncio

import pytest
from aiohttp import web

from bookstore.errors import NotFound
from bookstore.users.permissions import Role
from tests.web.api.test_books import DUNE
from web.cache.guest_cache import CACHE_S, MOST, GuestCache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Kitchen:
    """Makes answers, and counts them."""

    made = 0

    async def __call__(self):
        self.made += 1
        await asyncio.sleep(0)
        return web.Response(text=str(self.made), headers={"ETag": '"1"'})


async def test_a_crowd_is_answered_with_one_answer_a_second():
    clock, kitchen = Clock(), Kitchen()
    kept = GuestCache(clock)

    first = await asyncio.gather(*(kept.answer("/", kitchen) for _ in range(9)))
    clock.now = CACHE_S
    later = await kept.answer("/", kitchen)

    assert {response.text for response in first} == {"1"}
    assert len({id(response) for response in first}) == 9
    assert later.text == "2"
    assert later.headers["ETag"] == '"1"'


async def test_a_refusal_is_not_kept():
    kept, kitchen = GuestCache(), Kitchen()

    async def refuse():
        raise NotFound

    with pytest.raises(NotFound):
        await kept.answer("/", refuse)

    assert (await kept.answer("/", kitchen)).text == "1"


async def test_whoever_goes_away_takes_nothing_from_the_others():
    kept, kitchen = GuestCache(), Kitchen()
    impatient = asyncio.create_task(kept.answer("/", kitchen))
    patient = asyncio.create_task(kept.answer("/", kitchen))
    await asyncio.sleep(0)

    impatient.cancel()

    assert (await patient).text == "1"


async def test_there_is_an_end_to_what_is_kept():
    kept, kitchen = GuestCache(Clock()), Kitchen()

    for number in range(MOST + 1):
        await kept.answer(f"/{number}", kitchen)
    await kept.answer("/0", kitchen)

    assert kitchen.made == MOST + 2


async def test_staff_see_their_own_changes_at_once(visitor, client):
    editor = await visitor(Role.EDITOR)
    await client.get("/api/v1/books")
    await editor.get("/api/v1/books")
    await editor.post("/api/v1/books", json=DUNE)

    found = await (await editor.get("/api/v1/books")).json()

    assert len(found["items"]) == 1


async def test_a_kept_answer_is_not_sent_twice_to_who_has_it(visitor, client):
    editor = await visitor(Role.EDITOR)
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    path = f"/api/v1/books/{book['id']}"
    tag = (await client.get(path)).headers["ETag"]

    again = await client.get(path, headers={"If-None-Match": tag})
    whole = await client.get(path)

    assert again.status == 304
    assert await whole.json() == book
    assert whole.headers["X-Request-ID"] != again.headers["X-Request-ID"]
