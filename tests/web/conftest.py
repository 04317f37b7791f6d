"""The real application on a real database, and HTTP clients for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import transaction
from bookstore.users import passwords, sessions
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
    """The settings of a store without a reachable broker, so no worker processes tasks."""
    return replace(settings, broker_url="amqp://127.0.0.1:1")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[TestServer]:
    """The running application."""
    server = TestServer(await make_app(settings))
    # As in production: no access log, which would contain personal data.
    await server.start_server(access_log=None)
    yield server
    await server.close()


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of `PASSWORD`; computed once, because hashing is slow."""
    return PasswordHasher.from_parameters(passwords.PARAMETERS).hash(PASSWORD)


async def open_session(conn: AsyncConnection, user_id: int, role: Role) -> str:
    """The id of a new session like that of a sign-in, without the slow password check.

    Tests of sign-in, session lifetime or known devices must sign in over HTTP instead.
    """
    moment = datetime.now(UTC)
    return await sessions.make(
        conn,
        user_id=user_id,
        data={"role": role, "confirmed_at": int(moment.timestamp())},
        address="127.0.0.1",
        user_agent="",
        now=moment,
        lifetime=timedelta(hours=10),
    )


@pytest.fixture
async def visitor(server: TestServer, password_hash: str) -> AsyncIterator[NewVisitor]:
    """Creates clients: for a guest, or for a new user with this role who is signed in."""
    clients: list[Visitor] = []

    async def new(role: Role | None = None, email: str | None = None) -> Visitor:
        client = TestClient(server)
        clients.append(client)
        if role is not None:
            email = email or f"{role}-{len(clients)}@example.com"
            async with transaction(server.app[ENGINE]) as conn:
                user_id = await add_user(conn, email=email, role=role, password_hash=password_hash)
                session_id = await open_session(conn, user_id, role)
            client.session.cookie_jar.update_cookies({"sid": session_id}, server.make_url("/"))
        return client

    yield new
    for client in clients:
        await client.close()


@pytest.fixture
async def client(visitor: NewVisitor) -> Visitor:
    """The client of a guest."""
    return await visitor()
