"""Fixtures: a browser without scripts, and a small store."""

import pytest

from bookstore.catalogue import categories
from bookstore.database.engine import transaction
from tests.factories import NOON, create_book
from tests.web.store.pages import Browser
from web.server.keys import ENGINE


@pytest.fixture
def database_url(sqlite_template, tmp_path):
    """SQLite only: the services that pages call are tested with both databases."""
    path = tmp_path / "bookstore.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def browser(client):
    return Browser(client)


@pytest.fixture
def new_book(server):
    """Returns a function that creates a book."""

    async def add(**facts):
        async with transaction(server.app[ENGINE]) as conn:
            return await create_book(conn, **facts)

    return add


@pytest.fixture
async def science_fiction(server):
    """The category Science Fiction."""
    async with transaction(server.app[ENGINE]) as conn:
        return await categories.create(conn, "Science Fiction", user_id=None, now=NOON)


@pytest.fixture
async def dune(new_book, science_fiction):
    return await new_book(
        title="Dune",
        authors=["Frank Herbert"],
        price_cents=1290,
        stock=5,
        year=1965,
        language="en",
        categories=[science_fiction.slug],
        description="A desert planet, <i>and</i> what it costs.",
    )
