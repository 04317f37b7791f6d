"""What is still to be done, who does it, and what was given up."""

from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values, order_detail, rabbitmq_status
from admin.failure_help import explained
from admin.list_state import Filter, Listing
from admin.rendering import NO_REFUSAL, Refusal, attempt, back_to, carry_out, page
from bookstore.backoffice import list_exports, reports
from bookstore.backoffice import tasks as desk
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.tasks import failures, outbox
from bookstore.tasks.outbox import Row
from bookstore.tasks.publisher import QUEUES
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import me
from web.monitoring.health import HEARTBEAT_LIMIT
from web.server.keys import ENGINE, PUBLISHER, SETTINGS
from web.server.request_context import now
from web.store import forms

#: One transaction takes no longer than a page does.
AT_ONCE = 50
LIST = "/admin/queues"
_ORDERS = "/admin/orders"
_FILTERS = (Filter("state", "State", {"waiting": "Waiting"}, tab=True),)


def _listing(request: web.Request) -> Listing:
    return Listing(request.query, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.OLDEST)


def _query(listing: Listing) -> desk.Query:
    return desk.Query(dead=listing.text("state") is None)


async def show(
    request: web.Request, refusal: Refusal = NO_REFUSAL, opening: str = ""
) -> web.Response:
    """GET /admin/queues: the dead letters, or with `state` what waits; `task` is open."""
    listing, moment = _listing(request), now()
    async with reading(request.config_dict[ENGINE]) as conn:
        queues = await reports.queues(conn)
        done = await reports.done_lately(conn, now=moment)
        alive = await reports.signs_of_life(conn)
        found = await desk.find(
            conn, _query(listing), sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        rows = found.items
        opened = await _opened(conn, opening or request.query.get("task", ""), rows)
        subjects = await desk.subjects(
            conn, rows if opened is None or opened in rows else [*rows, opened]
        )
        tries = await failures.of(conn, [(opened.task, opened.ref_id)]) if opened else []
    fresh = [(name, at) for name, at in alive if moment - at <= HEARTBEAT_LIMIT]
    # After the transaction: the broker may take its time.
    said = await rabbitmq_status.ask(request.config_dict[PUBLISHER], request.config_dict[SETTINGS])
    return await page(
        request,
        "queues.html",
        at_once=AT_ONCE,
        alive=fresh,
        broker=said,
        checked_at=moment,
        done=done,
        embedded=request.config_dict[SETTINGS].embedded,
        explained=explained,
        found=found,
        last_seen=alive[0][1] if alive else None,
        list=listing,
        most_attempts=outbox.MAX_ATTEMPTS,
        opened=opened,
        dead=_query(listing).dead,
        queue_names=QUEUES,
        queues=queues,
        refusal=refusal.among(
            [order_detail.discarding(opened.id)] if opened and opened.dead_at else []
        ),
        rows=rows,
        subjects=subjects,
        tries=tries,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/queues/export.csv: all dead letters, or all that waits."""
    listing = _listing(request)
    return await exports.send(request, list_exports.TASKS, _query(listing), listing.sort)


async def replay(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/replay: try again, with all attempts."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        row = await outbox.replay(conn, _task_id(request), user_id=me(request).id, now=now())
        return f"{row.task} {row.ref_id} is tried again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(_back(form))


async def replay_all(request: web.Request) -> web.Response:
    """POST /admin/queues/replay: try the oldest dead letters again, as after an outage.

    With `like`, the id of one, only those of its kind that failed with the same words.
    """
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        rows = await outbox.find(conn, dead=True, limit=AT_ONCE)
        if like := form.get("like", ""):
            pattern = await outbox.get(conn, _whole(like))
            rows = [it for it in rows if (it.task, it.error) == (pattern.task, pattern.error)]
        number = await outbox.replay_many(
            conn, [row.id for row in rows], user_id=me(request).id, now=now()
        )
        return f"{number} {'task is' if number == 1 else 'tasks are'} tried again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


async def discard(request: web.Request) -> web.Response:
    """POST /admin/queues/{task_id}/discard: give it up for good, and say why."""
    form, task_id = await forms.read(request), _task_id(request)

    async def work(conn: AsyncConnection) -> str:
        reason = form_values.reason("reason", form.get("reason", ""))
        row = await outbox.get(conn, task_id)
        await outbox.discard(conn, row.id, reason, user_id=me(request).id, now=now())
        return f"{row.task} {row.ref_id} is discarded."

    if error := await attempt(request, work):
        place = order_detail.discarding(task_id)
        refusal = Refusal.of(error, place, {place: form.get("reason", "")})
        return await _not_discarded(
            request, refusal, None if isinstance(error, NotFound) else task_id, _back(form)
        )
    raise web.HTTPSeeOther(_back(form))


async def _not_discarded(
    request: web.Request, refusal: Refusal, task_id: int | None, back: str
) -> web.Response:
    """The page from which it was to be discarded: of the order, or of the queues."""
    if back.startswith(f"{_ORDERS}/") and permits(me(request).role, Permission.SEE_ORDERS):
        number = unquote(back.removeprefix(f"{_ORDERS}/").partition("?")[0])
        return await order_detail.show_one(request, number, refusal)
    return await show(request, refusal, "" if task_id is None else str(task_id))


async def _opened(conn: AsyncConnection, chosen: str, rows: list[Row]) -> Row | None:
    if not chosen:
        return None
    task_id = _whole(chosen)
    for row in rows:
        if row.id == task_id:
            return row
    return await outbox.get(conn, task_id)


def _back(form: Mapping[str, str]) -> str:
    address = form.get("back", "")
    return back_to(address, _ORDERS if address.startswith(_ORDERS) else LIST)


def _whole(text: str) -> int:
    if not form_values.is_id(text):
        raise NotFound("This task")
    return int(text)


def _task_id(request: web.Request) -> int:
    return int(request.match_info["task_id"])
