"""All rows of a list as a spreadsheet file: written in the request, or by the actors."""

import json
import tempfile
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.rendering import page, run_action
from bookstore import exports
from bookstore.backoffice import list_exports
from bookstore.backoffice.list_exports import ListExport
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import NotAllowed, NotFound
from bookstore.exports import MEDIA_TYPES, Format
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.live import sse
from web.live.job_progress import JobProgress
from web.server.downloads import send_chunks
from web.server.keys import ENGINE, RATES, REQUEST_ID
from web.server.request_context import now

LIST = "/admin/exports"
KINDS = (JobKind.EXPORT_LIST,)
#: The permission to export each list; `routes.py` has the same.
PERMISSIONS = {
    list_exports.ORDERS.name: Permission.EXPORT_ORDERS,
    list_exports.BOOKS.name: Permission.EXPORT_BOOKS,
    list_exports.CATEGORIES.name: Permission.EXPORT_BOOKS,
    list_exports.AUTHORS.name: Permission.EXPORT_BOOKS,
    list_exports.IMPORTS.name: Permission.IMPORT_BOOKS,
    list_exports.USERS.name: Permission.CHANGE_USERS,
    list_exports.EMAILS.name: Permission.EXPORT_ORDERS,
    list_exports.TASKS.name: Permission.SEE_TASKS,
    list_exports.LEDGER.name: Permission.EXPORT_BOOKS,
    list_exports.AUDIT.name: Permission.SEE_AUDIT,
}
#: How many of the latest exports are searched for those of the user, and how many are shown.
_SEARCHED_JOBS, _SHOWN_JOBS = 100, 5


async def send(
    request: web.Request, sheet: ListExport, query: object, sort: str
) -> web.StreamResponse:
    """GET {list}/export.csv or export.xlsx: all rows of the list; POST: written by the actors.

    For a list that is too long for a request, GET shows a page that offers the POST.  The audit
    log records who exported the rows.
    """
    chosen = Format(request.path.rpartition(".")[2])
    if request.method == "POST":
        raise web.HTTPSeeOther(f"{LIST}/{(await _start(request, sheet, query, sort, chosen)).id}")
    engine = request.config_dict[ENGINE]
    async with reading(engine) as conn:
        number = await sheet.count(conn, query, list_exports.MAX_DIRECT_ROWS + 1)
        own = (
            await _own_jobs(conn, current_user(request).id, sheet)
            if number > list_exports.MAX_DIRECT_ROWS
            else []
        )
    if number > list_exports.MAX_DIRECT_ROWS:
        return await page(
            request,
            "export_new.html",
            format=chosen,
            retention=exports.RETENTION,
            recent=own,
            limit=list_exports.MAX_DIRECT_ROWS,
            sheet=sheet,
        )
    async with transaction(engine) as conn:
        await list_exports.record_export(
            conn, sheet, query, user_id=current_user(request).id, now=now()
        )
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
        return await send_chunks(request, response, file_store.pieces(file))


async def show(request: web.Request) -> web.Response:
    """GET /admin/exports/{job_id}: the progress of an export and its file."""
    job, sheet = await _job(request)
    return await page(request, "export.html", job=job, retention=exports.RETENTION, sheet=sheet)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET /admin/exports/{job_id}/stream: an event for each progress."""
    job, _ = await _job(request)
    return await sse.stream(request, JobProgress(request, job, lambda job: json.dumps(job.share)))


async def download(request: web.Request) -> web.StreamResponse:
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
    return await send_chunks(
        request, response, file_store.chunks(request.config_dict[ENGINE], file.id)
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /admin/exports/{job_id}/cancel."""
    job, _ = await _job(request)

    async def work(conn: AsyncConnection) -> str:
        await jobs.cancel(conn, job.id, user_id=current_user(request).id, now=now())
        return "The export was cancelled. There is no file."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{job.id}")


async def _start(
    request: web.Request,
    sheet: ListExport,
    query: object,
    sort: str,
    chosen: Format,
) -> Job:
    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await list_exports.record_export(
                conn, sheet, query, user_id=current_user(request).id, now=now()
            )
            return await list_exports.start(
                conn,
                sheet,
                query,
                sort,
                chosen,
                user_id=current_user(request).id,
                now=now(),
                request_id=request[REQUEST_ID],
            )

    return await retry_transaction(work)


async def _own_jobs(conn: AsyncConnection, user_id: int, sheet: ListExport) -> list[Job]:
    """The latest exports of the list by this user."""
    found = await jobs.find(conn, KINDS, limit=_SEARCHED_JOBS)
    own = [
        job
        for job in found.items
        if job.user_id == user_id and job.options.get("list") == sheet.name
    ]
    return own[:_SHOWN_JOBS]


async def _job(request: web.Request) -> tuple[Job, ListExport]:
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await jobs.get(conn, int(request.match_info["job_id"]), KINDS)
    sheet = list_exports.LIST_EXPORTS.get(job.options.get("list", ""))
    if sheet is None:
        # The query may have named a person whose data was erased.
        raise NotFound("This export")
    if not permits(current_user(request).role, PERMISSIONS[sheet.name]):
        raise NotAllowed
    return job, sheet
