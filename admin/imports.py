"""Imports of books: upload, column assignment, dry run, import.

file ──> columns ──> dry run ──> import
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values
from admin.access import made_by
from admin.list_state import Filter, ListState, labels
from admin.lists import AdminList, View
from admin.rendering import NO_ERROR, FormError, page, run_action
from bookstore.backoffice import imports as backoffice_imports
from bookstore.database import file_store
from bookstore.database.file_store import File
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.imports import encodings, importer
from bookstore.imports.columns import COLUMNS, REQUIRED, REQUIRED_FOR_NEW
from bookstore.imports.formats import Options
from bookstore.imports.importer import Preview
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, JobState
from bookstore.users import accounts
from bookstore.users.permissions import Permission, permits
from web.api.imports import receive_upload
from web.auth.sessions import current_user
from web.server.keys import ENGINE, RATES, REQUEST_ID, SETTINGS
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import forms

#: The prefix of the form fields that assign columns.
_COLUMN = "column-"


#: What the pages with a form for a file show about its columns.
_COLUMN_RULES: dict[str, Any] = {
    "columns": COLUMNS,
    "for_new": REQUIRED_FOR_NEW,
    "required": REQUIRED,
}


async def _column_rules(_view: View) -> dict[str, Any]:
    return _COLUMN_RULES


#: Previous imports; a form on the page uploads the next file.
LIST = AdminList(
    rows=backoffice_imports.IMPORT_LIST,
    path="/imports",
    template="imports.html",
    permission=Permission.IMPORT_BOOKS,
    filters=(Filter("state", "State", labels(JobState), parse=JobState),),
    details=_column_rules,
)


async def _job(conn: AsyncConnection, parts: Mapping[str, str]) -> Job:
    return await jobs.get(conn, int(parts["job_id"]), IMPORTS)


def _rejected_rows_of(_state: ListState, job: Job) -> backoffice_imports.RejectedRowQuery:
    return backoffice_imports.RejectedRowQuery(job.id)


async def _facts(view: View) -> dict[str, Any]:
    conn, job = view.conn, view.subject
    names = await accounts.names(conn, {job.user_id} if job.user_id else set())
    file_names = await file_store.names(conn, {job.file_id} if job.file_id else set())
    return {
        "column_field": _COLUMN,
        "file_name": file_names.get(job.file_id or 0),
        "job": job,
        "user_name": names.get(job.user_id or 0),
    }


#: The progress of an import and its rejected rows.
REJECTED_ROWS = AdminList(
    rows=backoffice_imports.REJECTED_ROWS,
    path="/imports/{job_id:[0-9]{1,18}}",
    template="import.html",
    permission=Permission.IMPORT_BOOKS,
    subject=_job,
    query=_rejected_rows_of,
    details=_facts,
    counted=False,
)


async def send(request: web.Request) -> web.Response:
    """POST /admin/imports: upload a file; the next page assigns its columns."""
    try:
        file, _, _ = await receive_upload(request)
    except BookstoreError as error:
        # Browsers do not let a page fill a file field in again.
        return await LIST.show(request, FormError("file", {}, str(error), invalid=True))
    raise web.HTTPSeeOther(f"{LIST.url()}/new?{urlencode({'file': file.id})}")


async def show_new(request: web.Request) -> web.Response:
    """GET /admin/imports/new?file=7: assign the file's columns to those of an import.

    `encoding` overrides the detected character encoding.
    """
    file = await _file(request, request.query.get("file", ""))
    encoding = request.query.get("encoding") or None
    options = Options(None, encoding)
    try:
        options.check()
    except BookstoreError as error:
        return await _preview_page(
            request, file, Options(), FormError.from_error(error, "encoding", {})
        )
    return await _preview_page(request, file, options)


async def start(request: web.Request) -> web.Response:
    """POST /admin/imports/start: a dry run or an import, if the columns are valid."""
    form = await forms.read(request)
    file = await _file(request, form.get("file", ""))
    mapping = {
        name.removeprefix(_COLUMN): value
        for name, value in form.items()
        if name.startswith(_COLUMN) and name.removeprefix(_COLUMN) in COLUMNS
    }
    options = Options(mapping or None, form.get("encoding") or None)
    try:
        options.check()
        await _check_columns(request, file, options)
    except BookstoreError as error:
        field = error.field if isinstance(error, Invalid) else "encoding"
        return await _preview_page(
            request, file, Options(), FormError.from_error(error, field, mapping)
        )

    job = await write(
        request,
        importer.start,
        file.id,
        dry_run=form.get("dry_run") == "yes",
        options=options,
        may_change_prices=permits(current_user(request).role, Permission.CHANGE_PRICES),
        request_id=request[REQUEST_ID],
        **made_by(request),
    )
    raise web.HTTPSeeOther(f"{LIST.url()}/{job.id}")


async def cancel(request: web.Request) -> web.Response:
    """POST /admin/imports/{job_id}/cancel: books that were imported before stay."""
    job_id = int(request.match_info["job_id"])

    async def work(conn: AsyncConnection) -> str:
        await jobs.get(conn, job_id, IMPORTS)
        await jobs.cancel(conn, job_id, **made_by(request))
        return "The import was cancelled. Books that were imported before stay in the catalogue."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST.url()}/{job_id}")


async def _check_columns(request: web.Request, file: File, options: Options) -> None:
    """Check that the file has the assigned columns.  The import reports other errors of the file.

    Raises:
        Invalid: a column is missing, ambiguous or assigned twice; the field is the column.
    """
    if not options.mapping:
        return
    preview = await _preview(request, file, options)
    if preview.error is None:
        return
    missing = preview.findings.get("missing_columns", [])
    header = [*(await _preview(request, file, Options(None, options.encoding))).header]
    names = [name for name in options.mapping.values() if name]
    ambiguous = [
        column
        for column, name in options.mapping.items()
        if name and (names.count(name) > 1 or header.count(name) != 1)
    ]
    if header and (missing or ambiguous):
        raise Invalid([*missing, *ambiguous][0], preview.error)


async def _preview(request: web.Request, file: File, options: Options) -> Preview:
    return await importer.preview(
        request.config_dict[ENGINE],
        file.id,
        currency=request.config_dict[RATES].currency,
        country=request.config_dict[SETTINGS].country,
        options=options,
        now=now(),
    )


async def _preview_page(
    request: web.Request, file: File, options: Options, form_error: FormError = NO_ERROR
) -> web.Response:
    preview = await _preview(request, file, options)
    return await page(
        request,
        "import_new.html",
        chosen={**preview.findings.get("columns", {}), **form_error.values},
        column_field=_COLUMN,
        encoding=options.encoding or preview.findings.get("encoding") or "",
        encodings=encodings.CHOICES,
        form_error=form_error.for_fields({"encoding", *(COLUMNS if preview.header else ())}),
        upload=file,
        preview=preview,
        **_COLUMN_RULES,
    )


async def _file(request: web.Request, file_id: str) -> File:
    if not form_values.is_id(file_id):
        raise NotFound("This file")
    file = await read(request, file_store.get, int(file_id))
    if file.kind != "import":
        raise NotFound("This file")
    return file
