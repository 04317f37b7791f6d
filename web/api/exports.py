"""Exports: files of books or orders that the worker writes and the client downloads."""

from functools import partial
from urllib.parse import quote

from aiohttp import web

from bookstore import exports
from bookstore.database import file_store
from bookstore.database.pagination import Page
from bookstore.errors import JobEnded, NotFound
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind
from bookstore.users.permissions import Permission, permits
from web.api.idempotency import create_once
from web.api.job_schemas import LISTS, ExportIn, ExportOut, ExportPage
from web.api.operations import Answer, Fields, operation
from web.api.schemas import PageQuery
from web.auth.sessions import current_user
from web.server.downloads import send_chunks
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.server.route_access import authorize
from web.server.transactions import read

#: The permission that each list requires.  The routes themselves require `EXPORT_BOOKS`.
LIST_PERMISSIONS = {
    JobKind.EXPORT_BOOKS: Permission.EXPORT_BOOKS,
    JobKind.EXPORT_ORDERS: Permission.EXPORT_ORDERS,
}


@operation(body=ExportIn, returns=(202, ExportOut), idempotent=True)
async def start_export(request: web.Request, body: Fields) -> Answer:
    """Start an export of books or orders, as CSV or XLSX.

    An export of orders has one row for each item of an order and requires the permission
    `export-orders`.  Text is escaped so that spreadsheet programs do not evaluate it as a formula.
    An export of books can be imported again.
    """
    kind = LISTS[body["list"]]
    await authorize(request, LIST_PERMISSIONS[kind])
    start = partial(
        exports.start,
        kind=kind,
        format=body["format"],
        user_id=current_user(request).id,
        now=now(),
        request_id=request[REQUEST_ID],
    )
    return await create_once(request, body, start, jobs.get, location_by="id")


@operation(query=PageQuery, returns=(200, ExportPage))
async def list_exports(request: web.Request, query: Fields) -> Page[Job]:
    """List exports, the newest first."""
    return await read(request, jobs.find, _permitted_kinds(request), **query)


@operation(returns=(200, ExportOut))
async def show_export(request: web.Request, job_id: int) -> Job:
    """Show an export and its progress."""
    return await read(request, jobs.get, job_id, _permitted_kinds(request))


@operation(returns=(200, ExportOut), refusals=[JobEnded], idempotent=True)
async def cancel_export(request: web.Request, job_id: int) -> Answer:
    """Cancel an export."""
    await read(request, jobs.get, job_id, _permitted_kinds(request))
    by = current_user(request).id
    cancel = partial(jobs.cancel, job_id=job_id, user_id=by, now=now())
    return await create_once(request, {}, cancel, jobs.get)


@operation(returns=(200, None), content_type=[*exports.MEDIA_TYPES.values()])
async def fetch_export(request: web.Request, job_id: int) -> web.StreamResponse:
    """Download the file of a finished export."""
    job = await read(request, jobs.get, job_id, _permitted_kinds(request))
    if job.result_id is None:
        raise NotFound("This file")
    file = await read(request, file_store.get, job.result_id)
    response = web.StreamResponse(
        headers={
            "Content-Type": file.media_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
            "ETag": f'"{file.sha256[:24]}"',
        }
    )
    response.content_length = file.size
    chunks = file_store.chunks(request.config_dict[ENGINE], file.id)
    return await send_chunks(request, response, chunks)


def _permitted_kinds(request: web.Request) -> list[JobKind]:
    """The kinds of exports that the caller may access."""
    return [
        kind
        for kind, permission in LIST_PERMISSIONS.items()
        if permits(current_user(request).role, permission)
    ]
