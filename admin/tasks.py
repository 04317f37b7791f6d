"""Background tasks: queues, workers, waiting tasks and dead tasks."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values, order_detail, rabbitmq_status
from admin.access import made_by
from admin.failure_help import explain
from admin.list_state import Filter, ListState
from admin.lists import AdminList, View
from admin.rendering import NO_ERROR, FormError, back_to, run_action, run_form
from bookstore.backoffice import reports
from bookstore.backoffice import tasks as backoffice_tasks
from bookstore.backoffice.tasks import TaskQuery
from bookstore.errors import NotFound
from bookstore.tasks import failures, outbox
from bookstore.tasks.outbox import TaskRow
from bookstore.tasks.publisher import QUEUES
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.monitoring.health import HEARTBEAT_TIMEOUT
from web.server.keys import PUBLISHER, SETTINGS
from web.server.request_context import now
from web.store import forms

#: Limits the duration of the transaction.
MAX_REPLAYED = 50
_ORDERS = "/admin/orders"


def _query(state: ListState, _subject: None) -> TaskQuery:
    return TaskQuery(dead=not state.tab)


async def _details(view: View) -> dict[str, Any]:
    conn, rows, moment = view.conn, view.found.items, now()
    alive = await reports.relay_heartbeats(conn)
    selected = await _selected(conn, view.values["selected_id"], rows)
    others = [selected] if selected and selected not in rows else []
    attempts = await failures.of(conn, selected.task, selected.ref_id) if selected else []
    fields = [order_detail.discard_field(selected.id)] if selected and selected.dead_at else []
    return {
        "alive": [(name, at) for name, at in alive if moment - at <= HEARTBEAT_TIMEOUT],
        "attempts": attempts,
        "checked_at": moment,
        "done": await reports.done_last_minute(conn, now=moment),
        "embedded": view.request.config_dict[SETTINGS].embedded,
        "explain": explain,
        "form_error": view.form_error.for_fields(fields),
        "last_seen": alive[0][1] if alive else None,
        "max_attempts": outbox.MAX_ATTEMPTS,
        "max_replayed": MAX_REPLAYED,
        "queue_names": QUEUES,
        "queues": await reports.queues(conn),
        "selected": selected,
        "subjects": await backoffice_tasks.subjects(conn, [*rows, *others]),
    }


LIST = AdminList(
    rows=backoffice_tasks.TASKS,
    path="/queues",
    template="tasks.html",
    permission=Permission.SEE_TASKS,
    filters=(Filter("state", "State", {"": "Dead", "waiting": "Waiting"}, tab=True),),
    query=_query,
    details=_details,
    counted=False,
)


async def show(
    request: web.Request, form_error: FormError = NO_ERROR, selected_id: str = ""
) -> web.Response:
    """GET /admin/queues: dead tasks, or with `state` waiting ones; `task` is the one to show."""
    # Before the transaction, because the broker may respond slowly.
    broker = await rabbitmq_status.fetch_status(
        request.config_dict[PUBLISHER], request.config_dict[SETTINGS]
    )
    selected_id = selected_id or request.query.get("task", "")
    return await LIST.show(request, form_error, broker=broker, selected_id=selected_id)


async def replay(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/replay: retry a dead task with all its attempts."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        row = await outbox.replay(conn, _task_id(request), **made_by(request))
        return f"{row.task} {row.ref_id} will be retried."

    await run_action(request, work)
    raise web.HTTPSeeOther(_back_url(form))


async def replay_all(request: web.Request) -> web.Response:
    """POST /admin/queues/replay: retry the oldest dead tasks, for example after an outage.

    With `like`, the id of a task, only tasks of the same kind with the same error are retried.
    """
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        rows = await outbox.find(conn, dead=True, limit=MAX_REPLAYED)
        if like := form.get("like", ""):
            pattern = await outbox.get(conn, _parse_id(like))
            rows = [it for it in rows if (it.task, it.error) == (pattern.task, pattern.error)]
        number = await outbox.replay_many(conn, [row.id for row in rows], **made_by(request))
        return f"{number} {'task' if number == 1 else 'tasks'} will be retried."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST.url())


async def discard(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/discard: discard a dead task and decide what it was about."""
    form, task_id = await forms.read(request), _task_id(request)

    async def work(conn: AsyncConnection) -> str:
        reason = form_values.parse_reason("reason", form.get("reason", ""))
        row = await backoffice_tasks.discard(conn, task_id, reason, **made_by(request))
        return f"{row.task} {row.ref_id} was discarded."

    if error := await run_form(request, work):
        field = order_detail.discard_field(task_id)
        form_error = FormError.from_error(error, field, {field: form.get("reason", "")})
        return await _discard_error_page(
            request, form_error, None if isinstance(error, NotFound) else task_id, _back_url(form)
        )
    raise web.HTTPSeeOther(_back_url(form))


async def _discard_error_page(
    request: web.Request, form_error: FormError, task_id: int | None, back: str
) -> web.Response:
    """The page that the form was sent from, of the order or of the tasks, with the error."""
    if back.startswith(f"{_ORDERS}/") and permits(
        current_user(request).role, Permission.SEE_ORDERS
    ):
        number = unquote(back.removeprefix(f"{_ORDERS}/").partition("?")[0])
        return await order_detail.show_one(request, number, form_error)
    return await show(request, form_error, "" if task_id is None else str(task_id))


async def _selected(conn: AsyncConnection, chosen: str, rows: list[TaskRow]) -> TaskRow | None:
    if not chosen:
        return None
    task_id = _parse_id(chosen)
    for row in rows:
        if row.id == task_id:
            return row
    return await outbox.get(conn, task_id)


def _back_url(form: Mapping[str, str]) -> str:
    address = form.get("back", "")
    return back_to(address, _ORDERS if address.startswith(_ORDERS) else LIST.url())


def _parse_id(text: str) -> int:
    if not form_values.is_id(text):
        raise NotFound("This task")
    return int(text)


def _task_id(request: web.Request) -> int:
    return int(request.match_info["task_id"])
