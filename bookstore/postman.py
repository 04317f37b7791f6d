"""The postman: sends a letter, and notes what became of it.

    claim it (COMMIT) ─> write it, give it to the mail server ─> note the answer (COMMIT)

No transaction is open while a mail server thinks.  What keeps others away meanwhile is a
lease on the row; when it ends without an answer on record, nobody knows whether the letter
arrived.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import failures, letters, notifications, preferences, smtp, tasks
from bookstore.crashpoints import crashpoint
from bookstore.db import retrying, transaction
from bookstore.letters import Letter, Store
from bookstore.notifications import Status
from bookstore.tables import notifications as table
from bookstore.tasks import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a letter, until `lease_until`."""

    letter: Letter
    attempt: int
    in_doubt: bool
    lease_until: datetime


#: Longer than any attempt to send (`smtp.DEADLINE_S`), so that no two run at once.
LEASE = timedelta(seconds=60)
#: Greylisting ends within minutes, full mailboxes and broken servers within days.
PAUSES = [timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60)]
PATIENCE = timedelta(hours=72)
#: By then the pauses add up to our patience.
LAST_ATTEMPT = len(PAUSES) + 1 + (PATIENCE - sum(PAUSES, timedelta())) // PAUSES[-1]
ANSWER_LENGTH = 500


async def deliver(
    engine: AsyncEngine,
    mailer: smtp.Mailer,
    store: Store,
    notification_id: int,
    *,
    clock: Callable[[], datetime],
) -> None:
    """Send a letter, if it is still to be sent and nobody else is at it.  Safe to repeat."""

    async def take() -> Claim | None:
        async with transaction(engine) as conn:
            return await claim(conn, notification_id, now=clock())

    claimed = await retrying(take)
    if claimed is None:
        return
    crashpoint("M1", [notification_id])
    note = await _send(claimed, mailer, store)
    crashpoint("M6", [notification_id])

    async def record() -> None:
        async with transaction(engine) as conn:
            await note(conn, claimed, now=clock())

    await retrying(record)
    crashpoint("M7", [notification_id])


async def _send(claimed: Claim, mailer: smtp.Mailer, store: Store) -> Callable[..., Any]:
    """What is to be noted about the attempt."""
    notification_id = claimed.letter.notification_id
    try:
        message = letters.render(claimed.letter, store)
    except ValueError as error:
        return partial(refuse, answer=f"Nobody can be written to: {error}.")
    except Exception:  # A bug: staff see it on the letter, and send it again once it is mended.
        log.exception("no letter for notification %d", notification_id)
        return partial(refuse, answer="This letter could not be written; the log says why.")
    try:
        return partial(sent, answer=await mailer.send(message))
    except smtp.TryLater as error:
        return partial(put_off, answer=error.answer)
    except smtp.Refused as error:
        log.warning("refused: notification %d", notification_id)
        return partial(refuse, answer=error.answer)
    except smtp.InDoubt as error:
        log.warning("in doubt: notification %d", notification_id)
        return partial(doubt, answer=error.answer)


async def claim(conn: AsyncConnection, notification_id: int, *, now: datetime) -> Claim | None:
    """The letter, for the caller alone to send; None when there is nothing to send (now).

    Whoever claimed it and never came back may have sent it.  So it is claimed a second time
    as in doubt, and given up when that claim too ends in silence.
    """
    row = (
        await conn.execute(select(table).where(table.c.id == notification_id).with_for_update())
    ).one_or_none()
    if row is None or row.status in (Status.SENT, Status.FAILED, Status.MUTED):
        await tasks.done(conn, Task.SEND_NOTIFICATIONS, [notification_id])
        return None
    lost = row.status == Status.SENDING
    if lost and row.lease_until > now:
        return None
    if lost and row.in_doubt:
        await _finish(conn, row.id, Status.FAILED, "Twice an attempt ended without an answer.")
        return None
    if await preferences.unwanted(conn, [(row.id, row.kind, row.user_id)]):
        await _finish(conn, row.id, Status.MUTED, "The customer wants no e-mail of this kind.")
        return None
    claimed = Claim(
        await notifications.letter(conn, row.id),
        row.attempts + 1,
        row.in_doubt or lost,
        now + LEASE,
    )
    await conn.execute(
        update(table)
        .where(table.c.id == row.id)
        .values(
            status=Status.SENDING,
            attempts=claimed.attempt,
            in_doubt=claimed.in_doubt,
            lease_until=claimed.lease_until,
        )
    )
    await tasks.lease(conn, Task.SEND_NOTIFICATIONS, row.id, claimed.lease_until)
    return claimed


async def sent(conn: AsyncConnection, claimed: Claim, answer: str, *, now: datetime) -> None:
    """The mail server took the letter.  True whoever holds the claim by now."""
    notification_id = claimed.letter.notification_id
    await _finish(conn, notification_id, Status.SENT, answer, sent_at=now)


async def refuse(conn: AsyncConnection, claimed: Claim, answer: str, *, now: datetime) -> None:
    """The letter will never be taken: it is not tried again."""
    if await _holds(conn, claimed):
        await _note(conn, claimed, answer, now=now)
        await _finish(conn, claimed.letter.notification_id, Status.FAILED, answer)


async def put_off(conn: AsyncConnection, claimed: Claim, answer: str, *, now: datetime) -> None:
    """The letter was not taken this time: tried again after ever longer pauses, for three days."""
    if not await _holds(conn, claimed):
        return
    await _note(conn, claimed, answer, now=now)
    if claimed.attempt >= LAST_ATTEMPT:
        await _finish(conn, claimed.letter.notification_id, Status.FAILED, answer)
    else:
        pause = PAUSES[min(claimed.attempt, len(PAUSES)) - 1]
        await _wait(conn, claimed, answer, now + pause, in_doubt=claimed.in_doubt)


async def doubt(conn: AsyncConnection, claimed: Claim, answer: str, *, now: datetime) -> None:
    """The mail server had the whole letter and did not answer: it is sent once more, no oftener."""
    if not await _holds(conn, claimed):
        return
    await _note(conn, claimed, answer, now=now)
    if claimed.in_doubt:
        await _finish(conn, claimed.letter.notification_id, Status.FAILED, answer)
    else:
        await _wait(conn, claimed, answer, now + PAUSES[0], in_doubt=True)


async def _holds(conn: AsyncConnection, claimed: Claim) -> bool:
    """Whether the claim still stands; a worker that stood still for too long has lost it."""
    found = await conn.execute(
        select(table.c.id)
        .where(
            table.c.id == claimed.letter.notification_id,
            table.c.status == Status.SENDING,
            table.c.lease_until == claimed.lease_until,
        )
        .with_for_update()
    )
    return found.one_or_none() is not None


async def _note(conn: AsyncConnection, claimed: Claim, answer: str, *, now: datetime) -> None:
    await failures.record(
        conn,
        Task.SEND_NOTIFICATIONS,
        claimed.letter.notification_id,
        claimed.attempt,
        answer,
        now=now,
    )


async def _finish(
    conn: AsyncConnection, notification_id: int, status: Status, answer: str, **values: Any
) -> None:
    await conn.execute(
        update(table)
        .where(table.c.id == notification_id)
        .values(status=status, lease_until=None, smtp_answer=answer[:ANSWER_LENGTH], **values)
    )
    await tasks.done(conn, Task.SEND_NOTIFICATIONS, [notification_id])


async def _wait(
    conn: AsyncConnection, claimed: Claim, answer: str, until: datetime, *, in_doubt: bool
) -> None:
    notification_id = claimed.letter.notification_id
    await conn.execute(
        update(table)
        .where(table.c.id == notification_id)
        .values(
            status=Status.QUEUED,
            lease_until=None,
            in_doubt=in_doubt,
            smtp_answer=answer[:ANSWER_LENGTH],
        )
    )
    await tasks.postpone(conn, Task.SEND_NOTIFICATIONS, notification_id, until, answer)
