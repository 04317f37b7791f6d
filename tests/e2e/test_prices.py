"""A price changed on one web process is seen by guests of all others."""

import asyncio
import re
import time

import aiohttp
import pytest

from bookstore.database import engine as db
from bookstore.users import passwords
from bookstore.users.permissions import Role
from tests.e2e.programs import ADMIN, Web
from tests.factories import add_user, create_book

#: The time until a changed price is on every page of every process, in seconds.
LIMIT_S = 2.0
#: The interval of requests, short enough that all but the first are answered from the cache.
EVERY_S = 0.05
BEFORE, AFTER = 1290, 4123
SHOWN = re.compile(r'"price_cents": ?(\d+)|€(\d+)\.(\d\d)')


@pytest.fixture(scope="module")
def webs(mariadb, rabbitmq):
    settings = {
        "BOOKSTORE_DATABASE_URL": mariadb.create_database("prices"),
        "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost("prices"),
        "BOOKSTORE_RATE_LIMITS": "off",
    }
    first, second = Web(settings), Web(settings)
    assert first.run("db", "upgrade").returncode == 0
    with first, second:
        yield first, second
    rabbitmq.delete_vhost("prices")


@pytest.fixture
async def book(webs):
    """The only book of the store, and an administrator who can change its price."""
    engine = db.make_engine(webs[0].settings["BOOKSTORE_DATABASE_URL"])
    kept = await passwords.hash(ADMIN["password"])
    async with db.transaction(engine) as conn:
        await add_user(conn, email=ADMIN["email"], role=Role.ADMIN, password_hash=kept)
        book = await create_book(conn, title="Dune", price_cents=BEFORE)
    await engine.dispose()
    return book


@pytest.fixture
async def guest():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as guest:
        yield guest


def prices(text):
    """The prices in an answer, in cents."""
    return {int("".join(filter(None, found))) for found in SHOWN.findall(text)}


async def watch(guest, url, seen):
    """Request the page until the new price is there; `seen` collects prices and times."""
    while not seen or AFTER not in seen[-1][0]:
        async with guest.get(url) as answer:
            assert answer.status == 200
            seen.append((prices(await answer.text()), time.monotonic()))
        await asyncio.sleep(EVERY_S)


async def change_price(web, book):
    """Change the price through the API; returns the time."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(f"{web.url}/api/v1/", cookie_jar=jar) as staff:
        answer = await staff.post("session", json=ADMIN)
        assert answer.status == 200, await answer.text()
        tag = (await staff.get(f"books/{book.id}")).headers["ETag"]
        answer = await staff.patch(
            f"books/{book.id}", json={"price_cents": AFTER}, headers={"If-Match": tag}
        )
        assert answer.status == 200, await answer.text()
    return time.monotonic()


async def test_a_changed_price_is_on_every_page_of_every_process_in_two_seconds(webs, book, guest):
    paths = ("/api/v1/books", f"/api/v1/books/{book.id}", "/books", f"/books/{book.id}")
    seen = {web.url + path: [] for web in webs for path in paths}
    watching = asyncio.gather(*(watch(guest, url, answers) for url, answers in seen.items()))
    await asyncio.sleep(1.2)  # Every answer is cached, and some are about to expire.

    changed_at = await change_price(webs[0], book)
    await asyncio.wait_for(watching, 30)

    waits = {url: answers[-1][1] - changed_at for url, answers in seen.items()}
    print({url: round(wait, 2) for url, wait in waits.items()})
    assert all(BEFORE in answers[0][0] for answers in seen.values())
    assert all(BEFORE not in answers[-1][0] for answers in seen.values())
    assert max(waits.values()) < LIMIT_S
