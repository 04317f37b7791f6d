"""Checks at start: conditions that prevent a start, and warnings about risks to data."""

import asyncio
import logging

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import known_migrations, make_engine, reading, revisions
from bookstore.operations import db_grants
from config.settings import Settings

log = logging.getLogger(__name__)

#: Short, because an unavailable database does not prevent a start: programs wait for it.
TIMEOUT_S = 5.0
#: The oldest versions that support all our statements.
MINIMUM_VERSIONS = {"MariaDB": (10, 6), "MySQL": (8, 0)}


class NotReady(Exception):
    """The schema of the database is too old for this program."""


async def check(settings: Settings) -> list[str]:
    """Warnings for the operator, one sentence each.  Without a database only that is reported.

    Raises:
        NotReady: the schema is older than this program needs.
    """
    found = _check_settings(settings)
    engine = make_engine(settings.database_url, connections=2, timeout_s=TIMEOUT_S)
    try:
        async with reading(engine) as conn:
            current, newest = await revisions(conn)
            if current != newest and (current is None or current in known_migrations()):
                raise NotReady(
                    f"The tables are at revision {current or 'none'}, but this program needs"
                    f" {newest}: run `bookstore db upgrade` first."
                )
            if current != newest:
                found.append(
                    f"The tables are at revision {current}, which is newer than this program."
                )
            if engine.dialect.name == "mysql":
                found += await _check_mysql(conn)
                found += await _check_connections(conn, settings)
                if settings.production and await db_grants.can_modify_audit_log(conn):
                    found.append(
                        "The database account of the store may change the audit log: grant it only "
                        "what `bookstore db grants` prints."
                    )
    except (DBAPIError, OSError, TimeoutError) as error:
        found.append(f"The database is unavailable and was not checked: {type(error).__name__}.")
    finally:
        await engine.dispose()
    return found


def start(settings: Settings) -> None:
    """Run the checks and log their warnings.

    Raises:
        NotReady: the schema is older than this program needs.
    """
    for warning in asyncio.run(check(settings)):
        log.warning("%s", warning)


def _check_settings(settings: Settings) -> list[str]:
    found = []
    if len(settings.broker_urls) > 1 and settings.queue_type == "classic":
        found.append(
            "Classic queues live on one node of a cluster: set BOOKSTORE_QUEUE_TYPE=quorum."
        )
    if settings.production and settings.smtp_url.startswith("file:"):
        found.append("E-mails are written to files and not sent: set BOOKSTORE_SMTP_URL.")
    if settings.production and settings.smtp_url.startswith("smtp:"):
        found.append("E-mails are sent unencrypted: use smtp+starttls: or smtps:.")
    return found


async def _check_connections(conn: AsyncConnection, settings: Settings) -> list[str]:
    allowed = int((await conn.execute(text("SELECT @@max_connections"))).scalar_one())
    needed = settings.web_connections + settings.worker_connections
    if needed <= allowed:
        return []
    return [
        f"max_connections is {allowed}, but one web process and one worker process may open"
        f" {needed}: raise it, or lower BOOKSTORE_WEB_CONNECTIONS and BOOKSTORE_WORKER_CONNECTIONS."
    ]


async def _check_mysql(conn: AsyncConnection) -> list[str]:
    names = "version", "innodb_flush_log_at_trx_commit", "innodb_doublewrite", "log_bin", "sql_mode"
    row = (await conn.execute(text("SELECT " + ", ".join(f"@@{name}" for name in names)))).one()
    version, flush, doublewrite, binlog, mode = map(str, row)
    found = []
    kind = "MariaDB" if "MariaDB" in version else "MySQL"
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_VERSIONS[kind]:
        oldest = ".".join(map(str, MINIMUM_VERSIONS[kind]))
        found.append(f"{kind} {version} is older than {oldest}, the oldest supported version.")
    if flush != "1":
        found.append(
            f"innodb_flush_log_at_trx_commit is {flush}: accepted orders are lost if the "
            "host fails. Set it to 1."
        )
    if doublewrite in ("0", "OFF"):
        found.append("innodb_doublewrite is off: pages may be corrupt after a failure of the host.")
    if binlog in ("1", "ON"):
        sync = str((await conn.execute(text("SELECT @@sync_binlog"))).scalar())
        if sync != "1":
            found.append(
                f"sync_binlog is {sync}: replicas and restored backups may miss the latest orders. "
                "Set it to 1."
            )
    if "STRICT_" not in mode:
        found.append(
            "sql_mode is not strict: values that do not fit are truncated without an error."
        )
    return found
