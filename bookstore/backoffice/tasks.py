"""The tasks list of the back office: dead tasks and waiting tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications as notification_services
from bookstore import orders as order_services
from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database.tables import notifications, orders
from bookstore.database.tables import tasks as table
from bookstore.errors import UnknownTask
from bookstore.tasks import jobs, outbox
from bookstore.tasks.outbox import Task, TaskRow
from bookstore.users.permissions import Permission


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A filter for tasks: the dead ones, or the waiting ones."""

    dead: bool = True


async def _select(conn: AsyncConnection, query: TaskQuery) -> Select[Any]:
    is_dead = table.c.dead_at.is_not(None)
    return select(table).where(is_dead if query.dead else table.c.dead_at.is_(None))


TASKS = List(
    name="tasks",
    query=TaskQuery,
    select=_select,
    load=lists.each(outbox.of_row),
    id=table.c.id,
    sorts={"since": table.c.id, "work": table.c.task, "tries": table.c.attempts},
    default_sort="since",
    columns=lists.attributes(
        "id", "task", "ref_id", "created_at", "attempts", "error", "dead_at", "due_at"
    ),
    export_permission=Permission.SEE_TASKS,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that a task works on: an order or a notification, possibly of an order."""

    order_number: str | None
    notification_id: int | None


async def discard(
    conn: AsyncConnection, task_id: int, reason: str, *, user_id: int | None, now: datetime
) -> TaskRow:
    """Delete a dead task and decide, in the same transaction, what it was about.

    An order is rejected, and its customer gets an e-mail with the reason.  An e-mail or a job
    fails, with the reason as its answer or error.  `user_id` is None on the command line.

    Raises:
        NotFound: there is no such task.
        TaskNotDead: it will be attempted again.
        UnknownTask, IllegalTransition: only a newer release can decide it.
        EmailBeingSent: an attempt to send the e-mail is running.
    """
    task = await outbox.lock_dead(conn, task_id)
    match task.task:
        case Task.PROCESS_ORDERS:
            actor = "staff" if user_id is None else f"staff:{user_id}"
            await order_services.reject(conn, task.ref_id, reason, actor=actor, now=now)
        case Task.SEND_NOTIFICATIONS:
            answer = f"Discarded by staff: {reason}"
            await notification_services.give_up(conn, task.ref_id, answer, now=now)
        case Task.RUN_JOBS:
            await jobs.give_up(conn, task.ref_id, f"Discarded by staff: {reason}", now=now)
        case _:
            raise UnknownTask
    await outbox.delete_dead(conn, task, reason, user_id=user_id, now=now)
    return task


async def subjects(conn: AsyncConnection, rows: Sequence[TaskRow]) -> dict[int, Subject]:
    """The objects that these tasks work on, by task id."""
    order_ids = {row.ref_id for row in rows if row.task is Task.PROCESS_ORDERS}
    notification_ids = {row.ref_id for row in rows if row.task is Task.SEND_NOTIFICATIONS}
    numbers: dict[tuple[Task, int], str] = {}
    if order_ids:
        found = await conn.execute(
            select(orders.c.id, orders.c.number).where(orders.c.id.in_(order_ids))
        )
        numbers |= {(Task.PROCESS_ORDERS, row.id): row.number for row in found}
    if notification_ids:
        found = await conn.execute(
            select(notifications.c.id, orders.c.number)
            .join(orders, orders.c.id == notifications.c.order_id)
            .where(notifications.c.id.in_(notification_ids))
        )
        numbers |= {(Task.SEND_NOTIFICATIONS, row.id): row.number for row in found}
    return {
        row.id: Subject(
            numbers.get((row.task, row.ref_id)),
            row.ref_id if row.task is Task.SEND_NOTIFICATIONS else None,
        )
        for row in rows
    }
