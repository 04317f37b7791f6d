"""The tasks list of the back office: dead tasks and waiting tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database.tables import notifications, orders
from bookstore.database.tables import tasks as table
from bookstore.tasks import outbox
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
