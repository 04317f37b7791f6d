"""Exports: files of books or orders that the worker writes and the client downloads."""

from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import exports
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, JobEnded, NotFound
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind
from bookstore.users.permissions import Permission, permits
from web.api.idempotency import create_once
from web.api.job_schemas import LISTS, ExportIn, ExportOut, ExportPage, export_content
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery
from web.auth.sessions import current_user
from web.server.downloads import send_chunks
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.server.route_access import authorize

TAGS = ["staff"]
#: The permission that each list requires.  The routes themselves require `EXPORT_BOOKS`.
LIST_PERMISSIONS = {
    JobKind.EXPORT_BOOKS: Permission.EXPORT_BOOKS,
    JobKind.EXPORT_ORDERS: Permission.EXPORT_ORDERS,
}


@operation(body=ExportIn, returns=(202, ExportOut), tags=TAGS, idempotent=True)
async def start_export(request: web.Request, body: Fields) -> web.Response:
    """Start an export of books or orders, as CSV or XLSX.

    An export of orders has one row for each item of an order and requires the permission
    `export-orders`.  Text is escaped so that spreadsheet programs do not evaluate it as a formula.
    An export of books can be imported again.
    """
    kind = LISTS[body["list"]]
    await authorize(request, LIST_PERMISSIONS[kind])

    async def create(conn: AsyncConnection) -> Job:
        return await exports.start(
            conn,
            kind,
            body["format"],
            user_id=current_user(request).id,
            now=now(),
            request_id=request[REQUEST_ID],
        )

    created = await create_once(request, body, create, jobs.get)
    headers = {"Location": f"/api/v1/exports/{created.content.id}", **created.headers}
    return answer(ExportOut, export_content(created.content), status=202, headers=headers)


@operation(query=PageQuery, returns=(200, ExportPage), tags=TAGS, refusals=[Invalid])
async def list_exports(request: web.Request, query: Fields) -> web.Response:
    """List exports, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await jobs.find(conn, _permitted_kinds(request), **query)
    return page_answer(
        ExportPage, request, Page([export_content(job) for job in page.items], page.next)
    )


@operation(returns=(200, ExportOut), tags=TAGS)
async def show_export(request: web.Request) -> web.Response:
    """Show an export and its progress."""
    return answer(ExportOut, export_content(await _job(request)))


@operation(returns=(200, ExportOut), tags=TAGS, refusals=[JobEnded])
async def cancel_export(request: web.Request) -> web.Response:
    """Cancel an export."""
    job = await _job(request)

    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await jobs.cancel(conn, job.id, user_id=current_user(request).id, now=now())

    return answer(ExportOut, export_content(await retry_transaction(work)))


@operation(returns=(200, None), content_type=[*exports.MEDIA_TYPES.values()], tags=TAGS)
async def fetch_export(request: web.Request) -> web.StreamResponse:
    """Download the file of a finished export."""
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
    return await send_chunks(
        request, response, file_store.chunks(request.config_dict[ENGINE], file.id)
    )


def _permitted_kinds(request: web.Request) -> list[JobKind]:
    """The kinds of exports that the caller may access."""
    return [
        kind
        for kind, permission in LIST_PERMISSIONS.items()
        if permits(current_user(request).role, permission)
    ]


async def _job(request: web.Request) -> Job:
    async with reading(request.config_dict[ENGINE]) as conn:
        return await jobs.get(conn, int(request.match_info["job_id"]), _permitted_kinds(request))
