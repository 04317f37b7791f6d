"""Letters leave: claimed with a lease, given to the mail server, and noted what it said.

    claim a list (one transaction) ─> send, a few at a time ─> note what came of it (one more)

Each letter has a task of its own, not one for the list that it was claimed in: one may be put
off for an hour while its neighbour is done, and staff replay and resend single letters.
As rows of lists are written, leased and deleted by one statement each, that costs a letter no
trip of its own.

A letter is sent by whoever claimed it, and by nobody else before the lease is over.  So
letters for which the mail server has no time soon are given back, not sat on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import correlation
from bookstore.database.engine import is_away, retry_transaction, transaction
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import Bulk, BulkQuery
from bookstore.notifications import emails, notifications, preferences, smtp
from bookstore.notifications.emails import Letter, Store
from bookstore.notifications.notifications import Status
from bookstore.tasks import failures, outbox
from bookstore.tasks.outbox import Task

log = logging.getLogger(__name__)

#: How long a claimed letter waits for its turn at the mail server before it is given back.
TURN_S = 10.0
#: Longer than a turn and an attempt to send (`smtp.DEADLINE_S`), so that no two run at once.
LEASE = timedelta(seconds=60)
#: While a letter of the list is still on its way, those that arrived are noted so often: a
#: crash in between sends them again.
NOTE_S = 0.25
#: How long to wait for a database that went away, to note them nevertheless.
MENDING_S = 15.0
#: Claims and notes that wait at the same moment are joined up to this many letters.
TOGETHER = 100
#: As soon as no more letters than these are in line, the next ones are claimed.
SHORT_LINE = 2 * smtp.CONNECTIONS
#: After that no letter of a list is begun: the relay offers again what is left of it.
LIST_S = 300.0
#: How long no letter is begun after nobody was there to take one.  To find that out costs as
#: much as to send it and is over at once, so thousands would be tried instead of orders.
AWAY_S = 5.0
#: Greylisting ends within minutes, full mailboxes and broken servers within days.
PAUSES = [timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60)]
PATIENCE = timedelta(hours=72)
#: By then the pauses add up to our request_deadline.
LAST_ATTEMPT = len(PAUSES) + 1 + (PATIENCE - sum(PAUSES, timedelta())) // PAUSES[-1]
ANSWER_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a letter, until `lease_until`."""

    letter: Letter
    attempt: int
    in_doubt: bool
    lease_until: datetime
    #: The request that the letter goes back to.
    request_id: str | None = None


class End(Enum):
    """How an attempt to send a letter ended."""

    SENT = auto()
    #: It will never be taken.
    REFUSED = auto()
    #: It was not taken this time.
    PUT_OFF = auto()
    #: The mail server had the whole letter and did not answer.
    IN_DOUBT = auto()
    #: Others took all the time that the mail server had, it is away, or this process is to end.
    NO_TURN = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a claim; `answer` is what the mail server said, or why it said nothing."""

    claim: Claim
    end: End
    answer: str | None = None

    @property
    def notification_id(self) -> int:
        return self.claim.letter.notification_id


class DeliveryWorker:
    """Sends the letters of one process."""

    def __init__(
        self,
        engine: AsyncEngine,
        mailer: smtp.Mailer,
        store: Store,
        *,
        clock: Callable[[], datetime],
        turn_s: float = TURN_S,
        list_s: float = LIST_S,
        away_s: float = AWAY_S,
        watch: Callable[[End], object] = lambda end: None,
    ) -> None:
        self._engine = engine
        self._mailer = mailer
        self._store = store
        self._clock = clock
        self._turn_s = turn_s
        self._list_s = list_s
        self._away_s = away_s
        self._watch = watch
        #: As many as the mailer keeps connections for.
        self._turns = asyncio.Semaphore(smtp.CONNECTIONS)
        #: Claimed letters that wait for their turn, and whether they are few.
        self._in_line = 0
        self._short_line = asyncio.Event()
        self._short_line.set()
        self._stopping = False
        #: By `time.monotonic()`.
        self._away_until = 0.0
        self._claims = GroupCommit(self._claim, limit=TOGETHER, size=len)
        self._notes = GroupCommit(self._note, limit=TOGETHER, size=len)

    async def deliver(self, notification_ids: Collection[int]) -> None:
        """Send those that are still to be sent and that nobody else is at.  Safe to repeat.

        While the mail server is away they stay as they are: the relay offers them again.
        """
        waiting = sorted(set(notification_ids))
        ends = time.monotonic() + self._list_s
        room = len(waiting)
        while waiting and self._at_work() and time.monotonic() < ends:
            some, waiting = waiting[:room], waiting[room:]
            left = await self._deliver(some)
            # A slow mail server gets as many as it had time for.
            room = max(1, len(some) - len(left)) if left else 2 * room
            waiting = left + waiting

    def stop(self) -> None:
        """Begin no more letters: this process is to end, and others send what is left."""
        self._stopping = True

    def _at_work(self) -> bool:
        return not self._stopping and time.monotonic() >= self._away_until

    async def _deliver(self, notification_ids: list[int]) -> list[int]:
        """Send these letters; those come back for which there was no turn."""
        claims = await self._claims(notification_ids)
        for claimed in claims:
            failpoint("M1", [claimed.letter.notification_id])
        turn_ends = asyncio.get_running_loop().time() + self._turn_s
        sending = {asyncio.create_task(self._send(claimed, turn_ends)) for claimed in claims}
        left: list[int] = []
        failures: list[BaseException] = []
        try:
            while sending:
                done, sending = await asyncio.wait(sending, timeout=NOTE_S)
                # One that fails must not cut the others off in the middle of a letter.
                outcomes = await asyncio.gather(*done, return_exceptions=True)
                failures += [it for it in outcomes if isinstance(it, BaseException)]
                attempts = [it for it in outcomes if isinstance(it, Attempt)]
                left += [it.notification_id for it in attempts if it.end is End.NO_TURN]
                try:
                    await self._noted(attempts)
                except Exception as error:
                    failures.append(error)
        finally:
            for cut_off in sending:
                cut_off.cancel()
        if failures:
            raise failures[0]
        return sorted(left)

    async def _send(self, claimed: Claim, turn_ends: float) -> Attempt:
        self._line_grows(1)
        try:
            async with asyncio.timeout_at(turn_ends):
                await self._turns.acquire()
        except TimeoutError:
            return Attempt(claimed, End.NO_TURN)
        finally:
            self._line_grows(-1)
        if not self._at_work():
            self._turns.release()
            return Attempt(claimed, End.NO_TURN)
        with correlation.caused_by([claimed.request_id]):
            try:
                attempt = Attempt(claimed, *await self._hand_over(claimed.letter))
            finally:
                self._turns.release()
            if attempt.end is not End.SENT:
                _log(attempt)
        failpoint("M6", [attempt.notification_id])
        return attempt

    def _line_grows(self, by: int) -> None:
        self._in_line += by
        if self._in_line <= SHORT_LINE:
            self._short_line.set()
        else:
            self._short_line.clear()

    async def _hand_over(self, letter: Letter) -> tuple[End, str]:
        """How it ended, and the answer."""
        try:
            mail = emails.render(letter, self._store)
        except ValueError as error:
            return End.REFUSED, f"Nobody can be written to: {error}."
        except Exception:  # A bug: staff see it on the letter, and send it again once mended.
            log.exception("no letter for notification %d", letter.notification_id)
            return End.REFUSED, "This letter could not be written; the log says why."
        try:
            return End.SENT, await self._mailer.send(mail)
        except smtp.TryLater as error:
            if isinstance(error, smtp.Away):
                self._away_until = time.monotonic() + self._away_s
            return End.PUT_OFF, error.answer
        except smtp.Refused as error:
            return End.REFUSED, error.answer
        except smtp.InDoubt as error:
            return End.IN_DOUBT, error.answer

    async def _noted(self, attempts: Sequence[Attempt]) -> None:
        if not attempts:
            return
        _log_sent([it for it in attempts if it.end is End.SENT])
        ends = time.monotonic() + MENDING_S
        while True:
            try:
                await self._notes(attempts)
                break
            except Exception as error:
                # Unless it is noted these letters are sent again once their lease is over.
                if not is_away(error) or time.monotonic() >= ends:
                    raise
            await asyncio.sleep(1)
        for attempt in attempts:
            self._watch(attempt.end)
            failpoint("M7", [attempt.notification_id])

    async def _claim(self, lists: list[Collection[int]]) -> list[list[Claim]]:
        async def work() -> list[Claim]:
            async with transaction(self._engine) as conn:
                return await claim(conn, {*chain(*lists)}, now=self._clock())

        # They would only wait in line; meanwhile others come that are claimed together.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._turn_s):
                await self._short_line.wait()
        claims = {it.letter.notification_id: it for it in await retry_transaction(work)}
        # Two lists may ask for the same letter: the first one sends it.
        return [[claims.pop(it) for it in some if it in claims] for some in lists]

    async def _note(self, lists: list[Sequence[Attempt]]) -> list[None]:
        async def work() -> None:
            async with transaction(self._engine) as conn:
                await note(conn, [*chain(*lists)], now=self._clock())

        await retry_transaction(work)
        return [None] * len(lists)


#: What the log says of an attempt that did not end well.
_LOGGED = {
    End.PUT_OFF: (logging.INFO, "put off"),
    End.REFUSED: (logging.WARNING, "refused"),
    End.IN_DOUBT: (logging.WARNING, "in doubt"),
}


def _log(attempt: Attempt) -> None:
    # What the mail server said stays on the letter: it may name the customer's address.
    level, what = _LOGGED[attempt.end]
    code = smtp.code_of(attempt.answer or "")
    number = attempt.claim.attempt
    log.log(
        level,
        "%s: notification %d",
        what,
        attempt.notification_id,
        extra={"attempt": number, "smtp_code": code},
    )


def _log_sent(attempts: Sequence[Attempt]) -> None:
    # One line for all of them: a line each would be a thirtieth of what a letter costs.
    if attempts:
        with correlation.caused_by(it.claim.request_id for it in attempts):
            ids = sorted(it.notification_id for it in attempts)
            log.info("sent", extra={"count": len(ids), "ids": ids})


_LOCK = BulkQuery(
    "id BIGINT",
    """n.id, n.status, n.kind, n.user_id, n.attempts, n.in_doubt, n.lease_until > :now,
    (SELECT t.request_id FROM tasks AS t
     WHERE t.task = 'send_notifications' AND t.ref_id = n.id)""",
    "FROM {rows} AS v {join} notifications AS n {by_key} ON n.id = v.id {for_update}",
)
_TAKE = Bulk(
    "id BIGINT, in_doubt INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN notifications AS n {by_key} ON n.id = v.id
    SET n.status = 'sending', n.attempts = n.attempts + 1, n.in_doubt = v.in_doubt,
        n.lease_until = :ends_at
    """,
    sqlite="""
    UPDATE notifications SET status = 'sending', attempts = attempts + 1, in_doubt = v.in_doubt,
        lease_until = :ends_at
    FROM {rows} AS v WHERE notifications.id = v.id
    """,
)
_HOLD = BulkQuery(
    "id BIGINT, lease_until DATETIME(6)",
    "n.id",
    """
    FROM {rows} AS v {join} notifications AS n {by_key} ON n.id = v.id
    WHERE n.status = 'sending' AND n.lease_until = v.lease_until {for_update}
    """,
)
_NOTE = Bulk(
    "id BIGINT, status VARCHAR(20), doubted INT, not_tried INT, answer TEXT, sent_at DATETIME(6)",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN notifications AS n {by_key} ON n.id = v.id
    SET n.status = v.status, n.lease_until = NULL, n.in_doubt = n.in_doubt OR v.doubted,
        n.attempts = n.attempts - v.not_tried, n.smtp_answer = COALESCE(v.answer, n.smtp_answer),
        n.sent_at = COALESCE(v.sent_at, n.sent_at)
    """,
    sqlite="""
    UPDATE notifications
    SET status = v.status, lease_until = NULL, in_doubt = in_doubt OR v.doubted,
        attempts = attempts - v.not_tried, smtp_answer = COALESCE(v.answer, smtp_answer),
        sent_at = COALESCE(v.sent_at, notifications.sent_at)
    FROM {rows} AS v WHERE notifications.id = v.id
    """,
)


async def claim(
    conn: AsyncConnection, notification_ids: Collection[int], *, now: datetime
) -> list[Claim]:
    """Those letters that are to be sent (now), for the caller alone to send.

    Whoever claimed one and never came back may have sent it.  So it is claimed a second time
    as in doubt, and given up when that claim too ends in silence.
    """
    rows = sorted(await _LOCK(conn, [(it,) for it in sorted(notification_ids)], now=now))
    unwanted = await preferences.unwanted(conn, [(row[0], row[2], row[3]) for row in rows])
    over = {*notification_ids} - {row[0] for row in rows}
    unsent: list[_Note] = []
    taken: dict[int, _Taken] = {}
    for notification_id, status, _, _, attempts, in_doubt, leased, request_id in rows:
        lost = status == Status.SENDING
        if lost and leased:
            continue
        if status in (Status.SENT, Status.FAILED, Status.MUTED):
            over.add(notification_id)
        elif lost and in_doubt:
            answer = "Twice an attempt ended without an answer."
            unsent.append(_Note(notification_id, Status.FAILED, answer))
        elif notification_id in unwanted:
            answer = "The customer wants no e-mail of this kind."
            unsent.append(_Note(notification_id, Status.MUTED, answer))
        else:
            taken[notification_id] = _Taken(attempts + 1, bool(in_doubt or lost), request_id)
    await _write(conn, unsent)
    await outbox.done(conn, Task.SEND_NOTIFICATIONS, over)
    return await _take(conn, taken, now + LEASE)


class _Taken(NamedTuple):
    attempt: int
    in_doubt: bool
    request_id: str | None


async def _take(
    conn: AsyncConnection, taken: Mapping[int, _Taken], lease_until: datetime
) -> list[Claim]:
    if not taken:
        return []
    written = await notifications.letters_of(conn, taken)
    rows = [(it, int(letter.in_doubt)) for it, letter in taken.items()]
    taking = _TAKE.of(rows, ends_at=lease_until)
    await outbox.lease(conn, Task.SEND_NOTIFICATIONS, taken, lease_until, after=[taking])
    return [
        Claim(written[it], letter.attempt, letter.in_doubt, lease_until, letter.request_id)
        for it, letter in taken.items()
    ]


@dataclass(frozen=True, slots=True)
class _Note:
    """What is written on a letter that nobody has claimed any more."""

    notification_id: int
    status: Status
    answer: str | None = None
    doubted: bool = False
    tried: bool = True
    sent_at: datetime | None = None
    #: When it is tried again; None: never.
    due_at: datetime | None = None


async def note(conn: AsyncConnection, attempts: Collection[Attempt], *, now: datetime) -> None:
    """Write down how these attempts ended.

    A worker that stood still for too long has lost its claim, and has no say any more.  But
    that a letter arrived is true, whoever has the claim by now.
    """
    tried = [it for it in attempts if it.end is not End.SENT]
    held = {*await _held(conn, tried)}
    failed = [it for it in tried if it.notification_id in held and it.end is not End.NO_TURN]
    await failures.record(
        conn,
        Task.SEND_NOTIFICATIONS,
        [(it.notification_id, it.claim.attempt, it.answer or "") for it in failed],
        now=now,
    )
    await _write(
        conn,
        [
            _said(attempt, now)
            for attempt in sorted(attempts, key=attrgetter("notification_id"))
            if attempt.end is End.SENT or attempt.notification_id in held
        ],
    )


async def _held(conn: AsyncConnection, attempts: Iterable[Attempt]) -> list[int]:
    rows = sorted((it.notification_id, it.claim.lease_until) for it in attempts)
    return [notification_id for (notification_id,) in await _HOLD(conn, rows)] if rows else []


def _said(attempt: Attempt, now: datetime) -> _Note:
    notification_id, answer, number = attempt.notification_id, attempt.answer, attempt.claim.attempt
    match attempt.end:
        case End.SENT:
            return _Note(notification_id, Status.SENT, answer, sent_at=now)
        case End.NO_TURN:
            due_at = now + outbox.GRACE
            return _Note(notification_id, Status.QUEUED, answer, tried=False, due_at=due_at)
        # Tried again after ever longer pauses, for three days.
        case End.PUT_OFF if number < LAST_ATTEMPT:
            due_at = now + PAUSES[min(number, len(PAUSES)) - 1]
            return _Note(notification_id, Status.QUEUED, answer, due_at=due_at)
        # Sent once more, and no oftener.
        case End.IN_DOUBT if not attempt.claim.in_doubt:
            due_at = now + PAUSES[0]
            return _Note(notification_id, Status.QUEUED, answer, doubted=True, due_at=due_at)
        case _:
            return _Note(notification_id, Status.FAILED, answer)


async def _write(conn: AsyncConnection, notes: Collection[_Note]) -> None:
    if not notes:
        return
    rows = [
        (
            it.notification_id,
            it.status,
            int(it.doubted),
            int(not it.tried),
            it.answer[:ANSWER_LENGTH] if it.answer else None,
            it.sent_at,
        )
        for it in notes
    ]
    over = [it.notification_id for it in notes if it.due_at is None]
    await outbox.done(conn, Task.SEND_NOTIFICATIONS, over, after=[_NOTE.of(rows)])
    later = [(it.notification_id, it.due_at, it.answer) for it in notes if it.due_at is not None]
    await outbox.postpone(conn, Task.SEND_NOTIFICATIONS, later)
