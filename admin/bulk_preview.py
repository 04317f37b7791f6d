"""Bulk changes of orders and e-mails: the preview, and applying it.

A small change is applied in the request, a large one by the actors.  Bulk changes of books have
their own pages in `bulk_books.py`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from admin.rendering import page
from bookstore import notifications, orders
from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import BATCH, BulkField, BulkOutcome, BulkPlan
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, NotFound
from web.auth.sessions import current_user
from web.live import sse
from web.live.job_progress import JobProgress
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.store import flash

#: The preview lists at most this many rows.
MAX_SHOWN = 100
#: The path of the preview of each kind of plan.
PLAN_PATHS: Mapping[BulkField, str] = {
    BulkField.MOVE_ORDERS: "/admin/orders/bulk",
    BulkField.RESEND_EMAILS: "/admin/notifications/bulk",
}


async def redirect_to_plan(
    request: web.Request, work: Callable[[], Awaitable[int]], *, to: str, back: str
) -> web.HTTPSeeOther:
    """A redirect to the plan that `work` makes for the list `to`; after an error, to `back`."""
    try:
        return web.HTTPSeeOther(f"{to}/bulk/{await retry_transaction(work)}")
    except BookstoreError as error:
        await flash.add(request, "bad", str(error))
        return web.HTTPSeeOther(back)


async def show(request: web.Request) -> web.Response:
    """GET /admin/orders/bulk/{plan_id}, or of e-mails: the preview of a change, or its result."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
        if not plan.field.is_known:
            return await page(request, "bulk_unknown.html", plan=plan)
        _check_path(request, plan)
        job = await bulk_jobs.latest_of_plan(conn, plan.id)
        shown = sorted(plan.changes, key=lambda it: it.outcome is not BulkOutcome.SKIPPED)[
            :MAX_SHOWN
        ]
        ids = [change.ref_id for change in shown]
        find = orders.by_ids if plan.field is BulkField.MOVE_ORDERS else notifications.by_ids
        rows = await find(conn, ids)
    return await page(
        request,
        "bulk_preview.html",
        job=job,
        list_path=PLAN_PATHS[plan.field].removesuffix("/bulk"),
        outcome=BulkOutcome,
        plan=plan,
        rows=rows,
        shown=shown,
    )


async def apply(request: web.Request) -> web.Response:
    """POST /admin/orders/bulk/{plan_id}, or of e-mails: apply the change."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
    _check_path(request, plan)
    if found := await apply_plan(request, plan):
        done, skipped = found.number(BulkOutcome.DONE), found.number(BulkOutcome.SKIPPED)
        await flash.add(request, "ok", result_message(found, done))
        if skipped:
            await flash.add(request, "warn", f"{skipped:,} skipped: they changed in the meantime.")
    raise web.HTTPSeeOther(request.path)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET .../bulk/{plan_id}/stream: an event for each progress of the plan's job."""
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await bulk_jobs.latest_of_plan(conn, int(request.match_info["plan_id"]))
    if job is None:
        raise NotFound("This job")
    return await sse.stream(request, JobProgress(request, job, lambda job: json.dumps(job.share)))


async def apply_plan(
    request: web.Request, plan: BulkPlan, *, undo: bool = False
) -> BulkPlan | None:
    """Apply a plan or undo it; returns the plan with its outcomes.

    A request applies at most one batch, so that it stays short.  A larger plan is left to the
    actors, and None is returned.
    """
    engine, user_id = request.config_dict[ENGINE], current_user(request).id
    step = bulk_changes.undo if undo else bulk_changes.apply
    small = len(plan.changes) <= BATCH

    async def work() -> None:
        async with transaction(engine) as conn:
            if small:
                await step(conn, plan.id, user_id=user_id, now=now())
            else:
                await bulk_jobs.start(
                    conn,
                    plan,
                    undo=undo,
                    user_id=user_id,
                    now=now(),
                    request_id=request[REQUEST_ID],
                )

    await retry_transaction(work)
    if not small:
        return None
    async with reading(engine) as conn:
        return await bulk_changes.get(conn, plan.id)


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
