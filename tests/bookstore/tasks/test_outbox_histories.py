"""Random histories of work that waits: time passes, leases and pauses end, processes die."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import select

from bookstore.database.tables import notifications as letter_table
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import delivery, notifications
from bookstore.notifications.delivery import Attempt, End
from bookstore.notifications.notifications import Status
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from tests.bookstore.machine import PICK, PICKS, STATEMENT, StoreMachine, run
from tests.factories import NOON

OVER = {Status.SENT, Status.FAILED}
#: What is left is worked off by then, however often it failed or its worker died.
LONGEST = 30


@dataclass
class Row:
    """A piece of unfinished work, as the model sees it."""

    due_at: datetime
    publish_count: int = 0
    attempts: int = 0
    dead: bool = False

    def failed(self, now):
        """It was started, and waits for ever longer."""
        self.due_at = now + timedelta(seconds=2**self.attempts)
        self.dead = self.attempts >= 5


@dataclass
class Letter:
    status: Status = Status.QUEUED
    attempts: int = 0
    in_doubt: bool = False
    lease_until: datetime | None = None


class Waiting(StoreMachine):
    """Letters and orders' tasks between relay, workers and mail server, beside a model."""

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.refs = count(1)
        self.rows = {}  # (task, ref_id) -> Row
        self.letters = {}
        self.claims = []  # Of workers that are still about to say what came of them.

    @property
    def orders(self):
        return [ref_id for task, ref_id in self.rows if task is Task.PROCESS_ORDERS]

    @rule()
    def write_a_letter(self):
        letter_id = self.do(
            notifications.queue, "welcome", recipient="mira@example.com", now=self.now
        )
        self.letters[letter_id] = Letter()
        self.rows[Task.SEND_NOTIFICATIONS, letter_id] = Row(self.now + timedelta(seconds=30))

    @rule()
    def want_an_order_processed(self):
        ref_id = next(self.refs)
        self.do(outbox.add, Task.PROCESS_ORDERS, [ref_id], now=self.now)
        self.rows[Task.PROCESS_ORDERS, ref_id] = Row(self.now + timedelta(seconds=30))

    @rule(seconds=st.sampled_from([1, 2, 8, 30, 60, 120, 3600]))
    def let_time_pass(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def offer_what_is_due(self):
        offered = {due.offer for due in self.do(outbox.claim_due, now=self.now)}
        due = {it for it, row in self.rows.items() if row.due_at <= self.now and not row.dead}
        assert offered == due
        for it in due:
            self.rows[it].publish_count += 1
            self.rows[it].due_at = self.now + timedelta(seconds=30)

    @rule(at=STATEMENT)
    def die_while_offering(self, at):
        self.die(at, outbox.claim_due, now=self.now)

    @precondition(lambda self: self.letters)
    @rule(picks=PICKS)
    def claim_letters(self, picks):
        """Messages: doubled, late, about letters that are done."""
        ids = {self.pick(self.letters, pick) for pick in picks}
        claims = self.do(delivery.claim, ids, now=self.now)
        assert {it.letter.notification_id for it in claims} == {*filter(self.claimed, ids)}
        self.claims += claims

    def claimed(self, letter_id):
        """Have the model do the same; whether the letter is to be sent."""
        letter = self.letters[letter_id]
        lost = letter.status is Status.SENDING
        if lost and letter.lease_until > self.now:
            return False
        if lost and letter.in_doubt:
            letter.status, letter.lease_until = Status.FAILED, None
        if letter.status in OVER:
            self.rows.pop((Task.SEND_NOTIFICATIONS, letter_id), None)
            return False
        letter.status, letter.in_doubt = Status.SENDING, letter.in_doubt or lost
        letter.attempts += 1
        letter.lease_until = self.now + timedelta(seconds=60)
        self.rows[Task.SEND_NOTIFICATIONS, letter_id].due_at = letter.lease_until
        return True

    @precondition(lambda self: self.letters)
    @rule(picks=PICKS, at=STATEMENT)
    def die_while_claiming(self, picks, at):
        self.die(
            at, delivery.claim, {self.pick(self.letters, pick) for pick in picks}, now=self.now
        )

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def die_while_sending(self, pick):
        """Nobody will say what came of it."""
        self.claims.remove(self.pick(self.claims, pick))

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, at=STATEMENT, end=st.sampled_from(End))
    def die_while_noting(self, pick, at, end):
        claim = self.pick(self.claims, pick)
        self.die(at, delivery.note, [Attempt(claim, end, "An answer")], now=self.now)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, end=st.sampled_from(End))
    def note_an_attempt(self, pick, end):
        """However late: the lease may be over, and the letter another's."""
        claim = self.pick(self.claims, pick)
        self.claims.remove(claim)
        self.do(delivery.note, [Attempt(claim, end, "An answer")], now=self.now)
        self.noted(claim, end)

    def noted(self, claim, end):
        letter_id = claim.letter.notification_id
        letter = self.letters[letter_id]
        held = letter.status is Status.SENDING and letter.lease_until == claim.lease_until
        if not held and end is not End.SENT:
            return
        letter.lease_until = None
        letter.in_doubt = letter.in_doubt or end is End.IN_DOUBT
        letter.attempts -= end is End.NO_TURN
        again = end in {End.PUT_OFF, End.NO_TURN} or (end is End.IN_DOUBT and not claim.in_doubt)
        if not again:
            letter.status = Status.SENT if end is End.SENT else Status.FAILED
            self.rows.pop((Task.SEND_NOTIFICATIONS, letter_id), None)
            return
        letter.status = Status.QUEUED
        minutes = {End.NO_TURN: 0.5, End.IN_DOUBT: 1}.get(end)
        if minutes is None:
            minutes = [1, 2, 5, 10, 30, 60][min(claim.attempt, 6) - 1]
        row = self.rows[Task.SEND_NOTIFICATIONS, letter_id]
        row.due_at, row.publish_count = self.now + timedelta(minutes=minutes), 0

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, end=st.sampled_from(["done", "failed", "dead"]))
    def work_on_an_order(self, pick, end):
        """As `actors.batching` does it, for a row alone."""
        ref_id = self.pick(self.orders, pick)
        row = self.rows[Task.PROCESS_ORDERS, ref_id]
        ready = self.do(outbox.ready, Task.PROCESS_ORDERS, [ref_id], now=self.now)
        resting = row.attempts >= 2 and not row.publish_count and row.due_at > self.now
        assert (ref_id in ready) is not (row.dead or resting)
        if ready:
            self.work_on(ref_id, row, end)

    def work_on(self, ref_id, row, end):
        row.attempts += 1
        started = self.do(outbox.start, Task.PROCESS_ORDERS, [ref_id])
        assert started[ref_id].number == row.attempts
        if end == "done":
            self.do(outbox.done, Task.PROCESS_ORDERS, [ref_id])
            del self.rows[Task.PROCESS_ORDERS, ref_id]
        elif end == "failed" or row.attempts > 5:
            row.failed(self.now)
            dead = self.do(outbox.fail, Task.PROCESS_ORDERS, ref_id, "A fault", now=self.now)
            assert dead is row.dead

    @precondition(lambda self: any(row.dead for row in self.rows.values()))
    @rule(pick=PICK)
    def replay(self, pick):
        task, ref_id = self.pick([it for it, row in self.rows.items() if row.dead], pick)
        dead = self.do(outbox.find, dead=True)
        (task_id,) = [it.id for it in dead if (it.task, it.ref_id) == (task, ref_id)]
        self.do(outbox.replay, task_id, user_id=None, now=self.now)
        self.rows[task, ref_id] = Row(self.now)

    @invariant()
    def what_waits_is_as_the_model_says(self):
        async def look(conn):
            waiting = (await conn.execute(select(task_table))).all()
            return waiting, (await conn.execute(select(letter_table))).all()

        waiting, letters = self.do(look)
        assert {
            (Task(it.task), it.ref_id): Row(
                it.due_at, it.publish_count, it.attempts, it.dead_at is not None
            )
            for it in waiting
        } == self.rows
        assert {
            it.id: Letter(Status(it.status), it.attempts, it.in_doubt, it.lease_until)
            for it in letters
        } == self.letters

    def teardown(self):
        """Whatever happened: as time passes everything ends, but for what waits for staff."""
        self.claims.clear()
        for _ in range(LONGEST):
            waiting = [it for it, row in self.rows.items() if not row.dead]
            if not waiting:
                break
            self.now = max(self.now, *(self.rows[it].due_at for it in waiting), NOON)
            self.offer_what_is_due()
            for task, ref_id in waiting:
                if task is Task.PROCESS_ORDERS:
                    self.work_on(ref_id, self.rows[task, ref_id], "done")
                elif claims := self.do(delivery.claim, [ref_id], now=self.now):
                    self.claimed(ref_id)
                    self.do(delivery.note, [Attempt(*claims, End.SENT)], now=self.now)
                    self.noted(*claims, End.SENT)
                else:
                    self.claimed(ref_id)
            self.what_waits_is_as_the_model_says()
        assert all(row.dead for row in self.rows.values())
        assert {letter.status for letter in self.letters.values()} <= OVER
        super().teardown()


@pytest.mark.timeout(300)
def test_whatever_waits_is_done_or_parked_as_time_passes(sqlite_template):
    run(Waiting, sqlite_template)
