"""Many rows at once: what was planned is shown, then done, at once or by the actors.

Orders and letters are here; what is special about books is in `bulk.py`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.rendering import page
from bookstore import notifications, orders
from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import BATCH, Field, Outcome, Plan
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, NotFound
from web.auth.sessions import me
from web.live import sse
from web.live.job_progress import Progress
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.store import flash

#: So many of a plan's rows are shown by name.
SHOWN = 100
#: Where each kind of plan is shown.
PLACES: Mapping[Field, str] = {
    Field.MOVE_ORDERS: "/admin/orders/bulk",
    Field.RESEND_EMAILS: "/admin/notifications/bulk",
}


async def led(
    request: web.Request, work: Callable[[], Awaitable[int]], *, to: str, back: str
) -> web.HTTPSeeOther:
    """The way to what `work` plans for the list `to`, or back with why it can't be planned."""
    try:
        return web.HTTPSeeOther(f"{to}/bulk/{await retry_transaction(work)}")
    except BookstoreError as error:
        await flash.leave(request, "bad", str(error))
        return web.HTTPSeeOther(back)


async def show(request: web.Request) -> web.Response:
    """GET /admin/orders/bulk/{plan_id}, or of letters: what would be done, or what became of it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await _plan(request, conn)
        job = await bulk_jobs.of(conn, plan.id)
        told = sorted(plan.changes, key=lambda it: it.outcome is not Outcome.OVERTAKEN)[:SHOWN]
        ids = [change.ref_id for change in told]
        find = orders.by_ids if plan.field is Field.MOVE_ORDERS else notifications.by_ids
        rows = await find(conn, ids)
    return await page(
        request,
        "plan.html",
        job=job,
        list_path=PLACES[plan.field].removesuffix("/bulk"),
        outcome=Outcome,
        plan=plan,
        rows=rows,
        shown=told,
    )


async def do(request: web.Request) -> web.Response:
    """POST /admin/orders/bulk/{plan_id}, or of letters: do what was shown."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await _plan(request, conn)
    if found := await carry_out(request, plan):
        done, left = found.number(Outcome.DONE), found.number(Outcome.OVERTAKEN)
        await flash.leave(request, "ok", said(found, done))
        if left:
            await flash.leave(
                request, "warn", f"{left:,} left alone: something happened to them meanwhile."
            )
    raise web.HTTPSeeOther(request.path)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET .../bulk/{plan_id}/stream: an event whenever the plan's job got on."""
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await bulk_jobs.of(conn, int(request.match_info["plan_id"]))
    if job is None:
        raise NotFound("This job")
    return await sse.stream(request, Progress(request, job, lambda job: json.dumps(job.share)))


async def carry_out(request: web.Request, plan: Plan, *, undo: bool = False) -> Plan | None:
    """Do a plan or undo it; one that is too large is left to the actors, and None is the answer.

    A request takes no more than one batch, so that nobody waits for it.
    """
    engine, user_id = request.config_dict[ENGINE], me(request).id
    step = bulk_changes.undo if undo else bulk_changes.carry_out
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


def said(plan: Plan, number: int) -> str:
    """What was done, in a sentence."""
    if plan.field is Field.MOVE_ORDERS:
        return f"{number:,} {'order is' if number == 1 else 'orders are'} {plan.wanted} now."
    return f"{number:,} {'letter goes' if number == 1 else 'letters go'} out again."


async def _plan(request: web.Request, conn: AsyncConnection) -> Plan:
    """The plan, if it is of the kind that the address names: whoever may come here may do it."""
    plan = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
    if plan.field not in PLACES or not request.path.startswith(f"{PLACES[plan.field]}/"):
        raise NotFound("This change")
    return plan
