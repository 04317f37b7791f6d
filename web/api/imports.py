"""Imports: a list of books is sent, worked off by the actors, and told about."""

import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import file_store, pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.file_store import File
from bookstore.database.pagination import Page
from bookstore.errors import BookstoreError, Invalid, JobEnded, TooLarge
from bookstore.exports import rejected_rows
from bookstore.imports import importer
from bookstore.imports.formats import Options
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job
from bookstore.users.permissions import Permission, permits
from web.api.idempotency import made_once
from web.api.job_schemas import (
    ImportOut,
    ImportPage,
    ImportQuery,
    LinePage,
    LineQuery,
    shown_import,
    shown_line,
)
from web.api.operations import Fields, answer, operation, page_answer
from web.auth.sessions import me
from web.live import sse
from web.live.job_progress import Progress
from web.server.downloads import send_pieces
from web.server.errors import MalformedMultipart, NotMultipart
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now

TAGS = ["staff"]
#: What stands beside the file is short.
_LONGEST_FIELD = 16 * 1024
#: What aiohttp says of a form that is none.
_BROKEN = (
    HttpProcessingError,
    web.RequestPayloadError,
    AssertionError,
    LookupError,
    RuntimeError,
    ValueError,
)


@operation(
    returns=(202, ImportOut),
    upload=["multipart/form-data"],
    tags=TAGS,
    refusals=[Invalid, TooLarge, NotMultipart, MalformedMultipart],
    once=True,
)
async def start_import(request: web.Request) -> web.Response:
    """Take in a list of books: CSV, an Excel workbook (XLSX) or ONIX 3.

    The form has the part `file`, and if wanted `dry_run` (`true` or `false`), `encoding` (of a
    CSV file that is not UTF-8) and `mapping`: a JSON object with the file's name for each of our
    columns that is not recognised, or "" for one that is not to be read.

    What the file is, is found out by its content.  Each row is taken whole or refused whole; a
    second run of the same file changes nothing; a dry run says what a real one would do.
    """
    file, dry_run, options = await received(request)
    body: dict[str, Any] = {"sha256": file.sha256, "dry_run": dry_run, **options.to_json()}
    used = False
    try:

        async def make(conn: AsyncConnection) -> Job:
            return await importer.start(
                conn,
                file.id,
                user_id=me(request).id,
                dry_run=dry_run,
                options=options,
                may_change_prices=permits(me(request).role, Permission.CHANGE_PRICES),
                now=now(),
                request_id=request[REQUEST_ID],
            )

        made = await made_once(request, body, make, jobs.get)
        job: Job = made.content
        used = job.file_id == file.id
    finally:
        if not used:
            await _forget(request, file)
    headers = {"Location": f"/api/v1/imports/{job.id}", **made.headers}
    return answer(ImportOut, shown_import(job), status=202, headers=headers)


@operation(query=ImportQuery, returns=(200, ImportPage), tags=TAGS, refusals=[Invalid])
async def list_imports(request: web.Request, query: Fields) -> web.Response:
    """Show imports, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await jobs.find(conn, IMPORTS, **query)
    return page_answer(
        ImportPage, request, Page([shown_import(job) for job in page.items], page.next)
    )


@operation(returns=(200, ImportOut), tags=TAGS)
async def show_import(request: web.Request) -> web.Response:
    """Show how far an import is."""
    return answer(ImportOut, shown_import(await _job(request)))


@operation(query=LineQuery, returns=(200, LinePage), tags=TAGS, refusals=[Invalid])
async def list_import_lines(request: web.Request, query: Fields) -> web.Response:
    """Show what became of an import's lines, in the order of the file.

    Those refused are always there, of ONIX messages all.
    """
    limit, cursor = query["limit"], query["cursor"]
    after = pagination.decode(cursor, [int])[0] if cursor else -1
    job = await _job(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await jobs.lines(
            conn, job.id, outcome=query["outcome"], after=after, limit=limit + 1
        )
    following = pagination.encode(found[limit - 1].position) if len(found) > limit else None
    return page_answer(
        LinePage, request, Page([shown_line(line) for line in found[:limit]], following)
    )


@operation(returns=(200, None), content_type="text/csv", tags=TAGS)
async def show_refused_rows(request: web.Request) -> web.StreamResponse:
    """Fetch the refused rows as a CSV file, to be mended and sent again.

    It has the columns of the file that was sent, and in front of them four that say what is
    wrong, which an import ignores.
    """
    job = await _job(request)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="import-{job.id}-refused.csv"',
        }
    )
    return await send_pieces(
        request, response, rejected_rows.as_csv(request.config_dict[ENGINE], job)
    )


@operation(returns=(200, None), content_type="text/event-stream", tags=TAGS)
async def stream_import(request: web.Request) -> web.StreamResponse:
    """Follow an import live, as server-sent events.

    Each is named `progress` and has the import as JSON in `data`; the stream ends with it.
    """
    return await sse.stream(request, Progress(request, await _job(request), _told))


@operation(returns=(200, ImportOut), tags=TAGS, refusals=[JobEnded])
async def cancel_import(request: web.Request) -> web.Response:
    """End an import; what it has taken in so far stays."""
    job_id = int(request.match_info["job_id"])

    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await jobs.get(conn, job_id, IMPORTS)
            return await jobs.cancel(conn, job_id, user_id=me(request).id, now=now())

    return answer(ImportOut, shown_import(await retry_transaction(work)))


def _told(job: Job) -> str:
    text: str = ImportOut().dumps(shown_import(job))
    return text


async def _job(request: web.Request) -> Job:
    async with reading(request.config_dict[ENGINE]) as conn:
        return await jobs.get(conn, int(request.match_info["job_id"]), IMPORTS)


async def received(request: web.Request) -> tuple[File, bool, Options]:
    """The file, stored, and what stands beside it.

    Raises:
        NotMultipart, MalformedMultipart: the body is no form with a file.
        TooLarge: the file is.
        Invalid: a part is missing, there twice, unknown or wrong.
    """
    if request.content_type != "multipart/form-data":
        raise NotMultipart
    file: File | None = None
    texts: dict[str, str] = {}
    try:
        async for part in await _parts(request):
            name = part.name or ""
            if name == "file" and file is None:
                file = await _stored(request, part)
            elif name in {"dry_run", "encoding", "mapping"} and name not in texts:
                texts[name] = await _text(part, name)
            else:
                raise Invalid(name or "file", "This part is unknown, or there twice.")
        if file is None or file.size == 0:
            raise Invalid("file", "This must not be missing or empty.")
        dry_run, options = _asked(texts)
    except BaseException as error:
        if file is not None:
            await _forget(request, file)
        if isinstance(error, BookstoreError | web.HTTPException | ConnectionError):
            raise
        if isinstance(error, _BROKEN):
            raise MalformedMultipart from None
        raise
    return file, dry_run, options


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    reader = await request.multipart()

    async def parts() -> AsyncIterator[BodyPartReader]:
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise MalformedMultipart
            yield part

    return parts()


async def _stored(request: web.Request, part: BodyPartReader) -> File:
    async def pieces() -> AsyncIterator[bytes]:
        while piece := await part.read_chunk(file_store.CHUNK_BYTES):
            yield bytes(piece)

    moment = now()
    return await file_store.store(
        request.config_dict[ENGINE],
        pieces(),
        name=part.filename or "books",
        media_type="application/octet-stream",
        kind="import",
        owner_id=me(request).id,
        now=moment,
        expires_at=moment + jobs.RETENTION,
    )


async def _text(part: BodyPartReader, name: str) -> str:
    content = bytearray()
    while piece := await part.read_chunk(_LONGEST_FIELD):
        content += piece
        if len(content) > _LONGEST_FIELD:
            raise Invalid(name, "This is too long.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(name, "This is not UTF-8.") from None


def _asked(texts: dict[str, str]) -> tuple[bool, Options]:
    said = texts.get("dry_run", "false")
    if said not in ("true", "false"):
        raise Invalid("dry_run", "This is true or false.")
    try:
        mapping = json.loads(texts.get("mapping") or "{}")
    except (json.JSONDecodeError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(
        isinstance(name, str) and name.isprintable() for name in mapping.values()
    ):
        raise Invalid("mapping", "This is a JSON object of names.")
    options = Options(mapping, texts.get("encoding") or None)
    options.check()
    return said == "true", options


async def _forget(request: web.Request, file: File) -> None:
    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await file_store.remove(conn, [file.id])

    await retry_transaction(work)
