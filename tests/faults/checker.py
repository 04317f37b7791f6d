"""The outside view: answers to clients, rows in the database, e-mails in the mailbox."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import engine as db
from bookstore.operations import doctor
from bookstore.operations.doctor import Finding
from tests.faults.journal import Journal

_ORDERS = """
    SELECT k.`key`, o.number FROM idempotency_keys AS k
    LEFT JOIN orders AS o ON o.id = k.order_id WHERE k.`key` LIKE 'customer-%'
"""
_EMAILS = """
    SELECT id, kind, recipient, status, in_doubt FROM notifications
    WHERE recipient LIKE 'customer-%'
"""


async def findings(url: str, journal: Journal, emails: Iterable[EmailMessage]) -> list[Finding]:
    """Violated invariants, in the database (`doctor.examine`) and between database and clients.

    The store must be idle, and all its customers must have their answer.
    """
    engine = db.make_engine(url, timeout_s=60)
    try:
        async with db.reading(engine) as conn:
            found = [finding async for finding in doctor.examine(conn, now=datetime.now(UTC))]
            found += [finding async for finding in _unfinished(conn)]
            found += [finding async for finding in _orders(conn, journal)]
            found += [finding async for finding in _emails(conn, emails)]
    finally:
        await engine.dispose()
    return found


def notification_id(message: EmailMessage) -> int:
    """The number in its Message-ID: <n17.order-placed...>"""
    return int(message["Message-ID"][2:].split(".")[0])


async def _unfinished(conn: AsyncConnection):
    for row in await conn.execute(text("SELECT task, ref_id, attempts, error FROM tasks")):
        yield Finding("nothing is left to do", f"{row.task}({row.ref_id}): {row.error}")


async def _orders(conn: AsyncConnection, journal: Journal):
    rows = (await conn.execute(text(_ORDERS))).all()
    stored = {row.key: row.number for row in rows}
    promises = journal.promises
    for key, promise in promises.items():
        numbers = {answer["number"] for answer in promise.answers}
        if len(numbers) > 1:
            yield Finding("every answer to a key tells of the same order", f"{key}: {numbers}")
        if numbers and stored.get(key) not in numbers:
            yield Finding("every accepted order is stored", f"{key}: {numbers}")
    for key in stored.keys() - promises.keys():
        yield Finding("every order was asked for", key)
    for key, times in Counter(row.key for row in rows).items():
        if times > 1:
            yield Finding("a key has one order", f"{key}: {times}")
    (count,) = await conn.execute(text("SELECT COUNT(*) FROM orders WHERE email LIKE 'customer-%'"))
    if count[0] != len(stored):
        yield Finding("a key has one order", f"{count[0]} orders, {len(stored)} keys")


async def _emails(conn: AsyncConnection, emails: Iterable[EmailMessage]):
    got: Counter[int] = Counter()
    names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for message in emails:
        got[notification_id(message)] += 1
        recipient = message["To"].addresses[0].addr_spec
        names[recipient, message["Subject"]].add(message["Message-ID"])
    for (recipient, subject), ids in names.items():
        if len(ids) > 1:
            yield Finding("copies of an e-mail have one Message-ID", f"{recipient}: {subject}")
    rows = (await conn.execute(text(_EMAILS))).all()
    for row in rows:
        if not got[row.id]:
            yield Finding("every e-mail arrived", f"{row.id}: {row.kind}, {row.status}")
        if got[row.id] > 1 and not row.in_doubt:
            yield Finding("only e-mails in doubt arrive twice", f"{row.id}: {got[row.id]} times")
        if got[row.id] > 2:
            yield Finding("no e-mail arrives oftener than twice", f"{row.id}: {got[row.id]} times")
