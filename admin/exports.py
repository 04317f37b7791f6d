"""What a list shows, all of it, as a file for a spreadsheet: at once, or by the actors."""

import json
import tempfile
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.rendering import carry_out, page
from bookstore import exports
from bookstore.backoffice import list_exports
from bookstore.backoffice.list_exports import Sheet
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import NotAllowed, NotFound
from bookstore.exports import MEDIA_TYPES, Format
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Kind
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import me
from web.live import sse
from web.live.job_progress import Progress
from web.server.downloads import send_pieces
from web.server.keys import ENGINE, RATES, REQUEST_ID
from web.server.request_context import now

LIST = "/admin/exports"
KINDS = (Kind.EXPORT_LIST,)
#: Who may take which list along; `routes.py` asks for the same.
WANTED = {
    list_exports.ORDERS.name: Permission.EXPORT_ORDERS,
    list_exports.BOOKS.name: Permission.EXPORT_BOOKS,
    list_exports.CATEGORIES.name: Permission.EXPORT_BOOKS,
    list_exports.AUTHORS.name: Permission.EXPORT_BOOKS,
    list_exports.IMPORTS.name: Permission.IMPORT_BOOKS,
    list_exports.USERS.name: Permission.CHANGE_USERS,
    list_exports.LETTERS.name: Permission.EXPORT_ORDERS,
    list_exports.TASKS.name: Permission.SEE_TASKS,
    list_exports.LEDGER.name: Permission.EXPORT_BOOKS,
    list_exports.AUDIT.name: Permission.SEE_AUDIT,
}
#: So many of the latest exports are looked through for one's own.
_LOOKED_AT, _SHOWN = 100, 5


async def send(request: web.Request, sheet: Sheet, query: object, sort: str) -> web.StreamResponse:
    """GET {list}/export.csv or export.xlsx: all rows that the list shows; POST: by the actors.

    Of a list too long to wait for, a page comes that offers just that.  It is on record who took
    the rows along.
    """
    chosen = Format(request.path.rpartition(".")[2])
    if request.method == "POST":
        raise web.HTTPSeeOther(f"{LIST}/{(await _start(request, sheet, query, sort, chosen)).id}")
    engine = request.config_dict[ENGINE]
    async with reading(engine) as conn:
        number = await sheet.count(conn, query, list_exports.MOST_AT_ONCE + 1)
        mine = (
            await _mine(conn, me(request).id, sheet) if number > list_exports.MOST_AT_ONCE else []
        )
    if number > list_exports.MOST_AT_ONCE:
        return await page(
            request,
            "export_new.html",
            format=chosen,
            kept=exports.RETENTION,
            mine=mine,
            most=list_exports.MOST_AT_ONCE,
            sheet=sheet,
        )
    async with transaction(engine) as conn:
        await list_exports.record(conn, sheet, query, user_id=me(request).id, now=now())
    with tempfile.TemporaryFile() as file:
        currency = request.config_dict[RATES].currency
        source = sheet.source(query, sort)
        await exports.write(engine, source, chosen, file, currency=currency)
        file.seek(0)
        response = web.StreamResponse(
            headers={
                "Content-Type": MEDIA_TYPES[chosen],
                "Content-Disposition": f'attachment; filename="{sheet.name}.{chosen}"',
            }
        )
        return await send_pieces(request, response, file_store.pieces(file))


async def show(request: web.Request) -> web.Response:
    """GET /admin/exports/{job_id}: how far it is, and its file."""
    job, sheet = await _job(request)
    return await page(request, "export.html", job=job, kept=exports.RETENTION, sheet=sheet)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET /admin/exports/{job_id}/stream: an event whenever it got on."""
    job, _ = await _job(request)
    return await sse.stream(request, Progress(request, job, lambda job: json.dumps(job.share)))


async def fetch(request: web.Request) -> web.StreamResponse:
    """GET /admin/exports/{job_id}/file."""
    job, _ = await _job(request)
    if job.result_id is None:
        raise NotFound("This file")
    async with reading(request.config_dict[ENGINE]) as conn:
        file = await file_store.get(conn, job.result_id)
    response = web.StreamResponse(
        headers={
            "Content-Type": file.media_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
        }
    )
    response.content_length = file.size
    return await send_pieces(
        request, response, file_store.chunks(request.config_dict[ENGINE], file.id)
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /admin/exports/{job_id}/cancel."""
    job, _ = await _job(request)

    async def work(conn: AsyncConnection) -> str:
        await jobs.cancel(conn, job.id, user_id=me(request).id, now=now())
        return "The export has stopped. There is no file."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{job.id}")


async def _start(
    request: web.Request,
    sheet: Sheet,
    query: object,
    sort: str,
    chosen: Format,
) -> Job:
    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await list_exports.record(conn, sheet, query, user_id=me(request).id, now=now())
            return await list_exports.start(
                conn,
                sheet,
                query,
                sort,
                chosen,
                user_id=me(request).id,
                now=now(),
                request_id=request[REQUEST_ID],
            )

    return await retry_transaction(work)


async def _mine(conn: AsyncConnection, user_id: int, sheet: Sheet) -> list[Job]:
    """The latest that this member of the staff had written of the list."""
    found = await jobs.find(conn, KINDS, limit=_LOOKED_AT)
    wanted = [
        job
        for job in found.items
        if job.user_id == user_id and job.options.get("list") == sheet.name
    ]
    return wanted[:_SHOWN]


async def _job(request: web.Request) -> tuple[Job, Sheet]:
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await jobs.get(conn, int(request.match_info["job_id"]), KINDS)
    sheet = list_exports.SHEETS.get(job.options.get("list", ""))
    if sheet is None:
        # It may have been about somebody who was erased.
        raise NotFound("This export")
    if not permits(me(request).role, WANTED[sheet.name]):
        raise NotAllowed
    return job, sheet
