"""What tests stand on: real databases, a real broker, a mailbox.

Servers are started when a test first asks for one.  Under xdist (`make test`) the process
that hands the tests out starts them for all, at once: RabbitMQ takes its seconds while the
tests that do without it run.
"""

import asyncio
import io
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import pymysql
import pytest
from aiohttp import web_app
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database import engine as db
from config import log
from config.settings import Settings
from tests import planted
from tests.guard import SERVERS, Guard
from tests.servers.mariadb import MariaDB, MariaDBServer
from tests.servers.process import Server, wait_until
from tests.servers.rabbitmq import RabbitMQ, RabbitMQServer
from tests.servers.smtp import SmtpSink
from tests.templates import Compiled

#: Of a transaction: a machine that is busy with other tests is no outage.
TIMEOUT_S = 20


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Guard(), "guard")


def pytest_sessionstart(session: pytest.Session) -> None:
    # Nobody's own settings decide how a test ends.
    for name in [name for name in os.environ if name.startswith("BOOKSTORE_")]:
        del os.environ[name]
    session.config.stash[SERVERS] = []
    if session.config.getoption("numprocesses", None):
        session.config.stash[SERVERS] = [MariaDBServer(), RabbitMQServer()]
        for server in session.config.stash[SERVERS]:
            server.start()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of xdist where the servers are."""
    mariadb, rabbitmq = node.config.stash[SERVERS]
    node.workerinput["mariadb"] = (mariadb.port,)
    node.workerinput["rabbitmq"] = (rabbitmq.port, rabbitmq.management_port)


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in config.stash.get(SERVERS, []):
        server.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Those that need the broker last: it is the slowest to start.
    items.sort(key=lambda item: "rabbitmq" in getattr(item, "fixturenames", ()))


def pytest_runtest_logfinish() -> None:
    # aiohttp remembers the last 1,024 handlers, and with each its whole application: a collection
    # of that garbage would stop this process, and every client in it, for seconds.
    web_app._cached_build_middleware.cache_clear()


def _worker_name(config: pytest.Config) -> str:
    return str(getattr(config, "workerinput", {}).get("workerid", "main"))


def _start(config: pytest.Config, server: Server) -> None:
    config.stash[SERVERS].append(server)
    server.start()


@pytest.fixture(scope="session")
def mariadb(pytestconfig: pytest.Config) -> MariaDB:
    """The MariaDB that all tests share; do not stop it, start a `MariaDBServer` of your own."""
    shared = getattr(pytestconfig, "workerinput", {}).get("mariadb")
    if shared:
        client = MariaDB(*shared)
    else:
        server = MariaDBServer()
        _start(pytestconfig, server)
        client = server.client
    wait_until(client.answers)
    return client


@pytest.fixture(scope="session")
def rabbitmq(pytestconfig: pytest.Config) -> RabbitMQ:
    """The RabbitMQ that all tests share; do not stop it, start a `RabbitMQServer` of your own."""
    shared = getattr(pytestconfig, "workerinput", {}).get("rabbitmq")
    if shared:
        client = RabbitMQ(*shared)
    else:
        server = RabbitMQServer()
        _start(pytestconfig, server)
        client = server.client
    wait_until(client.answers)
    return client


@pytest.fixture
def broker_url(rabbitmq: RabbitMQ, pytestconfig: pytest.Config) -> Iterator[str]:
    """A virtual host for this test alone, empty."""
    name = f"test-{_worker_name(pytestconfig)}"
    yield rabbitmq.create_vhost(name)
    rabbitmq.delete_vhost(name)


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """A mail server that keeps what it gets and refuses what it is told to."""
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all migrations, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _run(_migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def mariadb_database(
    mariadb: MariaDB, pytestconfig: pytest.Config
) -> Iterator["pymysql.Connection[Any]"]:
    """A database of this process with all migrations."""
    name = f"test_{_worker_name(pytestconfig)}"
    _run(_migrate(mariadb.create_database(name)))
    with closing(mariadb.connect(name)) as conn:
        yield conn


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with all tables, every one empty: on SQLite, then on MariaDB."""
    if request.param == "sqlite":
        path = tmp_path / "bookstore.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite+aiosqlite:///{path}"
    conn = request.getfixturevalue("mariadb_database")
    server: MariaDB = request.getfixturevalue("mariadb")
    server.empty(conn)
    return server.url(f"test_{_worker_name(request.config)}")


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    """Applications share their compiled templates: a page's take a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        setup = partial(aiohttp_jinja2.setup, bytecode_cache=Compiled())
        patch.setattr(aiohttp_jinja2, "setup", setup)
        yield


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """The settings of an embedded store on that database."""
    yield Settings(
        env="development",
        var_dir=tmp_path,
        database_url=database_url,
        database_timeout_s=TIMEOUT_S,
        broker_url="memory:",
        smtp_url=f"file:{tmp_path}/mail",
        secret_key=planted.SECRET_KEY,
        base_url="http://127.0.0.1:8080",
        host="127.0.0.1",
        port=0,
        queue_type="classic",
        trusted_proxies=(),
        rate_limits=False,
        broker_admin_url=None,
        admin_email=None,
        admin_password=None,
        store_name="Ampersand Books",
        mail_from="Ampersand Books <orders@example.com>",
        currency="EUR",
        shipping_cents=290,
        free_shipping_from_cents=4000,
        tax_basis_points=700,
    )
    planted.LEDGER.folder(tmp_path)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on empty tables: for code that opens transactions itself."""
    engine = db.make_engine(database_url, timeout_s=TIMEOUT_S)
    yield engine
    await engine.dispose()


@pytest.fixture
async def conn(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection whose transaction is thrown away after the test: for services."""
    async with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        await transaction.rollback()


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What our own log says from here on, read as machines read it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.formatter(pretty=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.setLevel(level)
    root.removeHandler(handler)


async def _migrate(url: str) -> None:
    engine = db.make_engine(url, timeout_s=60)
    await db.upgrade(engine)
    await engine.dispose()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # In a thread, because pytest-asyncio has a loop of its own in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
