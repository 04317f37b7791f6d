"""What has to be right before a program starts, and what endangers data though it runs."""

import asyncio
import logging

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import make_engine, migrations_known, reading, revisions
from bookstore.operations import db_grants
from config.settings import Settings

log = logging.getLogger(__name__)

#: A database that is away does not keep a program from starting: it is there before it.
LIMIT_S = 5.0
#: MariaDB and MySQL from these on have what our statements need.
OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}


class NotReady(Exception):
    """The program cannot work on these tables."""


async def examine(settings: Settings) -> list[str]:
    """What an operator should know, a sentence each; nothing while the database is away.

    Raises:
        NotReady: the tables are older than this program.
    """
    found = _of_settings(settings)
    engine = make_engine(settings.database_url, pool_size=1, timeout_s=LIMIT_S)
    try:
        async with reading(engine) as conn:
            current, newest = await revisions(conn)
            if current != newest and (current is None or current in migrations_known()):
                raise NotReady(
                    f"The tables are at {current or 'no'} revision, this program needs {newest}: "
                    "run `bookstore db upgrade` first."
                )
            if current != newest:
                found.append(f"The tables are at revision {current}, which is newer than this.")
            if engine.dialect.name == "mysql":
                found += await _of_mysql(conn)
                if settings.production and await db_grants.may_change_the_log(conn):
                    found.append(
                        "The account of the store could change the audit log: give it what "
                        "`bookstore db grants` says, and no more."
                    )
    except (DBAPIError, OSError, TimeoutError) as error:
        found.append(f"The database is away and was not looked at: {type(error).__name__}.")
    finally:
        await engine.dispose()
    return found


def start(settings: Settings) -> None:
    """Examine, and log what was found.

    Raises:
        NotReady: the tables are older than this program.
    """
    for warning in asyncio.run(examine(settings)):
        log.warning("%s", warning)


def _of_settings(settings: Settings) -> list[str]:
    found = []
    if len(settings.broker_urls) > 1 and settings.queue_type == "classic":
        found.append(
            "Classic queues live on one node of a cluster: set BOOKSTORE_QUEUE_TYPE=quorum."
        )
    if settings.production and settings.smtp_url.startswith("file:"):
        found.append("Letters are written to files: set BOOKSTORE_SMTP_URL.")
    if settings.production and settings.smtp_url.startswith("smtp:"):
        found.append("Letters are handed over in clear: use smtp+starttls: or smtps:.")
    return found


async def _of_mysql(conn: AsyncConnection) -> list[str]:
    names = "version", "innodb_flush_log_at_trx_commit", "innodb_doublewrite", "log_bin", "sql_mode"
    row = (await conn.execute(text("SELECT " + ", ".join(f"@@{name}" for name in names)))).one()
    version, flush, doublewrite, binlog, mode = map(str, row)
    found = []
    kind = "MariaDB" if "MariaDB" in version else "MySQL"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        found.append(f"{kind} {version} is older than {oldest}, from which on this store works.")
    if flush != "1":
        found.append(
            f"innodb_flush_log_at_trx_commit is {flush}: orders that were accepted are lost when "
            "the machine fails. Set it to 1."
        )
    if doublewrite in ("0", "OFF"):
        found.append("innodb_doublewrite is off: a failing machine may leave broken pages.")
    if binlog in ("1", "ON"):
        sync = str((await conn.execute(text("SELECT @@sync_binlog"))).scalar())
        if sync != "1":
            found.append(
                f"sync_binlog is {sync}: replicas and restored backups may lack the last orders. "
                "Set it to 1."
            )
    if "STRICT_" not in mode:
        found.append("sql_mode is not strict: what does not fit would be cut off in silence.")
    return found
