"""The real application on a real database, and clients who visit it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher

from bookstore.database.engine import transaction
from bookstore.users import passwords
from bookstore.users.permissions import Role
from config.settings import Settings
from tests import planted
from tests.factories import add_user
from web.app import make_app
from web.server.keys import ENGINE

PASSWORD = planted.CUSTOMER

Visitor = TestClient
NewVisitor = Callable[..., Awaitable[Visitor]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of a store whose broker is away, so that nobody works on anything."""
    return replace(settings, broker_url="amqp://127.0.0.1:1")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[TestServer]:
    """The application, serving."""
    server = TestServer(await make_app(settings))
    # As in production: who asked for what is nobody's business.
    await server.start_server(access_log=None)
    yield server
    await server.close()


@pytest.fixture(scope="session")
def password_hash() -> str:
    """What the database keeps of `PASSWORD`; dear, so all who have it share one."""
    return PasswordHasher.from_parameters(passwords.PARAMETERS).hash(PASSWORD)


@pytest.fixture
async def visitor(server: TestServer, password_hash: str) -> AsyncIterator[NewVisitor]:
    """Makes browsers: of a guest, or of somebody who is signed in with this role."""
    clients: list[Visitor] = []

    async def new(role: Role | None = None, email: str | None = None) -> Visitor:
        client = TestClient(server)
        clients.append(client)
        if role is not None:
            email = email or f"{role}-{len(clients)}@example.com"
            async with transaction(server.app[ENGINE]) as conn:
                await add_user(conn, email=email, role=role, password_hash=password_hash)
            answer = await client.post(
                "/api/v1/session", json={"email": email, "password": PASSWORD}
            )
            assert answer.status == 200
        return client

    yield new
    for client in clients:
        await client.close()


@pytest.fixture
async def client(visitor: NewVisitor) -> Visitor:
    """A guest's browser."""
    return await visitor()
