"""Random histories of tasks: time passes, leases and delays outcome, processes die."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import select

from bookstore.database.tables import notifications as notification_table
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import delivery, notifications
from bookstore.notifications.delivery import Attempt, DeliveryOutcome
from bookstore.notifications.notifications import EmailStatus
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from tests.bookstore.machine import PICK, PICKS, STATEMENT, StoreMachine, run
from tests.factories import NOON

FINAL = {EmailStatus.SENT, EmailStatus.FAILED}
#: Within this many rounds every task is done, however often it failed or its worker died.
MAX_ROUNDS = 30


@dataclass
class Row:
    """An unfinished task in the model."""

    due_at: datetime
    publish_count: int = 0
    attempts: int = 0
    dead: bool = False

    def failed(self, now):
        """An attempt failed; the delay of the next one doubles."""
        self.due_at = now + timedelta(seconds=2**self.attempts)
        self.dead = self.attempts >= 5


@dataclass
class EmailModel:
    status: EmailStatus = EmailStatus.QUEUED
    attempts: int = 0
    in_doubt: bool = False
    lease_until: datetime | None = None


class TaskMachine(StoreMachine):
    """E-mails and orders' tasks between relay, workers and mail server, compared with a model."""

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.refs = count(1)
        self.rows = {}  # (task, ref_id) -> Row
        self.emails = {}
        self.claims = []  # Claims whose results are not recorded yet.

    @property
    def orders(self):
        return [ref_id for task, ref_id in self.rows if task is Task.PROCESS_ORDERS]

    @rule()
    def queue_an_email(self):
        notification_id = self.do(
            notifications.queue, "welcome", recipient="mira@example.com", now=self.now
        )
        self.emails[notification_id] = EmailModel()
        self.rows[Task.SEND_NOTIFICATIONS, notification_id] = Row(self.now + timedelta(seconds=30))

    @rule()
    def add_an_order_task(self):
        ref_id = next(self.refs)
        self.do(outbox.add, Task.PROCESS_ORDERS, [ref_id], now=self.now)
        self.rows[Task.PROCESS_ORDERS, ref_id] = Row(self.now + timedelta(seconds=30))

    @rule(seconds=st.sampled_from([1, 2, 8, 30, 60, 120, 3600]))
    def let_time_pass(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def publish_due_tasks(self):
        published = {due.ref for due in self.do(outbox.claim_due, now=self.now)}
        due = {it for it, row in self.rows.items() if row.due_at <= self.now and not row.dead}
        assert published == due
        for it in due:
            self.rows[it].publish_count += 1
            self.rows[it].due_at = self.now + timedelta(seconds=30)

    @rule(at=STATEMENT)
    def die_while_publishing(self, at):
        self.die(at, outbox.claim_due, now=self.now)

    @precondition(lambda self: self.emails)
    @rule(picks=PICKS)
    def claim_emails(self, picks):
        """Messages may be duplicated or late, or name finished e-mails."""
        ids = {self.pick(self.emails, pick) for pick in picks}
        claims = self.do(delivery.claim, ids, now=self.now)
        assert {it.email.notification_id for it in claims} == {*filter(self.claim_in_model, ids)}
        self.claims += claims

    def claim_in_model(self, notification_id):
        """Claim in the model; whether the e-mail is to be sent."""
        email = self.emails[notification_id]
        abandoned = email.status is EmailStatus.SENDING
        if abandoned and email.lease_until > self.now:
            return False
        if abandoned and email.in_doubt:
            email.status, email.lease_until = EmailStatus.FAILED, None
        if email.status in FINAL:
            self.rows.pop((Task.SEND_NOTIFICATIONS, notification_id), None)
            return False
        email.status, email.in_doubt = EmailStatus.SENDING, email.in_doubt or abandoned
        email.attempts += 1
        email.lease_until = self.now + timedelta(seconds=60)
        self.rows[Task.SEND_NOTIFICATIONS, notification_id].due_at = email.lease_until
        return True

    @precondition(lambda self: self.emails)
    @rule(picks=PICKS, at=STATEMENT)
    def die_while_claiming(self, picks, at):
        self.die(at, delivery.claim, {self.pick(self.emails, pick) for pick in picks}, now=self.now)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def die_while_sending(self, pick):
        """The result is never recorded."""
        self.claims.remove(self.pick(self.claims, pick))

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, at=STATEMENT, outcome=st.sampled_from(DeliveryOutcome))
    def die_while_recording(self, pick, at, outcome):
        claim = self.pick(self.claims, pick)
        self.die(at, delivery.record_results, [Attempt(claim, outcome, "An answer")], now=self.now)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, outcome=st.sampled_from(DeliveryOutcome))
    def record_an_attempt(self, pick, outcome):
        """The result may be late: the lease may have ended, or another worker has the claim."""
        claim = self.pick(self.claims, pick)
        self.claims.remove(claim)
        self.do(delivery.record_results, [Attempt(claim, outcome, "An answer")], now=self.now)
        self.record_in_model(claim, outcome)

    def record_in_model(self, claim, outcome):
        notification_id = claim.email.notification_id
        email = self.emails[notification_id]
        has_lease = email.status is EmailStatus.SENDING and email.lease_until == claim.lease_until
        if not has_lease and outcome is not DeliveryOutcome.SENT:
            return
        email.lease_until = None
        email.in_doubt = email.in_doubt or outcome is DeliveryOutcome.IN_DOUBT
        email.attempts -= outcome is DeliveryOutcome.NOT_ATTEMPTED
        retried = outcome in {DeliveryOutcome.DEFERRED, DeliveryOutcome.NOT_ATTEMPTED} or (
            outcome is DeliveryOutcome.IN_DOUBT and not claim.in_doubt
        )
        if not retried:
            email.status = (
                EmailStatus.SENT if outcome is DeliveryOutcome.SENT else EmailStatus.FAILED
            )
            self.rows.pop((Task.SEND_NOTIFICATIONS, notification_id), None)
            return
        email.status = EmailStatus.QUEUED
        minutes = {DeliveryOutcome.NOT_ATTEMPTED: 0.5, DeliveryOutcome.IN_DOUBT: 1}.get(outcome)
        if minutes is None:
            minutes = [1, 2, 5, 10, 30, 60][min(claim.attempt, 6) - 1]
        row = self.rows[Task.SEND_NOTIFICATIONS, notification_id]
        row.due_at, row.publish_count = self.now + timedelta(minutes=minutes), 0

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, outcome=st.sampled_from(["done", "failed", "dead"]))
    def process_an_order(self, pick, outcome):
        """Like a single retry of `actors.batching`."""
        ref_id = self.pick(self.orders, pick)
        row = self.rows[Task.PROCESS_ORDERS, ref_id]
        ready = self.do(outbox.ready, Task.PROCESS_ORDERS, [ref_id], now=self.now)
        delayed = row.attempts >= 2 and not row.publish_count and row.due_at > self.now
        assert (ref_id in ready) is not (row.dead or delayed)
        if ready:
            self.process(ref_id, row, outcome)

    def process(self, ref_id, row, outcome):
        row.attempts += 1
        started = self.do(outbox.start_attempts, Task.PROCESS_ORDERS, [ref_id])
        assert started[ref_id].number == row.attempts
        if outcome == "done":
            self.do(outbox.complete, Task.PROCESS_ORDERS, [ref_id])
            del self.rows[Task.PROCESS_ORDERS, ref_id]
        elif outcome == "failed" or row.attempts > 5:
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
    def tasks_match_the_model(self):
        async def read(conn):
            waiting = (await conn.execute(select(task_table))).all()
            return waiting, (await conn.execute(select(notification_table))).all()

        waiting, emails = self.do(read)
        assert {
            (Task(it.task), it.ref_id): Row(
                it.due_at, it.publish_count, it.attempts, it.dead_at is not None
            )
            for it in waiting
        } == self.rows
        assert {
            it.id: EmailModel(EmailStatus(it.status), it.attempts, it.in_doubt, it.lease_until)
            for it in emails
        } == self.emails

    def teardown(self):
        """In the outcome every task is done or dead."""
        self.claims.clear()
        for _ in range(MAX_ROUNDS):
            waiting = [it for it, row in self.rows.items() if not row.dead]
            if not waiting:
                break
            self.now = max(self.now, *(self.rows[it].due_at for it in waiting), NOON)
            self.publish_due_tasks()
            for task, ref_id in waiting:
                if task is Task.PROCESS_ORDERS:
                    self.process(ref_id, self.rows[task, ref_id], "done")
                elif claims := self.do(delivery.claim, [ref_id], now=self.now):
                    self.claim_in_model(ref_id)
                    self.do(
                        delivery.record_results,
                        [Attempt(*claims, DeliveryOutcome.SENT)],
                        now=self.now,
                    )
                    self.record_in_model(*claims, DeliveryOutcome.SENT)
                else:
                    self.claim_in_model(ref_id)
            self.tasks_match_the_model()
        assert all(row.dead for row in self.rows.values())
        assert {email.status for email in self.emails.values()} <= FINAL
        super().teardown()


@pytest.mark.timeout(300)
def test_every_task_is_done_or_dead_in_the_end(sqlite_template):
    run(TaskMachine, sqlite_template)
