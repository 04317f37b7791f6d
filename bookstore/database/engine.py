"""The one way we connect: engines, transactions, migrations."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from random import uniform
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pymysql.err import MySQLError
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import await_only

T = TypeVar("T")

log = logging.getLogger(__name__)

#: As many connections as requests are admitted at once: with fewer, those that wait are
#: overtaken by those that come, and one in a hundred waits for a second.
POOL_SIZE = 32
#: No customer waits longer for the database than this; then it is a 503.
TIMEOUT_S = 2.0
#: A connection that rested for longer is tried before it is used, which costs a trip.
REST_S = 1.0
#: SQLite has one writer at a time, and the others look again in ever longer intervals.
SQLITE_TIMEOUT_S = 6.0
#: A transaction that said nothing for so much longer than it may take as a whole has been left.
IDLE_S = 2
LOCK_WAIT_TIMEOUT = 1205
#: What MariaDB says instead of deadlock or lock wait timeout when the wait was for a table's
#: next AUTO_INCREMENT value (MDEV-33593).
NO_NEXT_VALUE = 1467
#: Deadlock, lock wait timeout, snapshot conflict, NOWAIT refused (MySQL and MariaDB), and
#: what SQLite says when its one writer did not finish in time.
RETRYABLE: frozenset[int | str] = frozenset(
    {1213, LOCK_WAIT_TIMEOUT, NO_NEXT_VALUE, 1020, 3572, "database is locked"}
)
#: No connection, too many of them, connection lost (MySQL and MariaDB).
UNREACHABLE: frozenset[int | str] = frozenset({2002, 2003, 2006, 2013, 1040})
#: A CHECK failed (MariaDB, MySQL), or there is no such column: the driver calls these
#: operational, and no wait mends them.
OUR_FAULT: frozenset[int | str] = frozenset({4025, 3819, 1054})
#: For how long a statement of a migration is tried, and the pause in which others go on.
MIGRATION_WAIT_S = 60
MIGRATION_PAUSE_S = 0.5
#: A table or a column is not there (MariaDB, MySQL; SQLite says it in words).
MISSING: frozenset[int | str] = frozenset({1146, 1054})
_MISSING = ("no such table: ", "no such column: ")
TRIES = 4
#: Somebody wins each race, so losing this many in a row is next to impossible.
RACES = 50


class Repeat(Exception):
    """The transaction lost a race: roll back and do the same again, at once."""


def make_engine(
    url: str, *, pool_size: int = POOL_SIZE, timeout_s: float = TIMEOUT_S, lock_wait_s: int = 1
) -> AsyncEngine:
    """An engine for the event loop it is first used on; it connects when used.

    `timeout_s` bounds each transaction as a whole, the wait for a connection included;
    `lock_wait_s` each wait for a row that another transaction has.
    """
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
            # Values are people's: an error names its statement only, in every log.
            hide_parameters=True,
            pool_timeout=timeout_s,
            # The one that was used last: it need not be tried first.
            pool_use_lifo=True,
            # Every transaction ends before its connection is given back.  To make sure with a
            # ROLLBACK costs a trip, and waits without a limit for a server that stands still.
            pool_reset_on_return=None,
            pool_recycle=1800,
            isolation_level=isolation_level,
            skip_autocommit_rollback=True,
            connect_args={
                "connect_timeout": 2,
                # MariaDB cuts off what JSON_ARRAYAGG gathers beyond the last of these.
                "init_command": f"SET SESSION innodb_lock_wait_timeout={lock_wait_s},"
                " time_zone='+00:00', group_concat_max_len=67108864"
                # A host that lost its network or its power says nothing more, and what it had
                # locked would stay locked for hours.  MySQL has no such thing and reads a comment.
                f" /*M!100300 , idle_transaction_timeout={ceil(timeout_s) + IDLE_S} */",
            },
        )
        event.listen(engine.sync_engine, "checkin", _note_rest)
        event.listen(engine.sync_engine, "checkout", _ping_rested)
        return engine

    engine = pool(pool_size, "READ COMMITTED")
    # Under READ COMMITTED every statement sees what is committed when it begins, so a
    # transaction of reads adds nothing to them but a trip for its end.
    reader = pool(max(1, pool_size // 2), "AUTOCOMMIT")
    event.listen(engine.sync_engine, "engine_disposed", lambda _: reader.sync_engine.dispose())
    return engine.execution_options(timeout_s=timeout_s, reader=reader)


def announcing(engine: AsyncEngine, announce: Callable[[list[Any]], None]) -> AsyncEngine:
    """The same pool; `announce` gets the tasks that a transaction wrote, once it is committed.

    It must neither block nor raise: what it loses, the relay offers again.
    """
    return engine.execution_options(announce=announce)


def notifying(engine: AsyncEngine, notify: Callable[[list[int]], object]) -> AsyncEngine:
    """The same pool; `tell` gets the ids of the orders to which something happened in a
    transaction, once it is committed.

    It must neither block nor raise: who watches looks once a second anyway.
    """
    return engine.execution_options(notify=notify)


def notify(conn: AsyncConnection, order_ids: Iterable[int]) -> None:
    """Have those who watch these orders woken right after this transaction's commit."""
    assert conn.sync_connection is not None
    happened: list[int] = conn.sync_connection.get_execution_options().get("happened", [])
    happened.extend(order_ids)


def connections_in_use(engine: AsyncEngine) -> int:
    """How many connections of the pool somebody has at this moment."""
    pool = engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that may write: committed at the end of the block, undone when it raises.

    Raises:
        TimeoutError: it took longer than the engine allows.
    """
    options = engine.get_execution_options()
    written: list[Any] = []
    happened: list[int] = []
    async with asyncio.timeout(options["timeout_s"]), engine.connect() as conn:
        await conn.execution_options(written=written, happened=happened)
        async with conn.begin():
            yield conn
    if written and "announce" in options:
        options["announce"](written)
    if happened and "notify" in options:
        options["notify"](happened)


def request_deadline(engine: AsyncEngine, *, waited_s: float = 0.0) -> asyncio.Timeout:
    """Bounds a wait for more than one's own transaction, as the engine's `timeout_s` bounds that.

    `waited_s`, what a customer has waited for the database before, counts.
    """
    return asyncio.timeout(engine.get_execution_options()["timeout_s"] - waited_s)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for statements that only read: on SQLite they wait for no writer, and see
    one moment together."""
    options = engine.get_execution_options()
    async with asyncio.timeout(options["timeout_s"]), options["reader"].connect() as conn:
        yield conn


async def retry_transaction(
    work: Callable[[], Awaitable[T]], errors: frozenset[int | str] = RETRYABLE
) -> T:
    """What `work` returns; run again from its start when transactions got into each other's way.

    Every transaction is opened inside `work`: after a lock wait timeout MariaDB has undone
    only the last statement, so nothing less than the whole may be repeated.
    """
    for attempt in range(1, TRIES):
        try:
            return await _unless_overtaken(work)
        except DBAPIError as error:
            if _reason(error) not in errors:
                raise
        await asyncio.sleep(uniform(0.005, 0.05) * attempt)  # noqa: S311 - only a pause
    return await _unless_overtaken(work)


async def retry_batch(
    work: Callable[[], Awaitable[Sequence[T]]], number: int
) -> Sequence[T | Exception]:
    """What `work` answers so many who wait for it together, run again as by `retry_transaction`.

    Of what is everybody's each gets the same error: one by one, each would meet it once more.
    """
    try:
        # Who waits for a row that another process has must not make the others wait again.
        return await retry_transaction(work, RETRYABLE - {LOCK_WAIT_TIMEOUT})
    except Exception as error:
        if not is_gone(error):
            raise
        return [error] * number


async def _unless_overtaken(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(RACES):
        try:
            return await work()
        except Repeat:
            log.debug("overtaken, once more")
    return await work()


def is_away(error: BaseException) -> bool:
    """Whether it says that the database or the broker could not be reached, or not in time."""
    if isinstance(error, DBAPIError):
        away = isinstance(error, OperationalError | InterfaceError)
        return error.connection_invalidated or (away and _reason(error) not in OUR_FAULT)
    return isinstance(error, TimeoutError | OSError | PoolTimeoutError)


def is_gone(error: BaseException) -> bool:
    """Whether whatever is asked next will meet the same: the database is not there, or stands
    still.  Not so when rows are locked."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _reason(error) in UNREACHABLE
    return isinstance(error, TimeoutError | OSError | PoolTimeoutError)


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the tables to the newest revision; processes that start together take turns."""
    async with engine.connect() as conn:
        if conn.dialect.name != "mysql":
            await conn.run_sync(_upgrade)
            await conn.commit()
            return
        await conn.execute(text("SET SESSION lock_wait_timeout = 1"))
        await conn.execute(
            text("SELECT GET_LOCK('bookstore.migrate', :wait_s)"), {"wait_s": MIGRATION_WAIT_S}
        )
        event.listen(engine.sync_engine, "do_execute", _execute_patiently)
        try:
            await conn.run_sync(_upgrade)
            await conn.commit()
        finally:
            event.remove(engine.sync_engine, "do_execute", _execute_patiently)
            # The lock goes with the connection, and nobody inherits its short waits.
            await conn.invalidate()


def is_outdated(error: DBAPIError) -> bool:
    """Whether it says that the tables are not those of this program."""
    reason = _reason(error)
    return reason in MISSING or str(reason).startswith(_MISSING)


async def revisions(conn: AsyncConnection) -> tuple[str | None, str | None]:
    """The revision that the database has, and the newest that this program knows."""
    current = await conn.run_sync(
        lambda sync: MigrationContext.configure(sync).get_current_revision()
    )
    return current, ScriptDirectory.from_config(alembic_config()).get_current_head()


def migrations_known() -> set[str]:
    """All revisions that this program knows."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return {script.revision for script in scripts.walk_revisions()}


def alembic_config() -> Config:
    """Where alembic finds our migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    return config


def _upgrade(conn: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def _execute_patiently(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Run a migration's statement, again and again while others are in its way.

    ALTER TABLE keeps everybody away from a table while it waits for those who write to the tables
    that refer to it, and these may wait for the very table: InnoDB does not see such a deadlock.
    So each wait is short, and in between they get through.  Never to give up in the middle:
    nothing undoes the statements before.
    """
    ends = time.monotonic() + MIGRATION_WAIT_S
    while True:
        try:
            cursor.execute(statement, parameters)
        except MySQLError as error:
            # The statement alone was undone.
            if error.args[0] != LOCK_WAIT_TIMEOUT or time.monotonic() > ends:
                raise
            await_only(asyncio.sleep(MIGRATION_PAUSE_S))
        else:
            return True


def _reason(error: DBAPIError) -> int | str | None:
    return error.orig.args[0] if error.orig and error.orig.args else None


def _note_rest(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["rests_since"] = time.monotonic()


def _ping_rested(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Find out that the server has hung up before it costs somebody their request."""
    since = record.info.get("rests_since")
    if since is not None and time.monotonic() - since > REST_S:
        try:
            connection.ping()
        except Exception as error:  # Whatever it says, the pool takes a new connection.
            raise DisconnectionError from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would open transactions of its own, too late and of the wrong kind.
    connection.isolation_level = None
    # SQLite learns these later (3.44, 3.41); with them a query reads the same on both.
    connection.create_function("concat", -1, lambda *parts: "".join(map(str, parts)))
    connection.create_function("unhex", 1, bytes.fromhex, deterministic=True)
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        # What was erased must not lie in the file's free pages; not every build has it on.
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    # Read-then-write under a deferred transaction loses updates or fails as "locked".
    read_only = conn.get_execution_options().get("read_only")
    conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
