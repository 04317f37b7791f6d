"""Database connections: engines, transactions, retries and migrations."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from random import uniform
from typing import Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pymysql.err import MySQLError
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import await_only

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: For 32 transactions, as many as a process admits requests at once, and 16 reads.  With fewer
#: connections, new requests overtake those that wait for one, and one request in a hundred waits
#: for a second.
CONNECTIONS = 48
#: The longest that a customer's request waits for the database; then the answer is a 503.
TIMEOUT_S = 2.0
#: A connection that was idle for longer is pinged before it is used.  The ping costs a round trip.
PING_AFTER_IDLE_S = 1.0
#: SQLite has one writer at a time, and waiting writers retry at growing intervals.
SQLITE_TIMEOUT_S = 6.0
#: MariaDB ends a transaction that sent no statement for the transaction timeout plus this many
#: seconds: its client must have disappeared.
IDLE_TRANSACTION_MARGIN_S = 2
LOCK_WAIT_TIMEOUT = 1205
#: MariaDB's error instead of a deadlock or lock wait timeout when the transaction waited for a
#: table's next AUTO_INCREMENT value (MDEV-33593).
AUTO_INCREMENT_READ_FAILED = 1467
#: Deadlock, lock wait timeout, snapshot conflict, NOWAIT refused (MySQL and MariaDB), and
#: SQLite's message when another writer did not finish in time.
RETRYABLE: frozenset[int | str] = frozenset(
    {1213, LOCK_WAIT_TIMEOUT, AUTO_INCREMENT_READ_FAILED, 1020, 3572, "database is locked"}
)
#: No connection, too many of them, connection lost (MySQL and MariaDB).
UNREACHABLE: frozenset[int | str] = frozenset({2002, 2003, 2006, 2013, 1040})
#: The database shuts down, refuses this connection or user for the moment, lost the connection,
#: ended the statement, or became read-only (MySQL and MariaDB).
REFUSING: frozenset[int | str] = frozenset(
    {1053, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1317, 1792, 1836, 1927, 1969, 3024}
)
#: No room or no memory is left (MySQL, MariaDB, SQLite).
FULL: frozenset[int | str] = frozenset(
    {3, 28, 1021, 1037, 1041, 1114, "database or disk is full", "disk I/O error"}
)
_READ_ONLY = {"attempt to write a readonly database", "unable to open database file"}
#: Errors that the same statement may not have later.  All others are faults of the program or of
#: its rights, which no retry mends.
TEMPORARY = UNREACHABLE | RETRYABLE | REFUSING | FULL | _READ_ONLY
#: How long a migration retries one statement, and the pause between attempts, in which other
#: transactions can continue.
MIGRATION_WAIT_S = 60
MIGRATION_PAUSE_S = 0.5
#: A table or a column does not exist (MariaDB, MySQL; SQLite has only a message).
MISSING_TABLE_OR_COLUMN: frozenset[int | str] = frozenset({1146, 1054})
_MISSING_PREFIXES = ("no such table: ", "no such column: ")
MAX_ATTEMPTS = 4
#: One transaction wins each race, so losing this many in a row is practically impossible.
MAX_RACES = 50


class Repeat(Exception):
    """The transaction lost a race: roll back and run it again immediately."""


def make_engine(
    url: str, *, connections: int = CONNECTIONS, timeout_s: float = TIMEOUT_S, lock_wait_s: int = 1
) -> AsyncEngine:
    """An engine for the event loop on which it is first used; it connects on first use.

    It opens at most `connections`: two thirds for transactions and one third for reads, but at
    least one for each.  SQLite needs fewer.
    `timeout_s` limits each whole transaction, including the wait for a connection.
    `lock_wait_s` limits each wait for a row that another transaction has locked.
    """
    reads = max(1, connections // 3)
    pool_size = max(1, connections - reads)
    if make_url(url).get_backend_name() == "sqlite":
        Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(
            url, pool_size=min(pool_size, 8), max_overflow=0, hide_parameters=True
        )
        timeout_s = max(timeout_s, SQLITE_TIMEOUT_S)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        reader = engine.execution_options(read_only=True)
        return engine.execution_options(timeout_s=timeout_s, reader=reader)

    def pool(size: int, isolation_level: IsolationLevel) -> AsyncEngine:
        engine = create_async_engine(
            make_url(url).update_query_dict({"charset": "utf8mb4"}),
            pool_size=size,
            max_overflow=0,
            # Parameters may be personal data, so errors and logs show only the statement.
            hide_parameters=True,
            pool_timeout=timeout_s,
            # Reuse the connection that was used last, because it needs no ping.
            pool_use_lifo=True,
            # Every transaction ends before its connection returns to the pool.  An extra
            # ROLLBACK costs a round trip, and waits without a limit for a server that hangs.
            pool_reset_on_return=None,
            pool_recycle=1800,
            isolation_level=isolation_level,
            skip_autocommit_rollback=True,
            connect_args={
                "connect_timeout": 2,
                # MariaDB truncates the result of JSON_ARRAYAGG at group_concat_max_len bytes.
                "init_command": f"SET SESSION innodb_lock_wait_timeout={lock_wait_s},"
                " time_zone='+00:00', group_concat_max_len=67108864"
                # A host that lost its network or its power does not close its connections, and
                # its locks would stay for hours.  MySQL has no such setting and reads a comment.
                " /*M!100300 , idle_transaction_timeout="
                f"{ceil(timeout_s) + IDLE_TRANSACTION_MARGIN_S} */",
            },
        )
        event.listen(engine.sync_engine, "checkin", _record_idle_start)
        event.listen(engine.sync_engine, "checkout", _ping_idle)
        return engine

    engine = pool(pool_size, "READ COMMITTED")
    # Under READ COMMITTED every statement sees what is committed when it begins, so a transaction
    # around reads adds nothing but a round trip for its end.
    reader = pool(reads, "AUTOCOMMIT")
    event.listen(engine.sync_engine, "engine_disposed", lambda _: reader.sync_engine.dispose())
    return engine.execution_options(timeout_s=timeout_s, reader=reader)


def announcing(engine: AsyncEngine, announce: Callable[[list[Any]], None]) -> AsyncEngine:
    """The same pool; after each commit, `announce` is called with the tasks that it wrote.

    It must neither block nor raise.  The relay publishes tasks that it loses.
    """
    return engine.execution_options(announce=announce)


def notifying(engine: AsyncEngine, notify: Callable[[list[int]], object]) -> AsyncEngine:
    """The same pool; after each commit, `notify` is called with the ids of the orders that the
    transaction passed to `notify` below.

    It must neither block nor raise.  Watchers also poll once a second, so none is lost for good.
    """
    return engine.execution_options(notify=notify)


def notify(conn: AsyncConnection, order_ids: Iterable[int]) -> None:
    """Wake the watchers of these orders right after this transaction's commit."""
    assert conn.sync_connection is not None
    changed: list[int] = conn.sync_connection.get_execution_options().get("changed_orders", [])
    changed.extend(order_ids)


def connections_in_use(engine: AsyncEngine) -> int:
    """How many connections of the pool are in use."""
    pool = engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that may write: commits at the end of the block, rolls back when it raises.

    Raises:
        TimeoutError: it took longer than the engine's `timeout_s`.
    """
    options = engine.get_execution_options()
    new_tasks: list[Any] = []
    changed_orders: list[int] = []
    async with asyncio.timeout(options["timeout_s"]), engine.connect() as conn:
        await conn.execution_options(new_tasks=new_tasks, changed_orders=changed_orders)
        async with conn.begin():
            yield conn
    if new_tasks and "announce" in options:
        options["announce"](new_tasks)
    if changed_orders and "notify" in options:
        options["notify"](changed_orders)


def request_deadline(engine: AsyncEngine, *, waited_s: float = 0.0) -> asyncio.Timeout:
    """A timeout of the engine's `timeout_s` for a wait on transactions of other requests.

    `waited_s`, how long the request has already waited for the database, is subtracted.
    """
    return asyncio.timeout(engine.get_execution_options()["timeout_s"] - waited_s)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for statements that only read.

    On SQLite they do not wait for writers, and all see the same snapshot.
    """
    options = engine.get_execution_options()
    async with asyncio.timeout(options["timeout_s"]), options["reader"].connect() as conn:
        yield conn


async def retry_transaction(
    work: Callable[[], Awaitable[T]], errors: frozenset[int | str] = RETRYABLE
) -> T:
    """The result of `work`, which is run again from its start after a conflict with another
    transaction (one of `errors`).

    `work` must open every transaction itself.  After a lock wait timeout MariaDB has rolled back
    only the last statement, so the whole transaction must be repeated.
    """
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return await _check_not_stale(work)
        except DBAPIError as error:
            if _error_code(error) not in errors:
                raise
        await asyncio.sleep(uniform(0.005, 0.05) * attempt)  # noqa: S311 - only a pause
    return await _check_not_stale(work)


async def run_transaction(
    engine: AsyncEngine,
    service: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """The result of a service function in a transaction, which is retried after a conflict."""

    async def work() -> T:
        async with transaction(engine) as conn:
            return await service(conn, *args, **kwargs)

    return await retry_transaction(work)


async def retry_batch(
    work: Callable[[], Awaitable[Sequence[T]]], number: int
) -> Sequence[T | Exception]:
    """The results of `work` for a batch of `number` requests, retried as by `retry_transaction`.

    If the whole batch failed for a shared reason (the database is down), the same error is
    returned for every request instead of retrying them individually.
    """
    try:
        # Not after a lock wait timeout: the other requests must not wait for that row again.
        return await retry_transaction(work, RETRYABLE - {LOCK_WAIT_TIMEOUT})
    except Exception as error:
        if not is_outage(error):
            raise
        return [error] * number


async def _check_not_stale(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(MAX_RACES):
        try:
            return await work()
        except Repeat:
            log.debug("transaction lost a race, retrying")
    return await work()


def is_unavailable(error: BaseException) -> bool:
    """Whether the database or the broker could not be reached, or did not answer in time."""
    if isinstance(error, DBAPIError):
        # Drivers report a connection that they lost without a number.
        lost = isinstance(error, InterfaceError) or error.connection_invalidated
        return lost or _error_code(error) in TEMPORARY
    return isinstance(error, TimeoutError | OSError | PoolTimeoutError)


def cause_of(error: BaseException) -> str:
    """The kind of an error and, of the database, its number: for logs and health checks."""
    number = f" {_error_code(error)}" if isinstance(error, DBAPIError) else ""
    return f"{type(error).__name__}{number}"


def is_outage(error: BaseException) -> bool:
    """Whether the next statement will fail the same way, because the database is down or hangs.

    False for locked rows.
    """
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _error_code(error) in UNREACHABLE
    return isinstance(error, TimeoutError | OSError | PoolTimeoutError)


async def upgrade(engine: AsyncEngine) -> None:
    """Migrate the tables to the newest revision.

    Processes that start at the same time wait for each other.
    """
    async with engine.connect() as conn:
        if conn.dialect.name != "mysql":
            await conn.run_sync(_upgrade)
            await conn.commit()
            return
        await conn.execute(text("SET SESSION lock_wait_timeout = 1"))
        await conn.execute(
            text("SELECT GET_LOCK('bookstore.migrate', :wait_s)"), {"wait_s": MIGRATION_WAIT_S}
        )
        event.listen(engine.sync_engine, "do_execute", _execute_with_retry)
        try:
            await conn.run_sync(_upgrade)
            await conn.commit()
        finally:
            event.remove(engine.sync_engine, "do_execute", _execute_with_retry)
            # Closing the connection releases the lock and discards its short lock timeout.
            await conn.invalidate()


def is_outdated(error: DBAPIError) -> bool:
    """Whether the error means that the tables do not match this program."""
    reason = _error_code(error)
    return reason in MISSING_TABLE_OR_COLUMN or str(reason).startswith(_MISSING_PREFIXES)


async def revisions(conn: AsyncConnection) -> tuple[str | None, str | None]:
    """The revision of the database (None without tables), and the newest one of this program."""
    current = await conn.run_sync(
        lambda sync: MigrationContext.configure(sync).get_current_revision()
    )
    return current, ScriptDirectory.from_config(alembic_config()).get_current_head()


def known_migrations() -> set[str]:
    """All migration revisions of this program."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return {script.revision for script in scripts.walk_revisions()}


def alembic_config() -> Config:
    """An Alembic configuration that finds our migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    return config


def _upgrade(conn: Connection) -> None:
    current = MigrationContext.configure(conn).get_current_revision()
    if current is not None and current not in known_migrations():
        # After an upgrade the previous release must still start.
        log.warning("the tables are at revision %s, which is newer than this program", current)
        return
    config = alembic_config()
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def _execute_with_retry(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Run a migration's statement, and retry it while other transactions block it.

    ALTER TABLE blocks all access to a table while it waits for writers of the tables that refer
    to it, and these writers may wait for the same table.  InnoDB does not detect this deadlock.
    So each lock wait is short, and the other transactions proceed between attempts.  The retries
    go on for `MIGRATION_WAIT_S`, because DDL cannot be rolled back: a migration that stops
    halfway keeps the statements before.
    """
    deadline = time.monotonic() + MIGRATION_WAIT_S
    while True:
        try:
            cursor.execute(statement, parameters)
        except MySQLError as error:
            # Only this statement was rolled back.
            if error.args[0] != LOCK_WAIT_TIMEOUT or time.monotonic() > deadline:
                raise
            await_only(asyncio.sleep(MIGRATION_PAUSE_S))
        else:
            return True


def _error_code(error: DBAPIError) -> int | str | None:
    return error.orig.args[0] if error.orig and error.orig.args else None


def _record_idle_start(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _ping_idle(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Detect a connection that the server has closed before a request fails on it."""
    since = record.info.get("idle_since")
    if since is not None and time.monotonic() - since > PING_AFTER_IDLE_S:
        try:
            connection.ping()
        except Exception as error:  # On any error the pool opens a new connection.
            raise DisconnectionError from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin transactions itself, too late and as DEFERRED.
    connection.isolation_level = None
    # Built into SQLite only since 3.44 and 3.41; with them a query is the same on all databases.
    connection.create_function("concat", -1, lambda *parts: "".join(map(str, parts)))
    connection.create_function("unhex", 1, bytes.fromhex, deterministic=True)
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        # Erased data must not stay in the file's free pages; not every build sets this.
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    # Read-then-write in a deferred transaction loses updates or fails as "locked".
    read_only = conn.get_execution_options().get("read_only")
    conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
