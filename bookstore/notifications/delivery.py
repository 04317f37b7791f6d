"""E-mail delivery: claim notifications with a lease, send the e-mails, record the results.

    claim a list (one transaction) ─> send, a few at a time ─> record the results (another one)

Each e-mail has its own task, not one for the list that it was claimed in, because one e-mail may be
deferred for an hour while the next one is sent, and because staff replay and resend single e-mails.
Rows are inserted, leased and deleted by one statement for the whole list, so this costs no round
trip for each e-mail.

Only the worker that claimed an e-mail sends it until the lease ends.  So a worker releases e-mails
for which the mail server has no capacity soon.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from itertools import chain
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import correlation
from bookstore.database.engine import is_unavailable, run_transaction
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import Bulk, BulkQuery
from bookstore.notifications import emails, notifications, preferences, smtp
from bookstore.notifications.emails import Email, EmailKind, StoreFacts
from bookstore.notifications.notifications import ANSWER_LENGTH, EmailStatus
from bookstore.tasks import failures, outbox
from bookstore.tasks.outbox import Task

log = logging.getLogger(__name__)

#: How long a claimed e-mail waits for a connection slot before it is released.
SLOT_TIMEOUT_S = 10.0
#: Longer than the wait for a slot and an attempt to send (`smtp.DEADLINE_S`), so that no two
#: workers send the same e-mail at the same time.
LEASE = timedelta(seconds=60)
#: How often results are recorded while other e-mails of the list are still being sent.  A crash in
#: between sends the unrecorded ones again.
RESULT_FLUSH_S = 0.25
#: How long to retry recording results while the database is unavailable.
DATABASE_OUTAGE_TIMEOUT_S = 15.0
#: Concurrent claims, and concurrent results, are combined up to this many e-mails a transaction.
MAX_BATCH = 100
#: The next e-mails are claimed when at most this many claimed ones wait for a slot.
LOW_WATERMARK = 2 * smtp.MAX_CONNECTIONS
#: After this long no further e-mail of a list is sent; the relay republishes the others.
BATCH_DEADLINE_S = 300.0
#: Circuit breaker: stop sending for this long after the mail server was unavailable.  A refused
#: connection fails fast, so without the breaker the worker would burn CPU on thousands of attempts
#: and delay orders.
CIRCUIT_BREAKER_S = 5.0
#: Greylisting ends within minutes, full mailboxes and broken servers within days.
RETRY_DELAYS = [timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60)]
RETRY_PERIOD = timedelta(hours=72)
#: After this many attempts the delays add up to `RETRY_PERIOD`.
MAX_ATTEMPTS = (
    len(RETRY_DELAYS) + 1 + (RETRY_PERIOD - sum(RETRY_DELAYS, timedelta())) // RETRY_DELAYS[-1]
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The exclusive right to send an e-mail, until `lease_until`."""

    email: Email
    lease_until: datetime
    attempt: int
    in_doubt: bool
    #: The id of the request that caused the e-mail.
    request_id: str | None = None


class DeliveryOutcome(Enum):
    """The outcome of an attempt to send an e-mail."""

    SENT = auto()
    #: The mail server rejected it permanently, or it cannot be rendered.
    REFUSED = auto()
    #: It was not accepted this time; it is retried later.
    DEFERRED = auto()
    #: The mail server received the whole e-mail and did not answer.
    IN_DOUBT = auto()
    #: It was not sent: no slot was free, the circuit breaker is open, or this process is stopping.
    NOT_ATTEMPTED = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of a claim; `answer` is the mail server's answer, or why there is none."""

    claim: Claim
    outcome: DeliveryOutcome
    answer: str | None = None

    @property
    def notification_id(self) -> int:
        return self.claim.email.notification_id


class DeliveryWorker:
    """Sends the e-mails of one process."""

    def __init__(
        self,
        engine: AsyncEngine,
        mailer: smtp.Mailer,
        store: StoreFacts,
        *,
        clock: Callable[[], datetime],
        slot_timeout_s: float = SLOT_TIMEOUT_S,
        batch_deadline_s: float = BATCH_DEADLINE_S,
        circuit_breaker_s: float = CIRCUIT_BREAKER_S,
        on_attempt: Callable[[DeliveryOutcome], object] = lambda outcome: None,
    ) -> None:
        self._engine = engine
        self._mailer = mailer
        self._store = store
        self._clock = clock
        self._slot_timeout_s = slot_timeout_s
        self._batch_deadline_s = batch_deadline_s
        self._circuit_breaker_s = circuit_breaker_s
        self._on_attempt = on_attempt
        #: As many slots as the mailer has connections.
        self._slots = asyncio.Semaphore(smtp.MAX_CONNECTIONS)
        #: Claimed e-mails that wait for a slot, and whether they are at most `LOW_WATERMARK`.
        self._waiting_count = 0
        self._below_watermark = asyncio.Event()
        self._below_watermark.set()
        self._stopping = False
        #: By `time.monotonic()`.
        self._breaker_open_until = 0.0
        self._claims = GroupCommit(self._claim, limit=MAX_BATCH, size=len)
        self._results = GroupCommit(self._record_batch, limit=MAX_BATCH, size=len)

    async def deliver(self, notification_ids: Collection[int]) -> None:
        """Send the e-mails that are unsent and not claimed by another worker.  Safe to repeat.

        While the circuit breaker is open they stay as they are: the relay republishes them.
        """
        waiting = sorted(set(notification_ids))
        ends = time.monotonic() + self._batch_deadline_s
        size = len(waiting)
        while waiting and self._can_send() and time.monotonic() < ends:
            batch, waiting = waiting[:size], waiting[size:]
            unsent = await self._deliver(batch)
            # With a slow mail server, the next batch is as large as what it managed this time.
            size = max(1, len(batch) - len(unsent)) if unsent else 2 * size
            waiting = unsent + waiting

    def stop(self) -> None:
        """Start no further e-mails: this process ends, and other workers send the rest."""
        self._stopping = True

    def _can_send(self) -> bool:
        return not self._stopping and time.monotonic() >= self._breaker_open_until

    async def _deliver(self, notification_ids: list[int]) -> list[int]:
        """Send these e-mails; returns the ids of those that were not attempted."""
        claims = await self._claims(notification_ids)
        for claimed in claims:
            failpoint("M1", [claimed.email.notification_id])
        deadline = asyncio.get_running_loop().time() + self._slot_timeout_s
        sending = {asyncio.create_task(self._send(claimed, deadline)) for claimed in claims}
        unsent: list[int] = []
        failures: list[BaseException] = []
        try:
            while sending:
                done, sending = await asyncio.wait(sending, timeout=RESULT_FLUSH_S)
                # One that fails must not cancel the others while they are being sent.
                results = await asyncio.gather(*done, return_exceptions=True)
                failures += [it for it in results if isinstance(it, BaseException)]
                attempts = [it for it in results if isinstance(it, Attempt)]
                left = [it for it in attempts if it.outcome is DeliveryOutcome.NOT_ATTEMPTED]
                unsent += [it.notification_id for it in left]
                try:
                    await self._record(attempts)
                except Exception as error:
                    failures.append(error)
        finally:
            for unfinished in sending:
                unfinished.cancel()
        if failures:
            raise failures[0]
        return sorted(unsent)

    async def _send(self, claimed: Claim, deadline: float) -> Attempt:
        self._add_waiting(1)
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            return Attempt(claimed, DeliveryOutcome.NOT_ATTEMPTED)
        finally:
            self._add_waiting(-1)
        if not self._can_send():
            self._slots.release()
            return Attempt(claimed, DeliveryOutcome.NOT_ATTEMPTED)
        with correlation.bind_request_ids([claimed.request_id]):
            try:
                attempt = Attempt(claimed, *await self._attempt(claimed.email))
            finally:
                self._slots.release()
            if attempt.outcome is not DeliveryOutcome.SENT:
                _log(attempt)
        failpoint("M6", [attempt.notification_id])
        return attempt

    def _add_waiting(self, count: int) -> None:
        self._waiting_count += count
        if self._waiting_count <= LOW_WATERMARK:
            self._below_watermark.set()
        else:
            self._below_watermark.clear()

    async def _attempt(self, email: Email) -> tuple[DeliveryOutcome, str]:
        """The outcome, and the answer."""
        try:
            message = emails.render(email, self._store)
        except ValueError as error:
            return DeliveryOutcome.REFUSED, f"This e-mail cannot be sent: {error}."
        except Exception:  # A bug: staff see the error, and resend the e-mail once it is fixed.
            log.exception("could not render notification %d", email.notification_id)
            return DeliveryOutcome.REFUSED, "This e-mail could not be rendered; see the log."
        try:
            return DeliveryOutcome.SENT, await self._mailer.send(message)
        except smtp.TryLater as error:
            if isinstance(error, smtp.ServerUnavailable):
                self._breaker_open_until = time.monotonic() + self._circuit_breaker_s
            return DeliveryOutcome.DEFERRED, error.answer
        except smtp.Refused as error:
            return DeliveryOutcome.REFUSED, error.answer
        except smtp.InDoubt as error:
            return DeliveryOutcome.IN_DOUBT, error.answer

    async def _record(self, attempts: Sequence[Attempt]) -> None:
        if not attempts:
            return
        _log_sent([it for it in attempts if it.outcome is DeliveryOutcome.SENT])
        ends = time.monotonic() + DATABASE_OUTAGE_TIMEOUT_S
        while True:
            try:
                await self._results(attempts)
                break
            except Exception as error:
                # Without a recorded result these e-mails are sent again when their lease ends.
                if not is_unavailable(error) or time.monotonic() >= ends:
                    raise
            await asyncio.sleep(1)
        for attempt in attempts:
            self._on_attempt(attempt.outcome)
            failpoint("M7", [attempt.notification_id])

    async def _claim(self, lists: list[Collection[int]]) -> list[list[Claim]]:
        # Without a free slot the claimed e-mails would only wait.  During this delay further lists
        # arrive, which are claimed in the same transaction.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._slot_timeout_s):
                await self._below_watermark.wait()
        wanted = {*chain(*lists)}
        found = await run_transaction(self._engine, claim, wanted, now=self._clock())
        claims = {it.email.notification_id: it for it in found}
        # Two lists may contain the same e-mail: the first one sends it.
        return [[claims.pop(it) for it in ids if it in claims] for ids in lists]

    async def _record_batch(self, lists: list[Sequence[Attempt]]) -> list[None]:
        attempts = [*chain(*lists)]
        await run_transaction(self._engine, record_results, attempts, now=self._clock())
        return [None] * len(lists)


#: How the log names attempts that did not succeed, and at which level.
_LOG_LEVELS = {
    DeliveryOutcome.DEFERRED: (logging.INFO, "deferred"),
    DeliveryOutcome.REFUSED: (logging.WARNING, "refused"),
    DeliveryOutcome.IN_DOUBT: (logging.WARNING, "in doubt"),
}


def _log(attempt: Attempt) -> None:
    # The mail server's answer is not logged, because it may contain the customer's address; it is
    # stored with the notification.
    level, event = _LOG_LEVELS[attempt.outcome]
    code = smtp.reply_code(attempt.answer or "")
    extra = {"attempt": attempt.claim.attempt, "smtp_code": code}
    log.log(level, "%s: notification %d", event, attempt.notification_id, extra=extra)


def _log_sent(attempts: Sequence[Attempt]) -> None:
    # One line for the whole list: a line for each e-mail would be 1/30 of the cost of sending it.
    if attempts:
        with correlation.bind_request_ids(it.claim.request_id for it in attempts):
            ids = sorted(it.notification_id for it in attempts)
            log.info("sent", extra={"count": len(ids), "ids": ids})


_LOCK = BulkQuery(
    "id BIGINT",
    """n.id, n.status, n.kind, n.user_id, n.attempts, n.in_doubt, n.lease_until > :now,
    (SELECT t.request_id FROM tasks AS t
     WHERE t.task = 'send_notifications' AND t.ref_id = n.id)""",
    "FROM {rows} AS v {join} notifications AS n {by_key} ON n.id = v.id {for_update}",
)
_CLAIM = Bulk.update(
    "id BIGINT, in_doubt INT",
    "notifications",
    "t.id = v.id",
    {
        "status": "'sending'",
        "attempts": "t.attempts + 1",
        "in_doubt": "v.in_doubt",
        "lease_until": ":ends_at",
    },
)
_LOCK_CLAIMED = BulkQuery(
    "id BIGINT, lease_until DATETIME(6)",
    "n.id",
    """
    FROM {rows} AS v {join} notifications AS n {by_key} ON n.id = v.id
    WHERE n.status = 'sending' AND n.lease_until = v.lease_until {for_update}
    """,
)
_APPLY = Bulk.update(
    "id BIGINT, status VARCHAR(20), doubted INT, not_tried INT, answer TEXT, sent_at DATETIME(6)",
    "notifications",
    "t.id = v.id",
    {
        "status": "v.status",
        "lease_until": "NULL",
        "in_doubt": "t.in_doubt OR v.doubted",
        "attempts": "t.attempts - v.not_tried",
        "smtp_answer": "COALESCE(v.answer, t.smtp_answer)",
        "sent_at": "COALESCE(v.sent_at, t.sent_at)",
    },
)


async def claim(
    conn: AsyncConnection, notification_ids: Collection[int], *, now: datetime
) -> list[Claim]:
    """Claims for the e-mails that are due; until the lease ends, only the caller may send them.

    If an earlier claim expired without a result, its worker may have sent the e-mail.  So the
    e-mail is claimed a second time as in doubt, and fails if that claim expires too.
    """
    rows = sorted(await _LOCK(conn, [(it,) for it in sorted(notification_ids)], now=now))
    opted_out = await preferences.opted_out(conn, [(row[0], row[2], row[3]) for row in rows])
    finished = {*notification_ids} - {row[0] for row in rows}
    changes: list[_StateChange] = []
    #: The number, `in_doubt` and the request id of each attempt that begins.
    pending: dict[int, tuple[int, bool, str | None]] = {}
    for notification_id, status, kind, _, attempts, in_doubt, leased, request_id in rows:
        if not (EmailStatus.stored(status).is_known and EmailKind.stored(kind).is_known):
            # Only the newer release that stored the value can send this e-mail.
            continue
        abandoned = status == EmailStatus.SENDING
        if abandoned and leased:
            continue
        if status in (EmailStatus.SENT, EmailStatus.FAILED, EmailStatus.MUTED):
            finished.add(notification_id)
        elif abandoned and in_doubt:
            answer = "Two attempts ended without an answer from the mail server."
            changes.append(_StateChange(notification_id, EmailStatus.FAILED, answer))
        elif notification_id in opted_out:
            answer = "The customer has switched off e-mails of this kind."
            changes.append(_StateChange(notification_id, EmailStatus.MUTED, answer))
        else:
            pending[notification_id] = attempts + 1, bool(in_doubt or abandoned), request_id
    await _apply(conn, changes)
    await outbox.complete(conn, Task.SEND_NOTIFICATIONS, finished)
    if not pending:
        return []
    loaded = await notifications.load_emails(conn, pending)
    lease_until = now + LEASE
    doubts = [(it, int(in_doubt)) for it, (_, in_doubt, _) in pending.items()]
    set_claims = _CLAIM.of(doubts, ends_at=lease_until)
    await outbox.lease(conn, Task.SEND_NOTIFICATIONS, pending, lease_until, preceding=[set_claims])
    return [Claim(loaded[it], lease_until, *begun) for it, begun in pending.items()]


@dataclass(frozen=True, slots=True)
class _StateChange:
    """The new state of an e-mail whose claim ends."""

    notification_id: int
    status: EmailStatus
    answer: str | None = None
    doubted: bool = False
    attempted: bool = True
    sent_at: datetime | None = None
    #: When it is retried; None for never.
    due_at: datetime | None = None


async def record_results(
    conn: AsyncConnection, attempts: Collection[Attempt], *, now: datetime
) -> None:
    """Record the results of these attempts.

    A worker that stalled for too long has lost its claim, so its result is ignored.  Only the
    result that an e-mail was sent is always recorded, because it is true in any case.
    """
    unsent = sorted(
        (it.notification_id, it.claim.lease_until)
        for it in attempts
        if it.outcome is not DeliveryOutcome.SENT
    )
    locked = {row[0] for row in await _LOCK_CLAIMED(conn, unsent)} if unsent else set()
    valid = [
        it
        for it in sorted(attempts, key=attrgetter("notification_id"))
        if it.outcome is DeliveryOutcome.SENT or it.notification_id in locked
    ]
    failed = [
        (it.notification_id, it.claim.attempt, it.answer or "")
        for it in valid
        if it.outcome not in (DeliveryOutcome.SENT, DeliveryOutcome.NOT_ATTEMPTED)
    ]
    await failures.record(conn, Task.SEND_NOTIFICATIONS, failed, now=now)
    await _apply(conn, [_next_state(attempt, now) for attempt in valid])


def _next_state(attempt: Attempt, now: datetime) -> _StateChange:
    change = partial(_StateChange, attempt.notification_id, answer=attempt.answer)
    number = attempt.claim.attempt
    match attempt.outcome:
        case DeliveryOutcome.SENT:
            return change(EmailStatus.SENT, sent_at=now)
        case DeliveryOutcome.NOT_ATTEMPTED:
            return change(EmailStatus.QUEUED, attempted=False, due_at=now + outbox.GRACE)
        # Retried with growing delays, for three days.
        case DeliveryOutcome.DEFERRED if number < MAX_ATTEMPTS:
            delay = RETRY_DELAYS[min(number, len(RETRY_DELAYS)) - 1]
            return change(EmailStatus.QUEUED, due_at=now + delay)
        # Sent once more, but only once.
        case DeliveryOutcome.IN_DOUBT if not attempt.claim.in_doubt:
            return change(EmailStatus.QUEUED, doubted=True, due_at=now + RETRY_DELAYS[0])
        case _:
            return change(EmailStatus.FAILED)


async def _apply(conn: AsyncConnection, changes: Collection[_StateChange]) -> None:
    if not changes:
        return
    rows = [
        (
            it.notification_id,
            it.status,
            int(it.doubted),
            int(not it.attempted),
            it.answer[:ANSWER_LENGTH] if it.answer else None,
            it.sent_at,
        )
        for it in changes
    ]
    finished = [it.notification_id for it in changes if it.due_at is None]
    await outbox.complete(conn, Task.SEND_NOTIFICATIONS, finished, preceding=[_APPLY.of(rows)])
    later = [(it.notification_id, it.due_at, it.answer) for it in changes if it.due_at is not None]
    await outbox.postpone(conn, Task.SEND_NOTIFICATIONS, later)
