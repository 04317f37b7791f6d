"""Staff operations on all orders and on tasks."""

import re

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore import orders
from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import IllegalTransition, Invalid
from bookstore.orders import Order
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task, TaskRow
from web.api.field_types import MultiLine, UtcDateTime
from web.api.operations import Fields, answer, operation, page_answer
from web.api.order_schemas import AllOrdersQuery, OrderOut, OrderPage, PaymentIn, TransitionIn
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.live import sse
from web.live.staff_stream import FEED
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["staff"]


class TaskOut(Schema):
    id = fields.Integer(required=True)
    task = fields.Enum(Task, by_value=True, required=True)
    ref_id = fields.Integer(
        required=True,
        metadata={"description": "The id of the order or notification that the task processes."},
    )
    state = fields.String(required=True, validate=validate.OneOf(["waiting", "dead"]))
    due_at = UtcDateTime(required=True)
    publish_count = fields.Integer(
        required=True,
        metadata={"description": "How often the relay published the task to the broker."},
    )
    attempts = fields.Integer(required=True)
    error = fields.String(required=True, allow_none=True)
    dead_at = UtcDateTime(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)


class TaskQuery(PageQuery):
    state = fields.String(
        load_default=None,
        validate=validate.OneOf(["waiting", "dead", "waiting,dead", "dead,waiting"]),
        metadata={
            "description": "`waiting`: the task will be attempted.  `dead`: all attempts failed,"
            " and the task is not retried.  Without this parameter, both are listed."
        },
    )


class DiscardIn(Schema):
    reason = MultiLine(500, required=True)


TaskPage = page_of(TaskOut)


class FeedEventOut(Schema):
    id = fields.Integer(required=True)
    number = fields.String(required=True, metadata={"description": "The number of the order."})
    seq = fields.Integer(
        required=True,
        metadata={"description": "The position of the event within the order: 1, 2, 3 ..."},
    )
    kind = fields.String(required=True)
    at = UtcDateTime(required=True)
    actor = fields.String(required=True)
    detail = fields.String(required=True, allow_none=True)


@operation(
    headers={"Last-Event-ID": "The `id` of the last event that the client received."},
    returns=(200, None),
    content_type="text/event-stream",
    tags=TAGS,
)
async def stream_all_orders(request: web.Request) -> web.StreamResponse:
    """Stream the events of all orders as server-sent events.

    Each server-sent event is named `order` and contains the order event as JSON in `data`.
    Without `Last-Event-ID` the stream starts with the next event.  With it, the stream resumes
    after that event.  No event is lost, but the last events may be sent twice; the `id` in `data`
    identifies duplicates.  An event named `reset` means that too many events were missed to be
    sent: reload the orders.
    """
    last_event_id = request.headers.get("Last-Event-ID", "")
    after = int(last_event_id) if re.fullmatch(r"[0-9]{1,18}", last_event_id) else None
    with request.config_dict[FEED].follow(after, FeedEventOut().dumps) as reader:
        return await sse.stream(request, reader)


@operation(query=AllOrdersQuery, returns=(200, OrderPage), tags=TAGS, refusals=[Invalid])
async def list_all_orders(request: web.Request, query: Fields) -> web.Response:
    """List the orders of all customers, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await orders.find(conn, **query)
    return page_answer(OrderPage, request, page)


@operation(body=TransitionIn, returns=(200, OrderOut), tags=TAGS, refusals=[IllegalTransition])
async def move_order(request: web.Request, body: Fields) -> web.Response:
    """Change the status of an order: packed, shipped, delivered or cancelled."""

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.move(
                conn, request.match_info["number"], **body, actor=_actor(request), now=now()
            )

    return answer(OrderOut, await retry_transaction(work))


@operation(body=PaymentIn, returns=(200, OrderOut), tags=TAGS, refusals=[IllegalTransition])
async def change_payment(request: web.Request, body: Fields) -> web.Response:
    """Change the payment status of an order."""

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.change_payment(
                conn, request.match_info["number"], **body, actor=_actor(request), now=now()
            )

    return answer(OrderOut, await retry_transaction(work))


@operation(query=TaskQuery, returns=(200, TaskPage), tags=TAGS, refusals=[Invalid])
async def list_tasks(request: web.Request, query: Fields) -> web.Response:
    """List unfinished tasks, the oldest first."""
    limit, cursor = query["limit"], query["cursor"]
    dead = {"waiting": False, "dead": True}.get(query["state"] or "")
    after_id = pagination.decode(cursor, [int])[0] if cursor else 0
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await outbox.find(conn, dead=dead, after_id=after_id, limit=limit + 1)
    tasks = [_task_content(row) for row in found[:limit]]
    next_cursor = pagination.encode(found[limit - 1].id) if len(found) > limit else None
    return page_answer(TaskPage, request, Page(tasks, next_cursor))


@operation(returns=(200, TaskOut), tags=TAGS)
async def replay_task(request: web.Request) -> web.Response:
    """Retry a task now, with its attempts counted from 0."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        row = await outbox.replay(
            conn, _task_id(request), user_id=current_user(request).id, now=now()
        )
    return answer(TaskOut, _task_content(row))


@operation(body=DiscardIn, returns=(204, None), tags=TAGS)
async def discard_task(request: web.Request, body: Fields) -> web.Response:
    """Delete a task without processing it.

    The order or notification that it belongs to stays unchanged.
    """
    async with transaction(request.config_dict[ENGINE]) as conn:
        await outbox.discard(
            conn, _task_id(request), body["reason"], user_id=current_user(request).id, now=now()
        )
    return web.Response(status=204)


def _task_content(row: TaskRow) -> Fields:
    state = "waiting" if row.dead_at is None else "dead"
    return {name: getattr(row, name) for name in TaskRow.__slots__} | {"state": state}


def _task_id(request: web.Request) -> int:
    return int(request.match_info["task_id"])


def _actor(request: web.Request) -> str:
    return f"staff:{current_user(request).id}"
