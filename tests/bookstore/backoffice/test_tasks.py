"""Discarding a task: only dead ones, and what the task was about is decided with it."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from bookstore import notifications, orders
from bookstore.backoffice import tasks
from bookstore.database import tables as t
from bookstore.errors import EmailBeingSent, IllegalTransition, NotFound, TaskNotDead, UnknownTask
from bookstore.notifications import EmailStatus
from bookstore.operations import doctor
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import JobKind, JobState
from bookstore.tasks.outbox import Task
from tests.factories import NOON, add_book, add_user
from tests.ordering import place


async def add_object(conn, task):
    """The id of a new order, e-mail or job, whose task waits."""
    if task is Task.PROCESS_ORDERS:
        return (await place(conn, {await add_book(conn, stock=5): 2})).id
    if task is Task.SEND_NOTIFICATIONS:
        return await notifications.queue(
            conn, "message", recipient="mira@example.com", subject="Hello", body="Hi.", now=NOON
        )
    return (await jobs.add(conn, JobKind.EXPORT_BOOKS, user_id=None, now=NOON)).id


async def task_of(conn, task, ref_id):
    """The id of the task of an object."""
    own = (t.tasks.c.task == task) & (t.tasks.c.ref_id == ref_id)
    return await conn.scalar(select(t.tasks.c.id).where(own))


async def add_dead(conn, task):
    """A new object of this kind, and the id of its dead task."""
    ref_id = await add_object(conn, task)
    task_id = await task_of(conn, task, ref_id)
    await conn.execute(update(t.tasks).where(t.tasks.c.id == task_id).values(dead_at=NOON))
    return ref_id, task_id


async def findings(conn):
    return [finding async for finding in doctor.examine(conn, now=NOON)]


@pytest.mark.parametrize("task", Task)
async def test_a_task_that_waits_cannot_be_discarded(conn, task):
    ref_id = await add_object(conn, task)
    task_id = await task_of(conn, task, ref_id)

    with pytest.raises(TaskNotDead):
        await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)

    assert await task_of(conn, task, ref_id) == task_id
    assert await findings(conn) == []


@pytest.mark.parametrize("task", Task)
async def test_no_discarded_task_leaves_an_undecided_object(conn, task):
    ref_id, task_id = await add_dead(conn, task)

    await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)

    assert await task_of(conn, task, ref_id) is None
    assert await findings(conn) == []
    with pytest.raises(NotFound):
        await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)


async def test_a_discarded_order_is_rejected_and_its_customer_gets_an_email(conn):
    clerk = await add_user(conn)
    order_id, task_id = await add_dead(conn, Task.PROCESS_ORDERS)

    await tasks.discard(conn, task_id, "We cannot deliver it.", user_id=clerk, now=NOON)

    order = (await orders.by_ids(conn, [order_id]))[order_id]
    assert (order.status, order.reason) == (orders.State.REJECTED, "We cannot deliver it.")
    assert order.total_cents == order.amount_due_cents > 0
    own = t.notifications.c.order_id == order_id
    kinds = set(await conn.scalars(select(t.notifications.c.kind).where(own)))
    assert kinds == {"order-placed", "order-rejected"}
    event = (await orders.events(conn, order_id))[-1]
    assert (event.kind, event.actor) == ("rejected", f"staff:{clerk}")


async def test_an_order_that_was_cancelled_before_stays_cancelled(conn):
    order_id, task_id = await add_dead(conn, Task.PROCESS_ORDERS)
    number = (await orders.by_ids(conn, [order_id]))[order_id].number
    await orders.cancel(conn, number, actor="guest", by_staff=False, reason=None, now=NOON)

    await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)

    assert (await orders.get(conn, number)).status is orders.State.CANCELLED
    assert await findings(conn) == []


async def test_a_discarded_email_has_failed_with_the_reason(conn):
    email_id, task_id = await add_dead(conn, Task.SEND_NOTIFICATIONS)

    await tasks.discard(conn, task_id, "The address is wrong.", user_id=None, now=NOON)

    email = await notifications.get(conn, email_id)
    assert (email.email_status, email.in_doubt) == (EmailStatus.FAILED, False)
    assert email.answer == "Discarded by staff: The address is wrong."


async def test_an_email_that_is_being_sent_is_not_given_up(conn):
    email_id, task_id = await add_dead(conn, Task.SEND_NOTIFICATIONS)
    sending = {"status": "sending", "lease_until": NOON + timedelta(seconds=60)}
    await conn.execute(update(t.notifications).values(sending))

    with pytest.raises(EmailBeingSent):
        await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)

    later = NOON + timedelta(seconds=61)
    await tasks.discard(conn, task_id, "no use", user_id=None, now=later)
    email = await notifications.get(conn, email_id)
    assert (email.email_status, email.in_doubt) == (EmailStatus.FAILED, True)


@pytest.mark.parametrize("state", ["queued", "running", "failed"])
async def test_a_discarded_job_ends_as_failed_with_the_reason(conn, state):
    job_id, task_id = await add_dead(conn, Task.RUN_JOBS)
    await conn.execute(update(t.jobs).values(state=state))

    await tasks.discard(conn, task_id, "The list is wrong.", user_id=None, now=NOON)

    job = await jobs.get(conn, job_id)
    assert (job.state, job.finished_at) == (JobState.FAILED, NOON)
    assert job.error == "Discarded by staff: The list is wrong."


async def test_a_task_of_a_newer_release_is_left_to_it(conn):
    values = {"ref_id": 1, "due_at": NOON, "publish_count": 0, "attempts": 5, "dead_at": NOON}
    added = await conn.execute(
        insert(t.tasks).values(task="from_tomorrow", created_at=NOON, **values)
    )

    with pytest.raises(UnknownTask):
        await tasks.discard(conn, added.lastrowid, "no use", user_id=None, now=NOON)


async def test_an_order_in_a_state_of_a_newer_release_is_left_to_it(conn):
    order_id, task_id = await add_dead(conn, Task.PROCESS_ORDERS)
    await conn.execute(update(t.orders).values(status="from-tomorrow"))

    with pytest.raises(IllegalTransition):
        await tasks.discard(conn, task_id, "no use", user_id=None, now=NOON)

    assert await task_of(conn, Task.PROCESS_ORDERS, order_id) == task_id


async def test_doctor_sees_a_job_without_a_task(conn):
    job_id, _ = await add_dead(conn, Task.RUN_JOBS)
    await outbox.complete(conn, Task.RUN_JOBS, [job_id])

    assert [finding.invariant for finding in await findings(conn)] == [
        "every unfinished job has a task"
    ]
