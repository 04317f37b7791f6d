"""Shared fixtures: real databases, a real broker, a mail server.

Servers start when a test first needs one. Under xdist (`make test`) the controller process starts
them for all workers at the beginning. RabbitMQ takes several seconds to start, and tests without
it run meanwhile.
"""

import asyncio
import gc
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import pymysql
import pytest
from aiohttp import web_app
from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database import engine as db
from config import log
from config.settings import Settings
from tests import planted
from tests.compiled import CompiledStatements, CompiledTemplates
from tests.guard import SERVERS, Guard
from tests.servers.mariadb import MariaDB, MariaDBServer
from tests.servers.process import Server, wait_until
from tests.servers.rabbitmq import RabbitMQ, RabbitMQServer
from tests.servers.smtp import SmtpSink

#: Transaction timeout: high, because a busy test machine must not look like an outage.
TIMEOUT_S = 20

#: Servers that all tests share, by their fixtures and markers: `-m "not mariadb"` starts none.
SHARED: dict[str, type[Server]] = {"mariadb": MariaDBServer, "rabbitmq": RabbitMQServer}
#: Files and tests that take seconds: walks over everything, random histories, large inputs.
#: `make test-fast` leaves them out.
SLOW = (
    "tests/actors/test_broker.py",
    "tests/actors/test_notifications.py::test_a_message_without_a_free_thread",
    "tests/actors/test_orders.py::test_a_slow_mail_server",
    "tests/admin/test_access.py::test_every_page_is_open",
    "tests/admin/test_all_lists.py",
    "tests/admin/test_damaged_documents.py",
    "tests/admin/test_forms.py",
    "tests/admin/test_list_state.py::test_no_page_has_links",
    "tests/admin/test_staff.py::test_hostile_text",
    "tests/admin/test_tasks_rabbitmq_away.py",
    "tests/admin/test_unknown_values.py",
    "tests/bookstore/catalogue/covers/test_uploaded.py::test_s28",
    "tests/bookstore/catalogue/test_category_index.py::test_a_category_list_contains",
    "tests/bookstore/cli/test_main.py::test_bash_completes",
    "tests/bookstore/exports/test_exporter.py::test_an_exported_list_is_imported_without_changes",
    "tests/bookstore/imports/onix/test_reader.py::test_a_record_without_an_end",
    "tests/bookstore/imports/test_csv_source.py::test_real_books",
    "tests/bookstore/imports/test_formats_real_files.py",
    "tests/bookstore/imports/test_xlsx_source.py::test_a_zip_bomb",
    "tests/bookstore/operations/test_invariants_histories.py",
    "tests/bookstore/orders/test_checkout.py::test_an_order_of_more_than_a_megabyte",
    "tests/bookstore/tasks/test_outbox_histories.py",
    "tests/bookstore/users/test_attempts.py::test_s06",
    "tests/test_faces.py::test_every_module_imports_alone",
    "tests/test_guard.py::test_a_run_with_leaking_tests_fails",
    "tests/test_recipes.py",
    "tests/web/api/test_examples.py::test_the_recorded_examples",
    "tests/web/api/test_lists.py::test_every",
    "tests/web/api/test_openapi.py::test_the_document_is_valid_openapi",
    "tests/web/auth/test_authorization.py::test_no_route_works",
    "tests/web/auth/test_authorization.py::test_the_policy_is_asked",
    "tests/web/auth/test_security_sessions.py::test_s03",
    "tests/web/server/test_permission_matrix.py",
    "tests/web/server/test_security_access.py::test_s20",
    "tests/web/server/test_security_pages.py::test_s22",
    "tests/web/server/test_security_pages.py::test_s23",
    "tests/web/server/test_security_transport.py",
    "tests/web/store/test_pseudo_locale.py",
)


#: Files of tests and servers are kept in memory if it has this much room, because databases wait
#: for the disk at each commit.  Some systems allow no programs in this folder; tests write some.
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 4 << 30


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Guard(), "guard")
    if "TMPDIR" not in os.environ and _fits_in_memory():
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_sessionstart(session: pytest.Session) -> None:
    # Settings of the developer's environment must not influence tests.
    for name in [name for name in os.environ if name.startswith("BOOKSTORE_")]:
        del os.environ[name]
    session.config.stash[SERVERS] = []
    if session.config.getoption("numprocesses", None):
        for name, server_class in SHARED.items():
            if f"not {name}" not in session.config.option.markexpr:
                _start(session.config, server_class())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the server ports to an xdist worker."""
    for server in node.config.stash[SERVERS]:
        if isinstance(server, MariaDBServer):
            node.workerinput["mariadb"] = (server.port,)
        elif isinstance(server, RabbitMQServer):
            node.workerinput["rabbitmq"] = (server.port, server.management_port)


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in config.stash.get(SERVERS, []):
        server.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in SHARED:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)
        # Tests that name MariaDB as their only database; the fixture marks only its own parameters.
        if (
            getattr(item, "callspec", None)
            and item.callspec.params.get("database_url") == "mariadb"
        ):
            item.add_marker("mariadb")
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
    # Those that need the broker last: it is the slowest server to start.
    items.sort(key=lambda item: item.get_closest_marker("rabbitmq") is not None)


def pytest_collection_finish() -> None:
    # Garbage collection took a tenth of the processor time: it searched all imported modules, and
    # did so after every 700 new objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def pytest_runtest_logfinish() -> None:
    # aiohttp caches the last 1,024 handlers, each with a reference to its application. Collecting
    # that garbage would stop this process, with all its clients, for seconds.
    web_app._cached_build_middleware.cache_clear()


def _fits_in_memory() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    disk = os.statvfs(MEMORY)
    return disk.f_bavail * disk.f_frsize >= MEMORY_BYTES and not disk.f_flag & os.ST_NOEXEC


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
    """An empty virtual host for this test only."""
    name = f"test-{_worker_name(pytestconfig)}"
    yield rabbitmq.create_vhost(name)
    rabbitmq.delete_vhost(name)


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """A mail server that stores e-mails and rejects those that the test configures."""
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all migrations, as a template to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _run(_migrate(f"sqlite+aiosqlite:///{path}"))
    planted.LEDGER.ignore(path.read_bytes())
    return path


@pytest.fixture(scope="session")
def mariadb_database(
    mariadb: MariaDB, pytestconfig: pytest.Config
) -> Iterator["pymysql.Connection[Any]"]:
    """A MariaDB database for this process, with all migrations."""
    name = f"test_{_worker_name(pytestconfig)}"
    _run(_migrate(mariadb.create_database(name)))
    with closing(mariadb.connect(name)) as conn:
        yield conn


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with empty tables: SQLite, then MariaDB."""
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
    """Share compiled templates between applications: compiling a page takes 0.1 s."""
    with pytest.MonkeyPatch.context() as patch:
        setup = partial(aiohttp_jinja2.setup, bytecode_cache=CompiledTemplates())
        patch.setattr(aiohttp_jinja2, "setup", setup)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_statements() -> Iterator[None]:
    """Share compiled SQL between engines: each engine would compile all its statements anew."""
    with pytest.MonkeyPatch.context() as patch:
        options = {"compiled_cache": CompiledStatements(2000)}
        make = partial(db.create_async_engine, execution_options=options)
        patch.setattr(db, "create_async_engine", make)
        yield


@pytest.fixture(scope="session", autouse=True)
def verified_passwords() -> Iterator[None]:
    """Verify each pair of hash and password once: it takes 0.03 s, and most users share theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PasswordHasher, "verify", cache(PasswordHasher.verify))
        yield


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """The settings of an embedded store that uses that database."""
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
        country="DE",
        shipping_cents=290,
        free_shipping_from_cents=4000,
        tax_basis_points=700,
    )
    planted.LEDGER.folder(tmp_path)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on empty tables, for code that opens its own transactions."""
    engine = db.make_engine(database_url, timeout_s=TIMEOUT_S)
    yield engine
    await engine.dispose()


@pytest.fixture
async def conn(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection whose transaction is rolled back after the test, for services."""
    async with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        await transaction.rollback()


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Returns the log entries since the start of the test, parsed from JSON."""
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
    # In a separate thread, because pytest-asyncio runs an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
