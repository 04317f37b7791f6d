"""Imports: the client uploads a list of books, and the worker processes it."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import file_store
from bookstore.database.file_store import File
from bookstore.database.pagination import Page
from bookstore.errors import BookstoreError, Invalid, JobEnded, TooLarge
from bookstore.exports import rejected_rows
from bookstore.imports import importer
from bookstore.imports.formats import Options
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, JobLine
from bookstore.users.permissions import Permission, permits
from web.api import job_schemas
from web.api.idempotency import create_once
from web.api.job_schemas import ImportOut
from web.api.operations import Answer, Fields, operation
from web.auth.sessions import current_user
from web.live import sse
from web.live.job_progress import JobProgress
from web.server.downloads import send_chunks
from web.server.errors import MalformedMultipart, NotMultipart
from web.server.keys import ENGINE, REQUEST_ID
from web.server.request_context import now
from web.server.transactions import read, write

#: The size limit of the other form fields, in bytes.
_MAX_FIELD_BYTES = 16 * 1024
#: What aiohttp raises for a malformed multipart body.
_MULTIPART_ERRORS = (
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
    refusals=[Invalid, TooLarge, NotMultipart, MalformedMultipart],
    idempotent=True,
)
async def start_import(request: web.Request) -> Answer:
    """Start an import of books from a CSV file, an Excel workbook (XLSX) or an ONIX 3 message.

    The form contains the part `file` and optionally `dry_run` (`true` or `false`), `encoding` (of
    a CSV file that is not UTF-8) and `mapping`.  `mapping` is a JSON object that maps our column
    names to the names in the file, for columns that are not recognised; "" ignores a column.

    The content of the file determines its format.  Each row is imported completely or refused
    completely.  Importing the same file again changes nothing.  A dry run reports what an import
    would do and changes nothing.
    """
    file, dry_run, options = await receive_upload(request)
    body: dict[str, Any] = {"sha256": file.sha256, "dry_run": dry_run, **options.to_json()}
    user = current_user(request)
    start = partial(
        importer.start,
        file_id=file.id,
        user_id=user.id,
        dry_run=dry_run,
        options=options,
        may_change_prices=permits(user.role, Permission.CHANGE_PRICES),
        now=now(),
        request_id=request[REQUEST_ID],
    )
    used = False
    try:
        created = await create_once(request, body, start, jobs.get, location_by="id")
        used = created.content.file_id == file.id
    finally:
        if not used:
            await _delete_file(request, file)
    return created


@operation(query=job_schemas.ImportQuery, returns=(200, job_schemas.ImportPage))
async def list_imports(request: web.Request, query: Fields) -> Page[Job]:
    """List imports, the newest first."""
    return await read(request, jobs.find, IMPORTS, **query)


@operation(returns=(200, ImportOut))
async def show_import(request: web.Request, job_id: int) -> Job:
    """Show an import and its progress."""
    return await read(request, jobs.get, job_id, IMPORTS)


@operation(query=job_schemas.ImportLineQuery, returns=(200, job_schemas.ImportLinePage))
async def list_import_lines(request: web.Request, job_id: int, query: Fields) -> Page[JobLine]:
    """List the outcomes of the lines of an import, in the order of the file.

    Refused lines are always listed.  For ONIX messages, all records are listed.
    """
    job = await read(request, jobs.get, job_id, IMPORTS)
    query["cursor"] = query["cursor"] or None
    return await read(request, jobs.lines, job.id, **query)


@operation(returns=(200, None), content_type="text/csv")
async def show_refused_rows(request: web.Request, job_id: int) -> web.StreamResponse:
    """Download the refused rows as a CSV file, to be corrected and imported again.

    The file has the columns of the imported file.  Four additional columns at the start describe
    the error; an import ignores them.
    """
    job = await read(request, jobs.get, job_id, IMPORTS)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="import-{job.id}-refused.csv"',
        }
    )
    chunks = rejected_rows.as_csv(request.config_dict[ENGINE], job)
    return await send_chunks(request, response, chunks)


@operation(returns=(200, None), content_type="text/event-stream")
async def stream_import(request: web.Request, job_id: int) -> web.StreamResponse:
    """Stream the progress of an import as server-sent events.

    Each event is named `progress` and contains the import as JSON in `data`.  The stream ends when
    the import ends.
    """
    job = await read(request, jobs.get, job_id, IMPORTS)
    return await sse.stream(request, JobProgress(request, job, ImportOut().dumps))


@operation(returns=(200, ImportOut), refusals=[JobEnded], idempotent=True)
async def cancel_import(request: web.Request, job_id: int) -> Answer:
    """Cancel an import.

    Books that were imported before stay in the catalogue.
    """

    async def cancel(conn: AsyncConnection) -> Job:
        await jobs.get(conn, job_id, IMPORTS)
        return await jobs.cancel(conn, job_id, user_id=current_user(request).id, now=now())

    return await create_once(request, {}, cancel, jobs.get)


async def receive_upload(request: web.Request) -> tuple[File, bool, Options]:
    """Store the uploaded file; return it with the dry-run flag and the options of the form.

    Raises:
        NotMultipart, MalformedMultipart: the body is not a multipart form.
        TooLarge: the file is too large.
        Invalid: a part is missing, repeated, unknown or invalid.
    """
    if request.content_type != "multipart/form-data":
        raise NotMultipart
    file: File | None = None
    texts: dict[str, str] = {}
    try:
        async for part in await _parts(request):
            name = part.name or ""
            if name == "file" and file is None:
                file = await _store_file(request, part)
            elif name in {"dry_run", "encoding", "mapping"} and name not in texts:
                texts[name] = await _read_text(part, name)
            else:
                raise Invalid(name or "file", "This part is unknown or repeated.")
        if file is None or file.size == 0:
            raise Invalid("file", "This must not be missing or empty.")
        dry_run, options = _parse_options(texts)
    except BaseException as error:
        if file is not None:
            await _delete_file(request, file)
        if isinstance(error, BookstoreError | web.HTTPException | ConnectionError):
            raise
        if isinstance(error, _MULTIPART_ERRORS):
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


async def _store_file(request: web.Request, part: BodyPartReader) -> File:
    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await part.read_chunk(file_store.CHUNK_BYTES):
            yield bytes(chunk)

    created_at = now()
    return await file_store.store(
        request.config_dict[ENGINE],
        chunks(),
        name=part.filename or "books",
        media_type="application/octet-stream",
        kind="import",
        owner_id=current_user(request).id,
        now=created_at,
        expires_at=created_at + jobs.RETENTION,
    )


async def _read_text(part: BodyPartReader, name: str) -> str:
    content = bytearray()
    while chunk := await part.read_chunk(_MAX_FIELD_BYTES):
        content += chunk
        if len(content) > _MAX_FIELD_BYTES:
            raise Invalid(name, "This is too long.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(name, "This is not UTF-8.") from None


def _parse_options(texts: dict[str, str]) -> tuple[bool, Options]:
    dry_run = texts.get("dry_run", "false")
    if dry_run not in ("true", "false"):
        raise Invalid("dry_run", "This must be true or false.")
    try:
        mapping = json.loads(texts.get("mapping") or "{}")
    except (json.JSONDecodeError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(
        isinstance(name, str) and name.isprintable() for name in mapping.values()
    ):
        raise Invalid("mapping", "This must be a JSON object of column names.")
    options = Options(mapping, texts.get("encoding") or None)
    options.check()
    return dry_run == "true", options


async def _delete_file(request: web.Request, file: File) -> None:
    await write(request, file_store.remove, [file.id])
