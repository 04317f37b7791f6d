"""Browsers without scripts in front of a small shop."""

import pytest

from bookstore.catalogue import categories
from bookstore.database.engine import transaction
from tests.factories import NOON, create_book
from tests.web.store.pages import Browser
from web.server.keys import ENGINE


@pytest.fixture
def database_url(sqlite_template, tmp_path):
    """Pages ask the services, which are tried on both databases; here one is enough."""
    path = tmp_path / "bookstore.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def browser(client):
    return Browser(client)


@pytest.fixture
def stand(server):
    """Puts a book on the shelf."""

    async def stand(**facts):
        async with transaction(server.app[ENGINE]) as conn:
            return await create_book(conn, **facts)

    return stand


@pytest.fixture
async def shelf(server):
    """A shelf for science fiction."""
    async with transaction(server.app[ENGINE]) as conn:
        return await categories.create(conn, "Science Fiction", user_id=None, now=NOON)


@pytest.fixture
async def dune(stand, shelf):
    return await stand(
        title="Dune",
        authors=["Frank Herbert"],
        price_cents=1290,
        stock=5,
        year=1965,
        language="en",
        categories=[shelf.slug],
        description="A desert planet, <i>and</i> what it costs.",
    )
