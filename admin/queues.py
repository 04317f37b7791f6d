"""What is still to be done, who does it, and what was given up."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import inputs
from admin.page import carry_out, page
from bookstore import paging, reports, tasks, trails
from bookstore.db import reading
from bookstore.messages import QUEUES
from web.health import HEARTBEAT_LIMIT
from web.keys import ENGINE, PUBLISHER, SETTINGS
from web.requests import now
from web.sessions import me
from web.store import forms

PAGE = 25
#: One transaction takes no longer than a page does.
AT_ONCE = 50
LIST = "/admin/queues"


async def show(request: web.Request) -> web.Response:
    """GET /admin/queues: `state` is `parked`, the dead letters, or `waiting`."""
    parked = request.query.get("state") != "waiting"
    cursor, moment = request.query.get("cursor"), now()
    after_id = paging.decode(cursor, [int])[0] if cursor else 0
    async with reading(request.config_dict[ENGINE]) as conn:
        queues = await reports.queues(conn)
        alive = await reports.signs_of_life(conn)
        found = await tasks.find(conn, parked=parked, after_id=after_id, limit=PAGE + 1)
        rows = found[:PAGE]
        subjects = await trails.subjects(conn, rows)
    fresh = [(name, at) for name, at in alive if moment - at <= HEARTBEAT_LIMIT]
    return await page(
        request,
        "queues.html",
        at_once=AT_ONCE,
        alive=fresh,
        broker_ready=request.config_dict[PUBLISHER].ready,
        checked_at=moment,
        cursor=cursor,
        embedded=request.config_dict[SETTINGS].embedded,
        last_seen=alive[0][1] if alive else None,
        most_attempts=tasks.MAX_ATTEMPTS,
        next=paging.encode(rows[-1].id) if len(found) > PAGE else None,
        parked=parked,
        queue_names=QUEUES,
        queues=queues,
        rows=rows,
        subjects=subjects,
    )


async def replay(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/replay: try again, with all attempts."""

    async def work(conn: AsyncConnection) -> str:
        row = await tasks.replay(conn, _task_id(request), user_id=me(request).id, now=now())
        return f"{row.task} {row.ref_id} is tried again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


async def replay_all(request: web.Request) -> web.Response:
    """POST /admin/queues/replay: try the oldest dead letters again, as after an outage."""

    async def work(conn: AsyncConnection) -> str:
        rows = await tasks.find(conn, parked=True, limit=AT_ONCE)
        for row in rows:
            await tasks.replay(conn, row.id, user_id=me(request).id, now=now())
        return f"{len(rows)} {'task is' if len(rows) == 1 else 'tasks are'} tried again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


async def discard(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/discard: give it up for good, and say why."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        reason = inputs.reason("reason", form.get("reason", ""))
        row = await tasks.get(conn, _task_id(request))
        await tasks.discard(conn, row.id, reason, user_id=me(request).id, now=now())
        return f"{row.task} {row.ref_id} is discarded."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


def _task_id(request: web.Request) -> int:
    return int(request.match_info["task_id"])
