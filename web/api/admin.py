"""For people who work here: orders, and the work that is left."""

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
from bookstore.tasks.outbox import Row, Task
from web.api.field_types import Lines, Moment
from web.api.operations import Fields, answer, operation, page_answer
from web.api.order_schemas import AllOrdersQuery, OrderOut, OrderPage, PaymentIn, TransitionIn
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import me
from web.live import sse
from web.live.staff_stream import FEED
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["staff"]


class TaskOut(Schema):
    id = fields.Integer(required=True)
    task = fields.Enum(Task, by_value=True, required=True)
    ref_id = fields.Integer(
        required=True, metadata={"description": "The order or notification that it is about."}
    )
    state = fields.String(required=True, validate=validate.OneOf(["waiting", "dead"]))
    due_at = Moment(required=True)
    offers = fields.Integer(required=True)
    attempts = fields.Integer(required=True)
    error = fields.String(required=True, allow_none=True)
    dead_at = Moment(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)


class TaskQuery(PageQuery):
    state = fields.String(
        load_default=None,
        validate=validate.OneOf(["waiting", "dead", "waiting,dead", "dead,waiting"]),
        metadata={"description": "Parked tasks are those that were given up."},
    )


class DiscardIn(Schema):
    reason = Lines(500, required=True)


TaskPage = page_of(TaskOut)


class FeedEventOut(Schema):
    id = fields.Integer(required=True)
    number = fields.String(required=True, metadata={"description": "The order's."})
    seq = fields.Integer(
        required=True, metadata={"description": "Counts 1, 2, 3 ... within the order."}
    )
    kind = fields.String(required=True)
    at = Moment(required=True)
    actor = fields.String(required=True)
    detail = fields.String(required=True, allow_none=True)


@operation(
    headers={"Last-Event-ID": "The `id` that came with the last event."},
    returns=(200, None),
    content_type="text/event-stream",
    tags=TAGS,
)
async def stream_all_orders(request: web.Request) -> web.StreamResponse:
    """Follow what happens to all orders, as server-sent events.

    Each is named `order` and has the event as JSON in `data`.  Without `Last-Event-ID` the
    stream begins now.  Who resumes misses nothing, but may get what came last a second time:
    the `id` in `data` tells.  An event `reset` says that too much was missed to be told.
    """
    seen = request.headers.get("Last-Event-ID", "")
    after = int(seen) if re.fullmatch(r"[0-9]{1,18}", seen) else None
    with request.config_dict[FEED].follow(after, FeedEventOut().dumps) as reader:
        return await sse.stream(request, reader)


@operation(query=AllOrdersQuery, returns=(200, OrderPage), tags=TAGS, refusals=[Invalid])
async def list_all_orders(request: web.Request, query: Fields) -> web.Response:
    """Show everybody's orders, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await orders.find(conn, **query)
    return page_answer(OrderPage, request, page)


@operation(body=TransitionIn, returns=(200, OrderOut), tags=TAGS, refusals=[IllegalTransition])
async def move_order(request: web.Request, body: Fields) -> web.Response:
    """Move an order on: packed, shipped, delivered, or cancelled."""

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.move(
                conn, request.match_info["number"], **body, actor=_actor(request), now=now()
            )

    return answer(OrderOut, await retry_transaction(work))


@operation(body=PaymentIn, returns=(200, OrderOut), tags=TAGS, refusals=[IllegalTransition])
async def change_payment(request: web.Request, body: Fields) -> web.Response:
    """Record what happened to an order's money."""

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.change_payment(
                conn, request.match_info["number"], **body, actor=_actor(request), now=now()
            )

    return answer(OrderOut, await retry_transaction(work))


@operation(query=TaskQuery, returns=(200, TaskPage), tags=TAGS, refusals=[Invalid])
async def list_tasks(request: web.Request, query: Fields) -> web.Response:
    """Show the work that is left, the oldest first."""
    limit, cursor = query["limit"], query["cursor"]
    dead = {"waiting": False, "dead": True}.get(query["state"] or "")
    after_id = pagination.decode(cursor, [int])[0] if cursor else 0
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await outbox.find(conn, dead=dead, after_id=after_id, limit=limit + 1)
    shown = [_shown(row) for row in found[:limit]]
    following = pagination.encode(found[limit - 1].id) if len(found) > limit else None
    return page_answer(TaskPage, request, Page(shown, following))


@operation(returns=(200, TaskOut), tags=TAGS)
async def replay_task(request: web.Request) -> web.Response:
    """Try a task again, with all its attempts."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        row = await outbox.replay(conn, _task_id(request), user_id=me(request).id, now=now())
    return answer(TaskOut, _shown(row))


@operation(body=DiscardIn, returns=(204, None), tags=TAGS)
async def discard_task(request: web.Request, body: Fields) -> web.Response:
    """Give a task up for good; what it was for stays as it is."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        await outbox.discard(
            conn, _task_id(request), body["reason"], user_id=me(request).id, now=now()
        )
    return web.Response(status=204)


def _shown(row: Row) -> Fields:
    state = "waiting" if row.dead_at is None else "dead"
    return {name: getattr(row, name) for name in Row.__slots__} | {"state": state}


def _task_id(request: web.Request) -> int:
    return int(request.match_info["task_id"])


def _actor(request: web.Request) -> str:
    return f"staff:{me(request).id}"
