"""All rows of a list as a spreadexported file: written in the request, or by the actors."""

import json
import tempfile
from typing import Any
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.rendering import page, run_action
from bookstore import exports
from bookstore.backoffice import list_exports
from bookstore.backoffice.lists import List
from bookstore.database import file_store
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.exports import MEDIA_TYPES, Format
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind
from web.auth.sessions import current_user
from web.live import sse
from web.live.job_progress import JobProgress
from web.server.downloads import send_chunks
from web.server.keys import ENGINE, RATES, REQUEST_ID
from web.server.route_access import authorize
from web.server.transactions import read, write

LIST = "/admin/exports"
KINDS = (JobKind.EXPORT_LIST,)
#: How many of the latest exports are searched for those of the user, and how many are shown.
_SEARCHED_JOBS, _SHOWN_JOBS = 100, 5


async def send(
    request: web.Request, exported: List[Any, Any], query: object, sort: str
) -> web.StreamResponse:
    """GET {list}/export.csv or export.xlsx: all rows of the list; POST: written by the actors.

    For a list that is too long for a request, GET shows a page that offers the POST.  The audit
    log records who exported the rows.
    """
    chosen, limit = Format(request.path.rpartition(".")[2]), list_exports.MAX_DIRECT_ROWS
    if request.method == "POST":
        job = await write(
            request,
            list_exports.start,
            exported,
            query,
            sort,
            chosen,
            **made_by(request),
            request_id=request[REQUEST_ID],
        )
        raise web.HTTPSeeOther(f"{LIST}/{job.id}")
    engine = request.config_dict[ENGINE]
    async with reading(engine) as conn:
        number = await exported.count(conn, await exported.select(conn, query), limit + 1)
        user_id = current_user(request).id
        recent = await _own_jobs(conn, user_id, exported) if number > limit else []
    if number > limit:
        return await page(
            request,
            "export_new.html",
            exported=exported,
            format=chosen,
            limit=limit,
            recent=recent,
            retention=exports.RETENTION,
        )
    await write(request, list_exports.record_export, exported, query, **made_by(request))
    with tempfile.TemporaryFile() as file:
        currency = request.config_dict[RATES].currency
        source = list_exports.source(exported, query, sort)
        await exports.write(engine, source, chosen, file, currency=currency)
        file.seek(0)
        response = web.StreamResponse(
            headers={
                "Content-Type": MEDIA_TYPES[chosen],
                "Content-Disposition": f'attachment; filename="{exported.name}.{chosen}"',
            }
        )
        return await send_chunks(request, response, file_store.pieces(file))


async def show(request: web.Request) -> web.Response:
    """GET /admin/exports/{job_id}: the progress of an export and its file."""
    job, exported = await _job(request)
    return await page(
        request, "export.html", exported=exported, job=job, retention=exports.RETENTION
    )


async def stream(request: web.Request) -> web.StreamResponse:
    """GET /admin/exports/{job_id}/stream: an event for each progress."""
    job, _ = await _job(request)
    return await sse.stream(request, JobProgress(request, job, lambda job: json.dumps(job.share)))


async def download(request: web.Request) -> web.StreamResponse:
    """GET /admin/exports/{job_id}/file."""
    job, _ = await _job(request)
    if job.result_id is None:
        raise NotFound("This file")
    file = await read(request, file_store.get, job.result_id)
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
        await jobs.cancel(conn, job.id, **made_by(request))
        return "The export was cancelled. There is no file."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{job.id}")


async def _own_jobs(conn: AsyncConnection, user_id: int, exported: List[Any, Any]) -> list[Job]:
    """The latest exports of the list by this user."""
    found = await jobs.find(conn, KINDS, limit=_SEARCHED_JOBS)
    own = [
        job
        for job in found.items
        if job.user_id == user_id and job.options.get("list") == exported.name
    ]
    return own[:_SHOWN_JOBS]


async def _job(request: web.Request) -> tuple[Job, List[Any, Any]]:
    job = await read(request, jobs.get, int(request.match_info["job_id"]), KINDS)
    exported = list_exports.list_of(job)
    await authorize(request, exported.export_permission)
    return job, exported
