"""Exports: lists of books and orders, written by the actors and fetched when they are done."""

from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import exports
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, JobEnded, NotFound
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Kind
from bookstore.users.permissions import Permission, permits
from web.api.idempotency import made_once
from web.api.job_schemas import LISTS, ExportIn, ExportOut, ExportPage, shown_export
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery
from web.auth.sessions import me
from web.server.downloads import send_pieces
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.server.route_access import authorize

TAGS = ["staff"]
#: Who may have which list; the addresses themselves ask for the first.
WANTED = {
    Kind.EXPORT_BOOKS: Permission.EXPORT_BOOKS,
    Kind.EXPORT_ORDERS: Permission.EXPORT_ORDERS,
}


@operation(body=ExportIn, returns=(202, ExportOut), tags=TAGS, once=True)
async def start_export(request: web.Request, body: Fields) -> web.Response:
    """Have a list written, as CSV or XLSX.

    Orders have a row for each of their books, and are for managers.  No text in it is taken for
    a formula by a spreadsheet, and a list of books can be imported again.
    """
    kind = LISTS[body["list"]]
    await authorize(request, WANTED[kind])

    async def make(conn: AsyncConnection) -> Job:
        return await exports.start(
            conn,
            kind,
            body["format"],
            user_id=me(request).id,
            now=now(),
            request_id=request[REQUEST_ID],
        )

    made = await made_once(request, body, make, jobs.get)
    headers = {"Location": f"/api/v1/exports/{made.content.id}", **made.headers}
    return answer(ExportOut, shown_export(made.content), status=202, headers=headers)


@operation(query=PageQuery, returns=(200, ExportPage), tags=TAGS, refusals=[Invalid])
async def list_exports(request: web.Request, query: Fields) -> web.Response:
    """Show exports, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await jobs.find(conn, _kinds(request), **query)
    return page_answer(
        ExportPage, request, Page([shown_export(job) for job in page.items], page.next)
    )


@operation(returns=(200, ExportOut), tags=TAGS)
async def show_export(request: web.Request) -> web.Response:
    """Show how far an export is."""
    return answer(ExportOut, shown_export(await _job(request)))


@operation(returns=(200, ExportOut), tags=TAGS, refusals=[JobEnded])
async def cancel_export(request: web.Request) -> web.Response:
    """End an export."""
    job = await _job(request)

    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await jobs.cancel(conn, job.id, user_id=me(request).id, now=now())

    return answer(ExportOut, shown_export(await retry_transaction(work)))


@operation(returns=(200, None), content_type=[*exports.MEDIA_TYPES.values()], tags=TAGS)
async def fetch_export(request: web.Request) -> web.StreamResponse:
    """Fetch the file of an export that is done."""
    job = await _job(request)
    if job.result_id is None:
        raise NotFound("This file")
    async with reading(request.config_dict[ENGINE]) as conn:
        file = await file_store.get(conn, job.result_id)
    response = web.StreamResponse(
        headers={
            "Content-Type": file.media_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
            "ETag": f'"{file.sha256[:24]}"',
        }
    )
    response.content_length = file.size
    return await send_pieces(
        request, response, file_store.chunks(request.config_dict[ENGINE], file.id)
    )


def _kinds(request: web.Request) -> list[Kind]:
    """The kinds of lists that whoever asks may have."""
    return [kind for kind, permission in WANTED.items() if permits(me(request).role, permission)]


async def _job(request: web.Request) -> Job:
    async with reading(request.config_dict[ENGINE]) as conn:
        return await jobs.get(conn, int(request.match_info["job_id"]), _kinds(request))
