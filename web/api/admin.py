"""Staff operations on all orders and on tasks."""

import re
from functools import partial

from aiohttp import web
from marshmallow import Schema, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import idempotency, orders
from bookstore.backoffice import tasks as backoffice_tasks
from bookstore.database import pagination
from bookstore.database.pagination import Page
from bookstore.errors import (
    EmailBeingSent,
    IllegalTransition,
    NotYetOnSale,
    TaskNotDead,
    UnknownTask,
)
from bookstore.orders import Order
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task, TaskRow
from web.api.field_types import MultiLine, UtcDateTime, described
from web.api.idempotency import REPLAYED, create_once, is_replay
from web.api.operations import Answer, Fields, operation
from web.api.order_schemas import AllOrdersQuery, OrderOut, OrderPage, PaymentIn, TransitionIn
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.live import sse
from web.live.staff_stream import FEED
from web.server.request_context import now
from web.server.transactions import read, write


class TaskOut(Schema):
    id = fields.Integer(required=True)
    task = fields.Enum(Task, by_value=True, required=True)
    ref_id = described(
        "The id of the order or notification that the task processes.",
        fields.Integer(required=True),
    )
    state = fields.String(required=True, validate=validate.OneOf(["waiting", "dead"]))
    due_at = UtcDateTime(required=True)
    publish_count = described(
        "How often the relay published the task to the broker.", fields.Integer(required=True)
    )
    attempts = fields.Integer(required=True)
    error = fields.String(required=True, allow_none=True)
    dead_at = UtcDateTime(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)


class TaskQuery(PageQuery):
    state = described(
        "`waiting`: the task will be attempted.  `dead`: all attempts failed, and the task is not"
        " retried.  Without this parameter, both are listed.",
        fields.String(
            load_default=None,
            validate=validate.OneOf(["waiting", "dead", "waiting,dead", "dead,waiting"]),
        ),
    )


class DiscardIn(Schema):
    reason = MultiLine(500, required=True)


TaskPage = page_of(TaskOut)


class FeedEventOut(Schema):
    id = fields.Integer(required=True)
    number = described("The number of the order.", fields.String(required=True))
    seq = described(
        "The position of the event within the order: 1, 2, 3 ...", fields.Integer(required=True)
    )
    kind = fields.String(required=True)
    at = UtcDateTime(required=True)
    actor = fields.String(required=True)
    detail = fields.String(required=True, allow_none=True)


@operation(
    headers={"Last-Event-ID": "The `id` of the last event that the client received."},
    returns=(200, None),
    content_type="text/event-stream",
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


@operation(query=AllOrdersQuery, returns=(200, OrderPage))
async def list_all_orders(request: web.Request, query: Fields) -> Page[Order]:
    """List the orders of all customers, the newest first."""
    return await read(request, orders.find, **query)


@operation(
    body=TransitionIn,
    returns=(200, OrderOut),
    refusals=[IllegalTransition, NotYetOnSale],
    idempotent=True,
)
async def move_order(request: web.Request, number: str, body: Fields) -> Answer:
    """Change the status of an order: packed, shipped, delivered or cancelled."""
    move = partial(orders.move, number=number, **body, actor=_actor(request), now=now())
    return await create_once(request, body, move, orders.by_id)


@operation(body=PaymentIn, returns=(200, OrderOut), refusals=[IllegalTransition], idempotent=True)
async def change_payment(request: web.Request, number: str, body: Fields) -> Answer:
    """Change the payment status of an order."""
    change = partial(orders.change_payment, number=number, **body, actor=_actor(request), now=now())
    return await create_once(request, body, change, orders.by_id)


@operation(query=TaskQuery, returns=(200, TaskPage))
async def list_tasks(request: web.Request, query: Fields) -> Page[TaskRow]:
    """List unfinished tasks, the oldest first."""
    limit, cursor = query["limit"], query["cursor"]
    dead = {"waiting": False, "dead": True}.get(query["state"] or "")
    after_id = pagination.decode(cursor, [int])[0] if cursor else 0
    found = await read(request, outbox.find, dead=dead, after_id=after_id, limit=limit + 1)
    next_cursor = pagination.encode(found[limit - 1].id) if len(found) > limit else None
    return Page(list(found[:limit]), next_cursor)


@operation(returns=(200, TaskOut), repeatable=True)
async def replay_task(request: web.Request, task_id: int) -> TaskRow:
    """Retry a task now, with its attempts counted from 0."""
    by = current_user(request).id
    return await write(request, outbox.replay, task_id, user_id=by, now=now())


@operation(
    body=DiscardIn,
    returns=(204, None),
    refusals=[TaskNotDead, UnknownTask, IllegalTransition, EmailBeingSent],
    idempotent=True,
)
async def discard_task(request: web.Request, task_id: int, body: Fields) -> Answer:
    """Delete a dead task and decide what it was about.

    An order is rejected, and its customer gets an e-mail with the reason.  An e-mail or a job
    fails, with the reason as its answer or error.
    """
    by = current_user(request).id

    async def discard(conn: AsyncConnection) -> Answer:
        if await is_replay(request, conn, idempotency.user_owner(by), body, task_id):
            return Answer(None, REPLAYED)
        await backoffice_tasks.discard(conn, task_id, body["reason"], user_id=by, now=now())
        return Answer(None)

    return await write(request, discard)


def _actor(request: web.Request) -> str:
    return f"staff:{current_user(request).id}"
