"""Bulk changes of orders and e-mails: the preview, and applying it.

A small change is applied in the request, a large one by the actors.  Bulk changes of books have
their own pages in `bulk_books.py`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.lists import AdminList
from admin.rendering import page
from bookstore import notifications, orders
from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import BATCH, BulkField, BulkOutcome, BulkPlan
from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, NotFound
from web.live import sse
from web.live.job_progress import JobProgress
from web.server.keys import ENGINE, REQUEST_ID
from web.server.transactions import read, write
from web.store import flash

#: The preview lists at most this many rows.
MAX_SHOWN = 100
#: The path of the preview of each kind of plan.
PLAN_PATHS: Mapping[BulkField, str] = {
    BulkField.MOVE_ORDERS: "/admin/orders/bulk",
    BulkField.RESEND_EMAILS: "/admin/notifications/bulk",
}


async def redirect_to_plan(
    request: web.Request,
    of: AdminList,
    back: str,
    plan: Callable[[AsyncConnection, Select[tuple[int]]], Awaitable[int]],
) -> web.HTTPSeeOther:
    """A redirect to the plan for all rows of the list with the URL `back`.

    `plan` takes a query for the ids of the rows and returns the id of the plan.  After an error,
    the redirect is to `back`, with a message.
    """

    async def work(conn: AsyncConnection) -> int:
        return await plan(conn, await of.ids(conn, request, back))

    try:
        return web.HTTPSeeOther(f"{of.url()}/bulk/{await write(request, work)}")
    except BookstoreError as error:
        await flash.add(request, "bad", str(error))
        return web.HTTPSeeOther(back)


async def show(request: web.Request) -> web.Response:
    """GET /admin/orders/bulk/{plan_id}, or of e-mails: the preview of a change, or its result."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await bulk_changes.get(conn, plan_id(request))
        if plan.damaged or not plan.field.is_known:
            return await page(request, "bulk_unknown.html", plan=plan)
        _check_path(request, plan)
        find = orders.by_ids if plan.field is BulkField.MOVE_ORDERS else notifications.by_ids
        values = await preview(conn, plan)
        rows = await find(conn, [change.ref_id for change in values["shown"]])
    list_path = PLAN_PATHS[plan.field].removesuffix("/bulk")
    return await page(request, "bulk_preview.html", list_path=list_path, rows=rows, **values)


async def apply(request: web.Request) -> web.Response:
    """POST /admin/orders/bulk/{plan_id}, or of e-mails: apply the change."""
    plan = await read(request, bulk_changes.get, plan_id(request))
    _check_path(request, plan)
    if found := await apply_plan(request, plan):
        done, skipped = found.number(BulkOutcome.DONE), found.number(BulkOutcome.SKIPPED)
        await flash.add(request, "ok", result_message(found, done))
        if skipped:
            await flash.add(request, "warn", f"{skipped:,} skipped: they changed in the meantime.")
    raise web.HTTPSeeOther(request.path)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET .../bulk/{plan_id}/stream: an event for each progress of the plan's job."""
    job = await read(request, bulk_jobs.latest_of_plan, plan_id(request))
    if job is None:
        raise NotFound("This job")
    return await sse.stream(request, JobProgress(request, job, lambda job: json.dumps(job.share)))


def plan_id(request: web.Request) -> int:
    """The id of the plan in the path."""
    return int(request.match_info["plan_id"])


async def preview(conn: AsyncConnection, plan: BulkPlan) -> dict[str, Any]:
    """Values for the template of a plan; `shown` has its first changes, skipped ones in front."""
    ordered = sorted(plan.changes, key=lambda it: it.outcome is not BulkOutcome.SKIPPED)
    return {
        "job": await bulk_jobs.latest_of_plan(conn, plan.id),
        "outcome": BulkOutcome,
        "plan": plan,
        "shown": ordered[:MAX_SHOWN],
    }


async def apply_plan(
    request: web.Request, plan: BulkPlan, *, undo: bool = False
) -> BulkPlan | None:
    """Apply a plan or undo it; returns the plan with its outcomes.

    A request applies at most one batch, so that it stays short.  A larger plan is left to the
    actors, and None is returned.
    """
    small = len(plan.changes) <= BATCH

    async def work(conn: AsyncConnection) -> None:
        if small:
            step = bulk_changes.undo if undo else bulk_changes.apply
            await step(conn, plan.id, **made_by(request))
        else:
            request_id = request[REQUEST_ID]
            await bulk_jobs.start(conn, plan, undo=undo, **made_by(request), request_id=request_id)

    await write(request, work)
    return await read(request, bulk_changes.get, plan.id) if small else None


def result_message(plan: BulkPlan, number: int) -> str:
    """The message about an applied plan."""
    if plan.field is BulkField.MOVE_ORDERS:
        return f"{number:,} {'order is' if number == 1 else 'orders are'} {plan.target}."
    return f"{number:,} {'e-mail is' if number == 1 else 'e-mails are'} sent again."


def _check_path(request: web.Request, plan: BulkPlan) -> None:
    """Check that the kind of the plan belongs to this path, which determines the permission."""
    path = PLAN_PATHS.get(plan.field)
    if path is None or not request.path.startswith(f"{path}/"):
        raise NotFound("This change")
