"""Imports of books: upload, column assignment, dry run, import.

file ──> columns ──> dry run ──> import
"""

from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values
from admin.list_state import Filter, ListState, format_total
from admin.rendering import NO_ERROR, FormError, page, run_action
from bookstore.backoffice import imports as backoffice_imports
from bookstore.backoffice import list_exports
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
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
from web.server.keys import ENGINE, RATES, REQUEST_ID
from web.server.request_context import now
from web.store import forms

LIST = "/admin/imports"
_FILTERS = (Filter("state", "State", {it: it.capitalize() for it in map(str, JobState)}),)
#: The prefix of the form fields that assign columns.
_COLUMN = "column-"


def _list_state(request: web.Request) -> ListState:
    return ListState(
        request.query,
        LIST,
        _FILTERS,
        sorts=[*backoffice_imports.SORTS],
        sort=backoffice_imports.NEWEST,
    )


def _query(list_state: ListState) -> backoffice_imports.ImportQuery:
    state = list_state.text("state")
    return backoffice_imports.ImportQuery(JobState(state) if state else None)


async def show_all(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/imports: previous imports, and a form for the next file."""
    list_state = _list_state(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await backoffice_imports.count(conn, _query(list_state))
        found = await backoffice_imports.find(
            conn,
            _query(list_state),
            sort=list_state.sort,
            cursor=list_state.cursor,
            limit=list_state.size,
        )
    return await page(
        request,
        "imports.html",
        columns=COLUMNS,
        found=found,
        list=list_state,
        number=format_total(number),
        form_error=form_error,
        for_new=REQUIRED_FOR_NEW,
        required=REQUIRED,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/imports/export.csv: all imports of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.IMPORTS, _query(list_state), list_state.sort)


async def send(request: web.Request) -> web.Response:
    """POST /admin/imports: upload a file; the next page assigns its columns."""
    try:
        file, _, _ = await receive_upload(request)
    except BookstoreError as error:
        # Browsers do not let a page fill a file field in again.
        return await show_all(request, FormError("file", {}, str(error), invalid=True))
    raise web.HTTPSeeOther(f"{LIST}/new?{urlencode({'file': file.id})}")


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

    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await importer.start(
                conn,
                file.id,
                user_id=current_user(request).id,
                dry_run=form.get("dry_run") == "yes",
                options=options,
                may_change_prices=permits(current_user(request).role, Permission.CHANGE_PRICES),
                now=now(),
                request_id=request[REQUEST_ID],
            )

    job = await retry_transaction(work)
    raise web.HTTPSeeOther(f"{LIST}/{job.id}")


async def show(request: web.Request) -> web.Response:
    """GET /admin/imports/{job_id}: the progress of an import and its rejected rows."""
    path = f"{LIST}/{request.match_info['job_id']}"
    list_state = ListState(
        request.query,
        path,
        (),
        sorts=[*backoffice_imports.LINE_SORTS],
        sort=backoffice_imports.IN_ORDER,
    )
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await jobs.get(conn, int(request.match_info["job_id"]), IMPORTS)
        found = await backoffice_imports.refused(
            conn, job.id, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
        names = await accounts.names(conn, {job.user_id} if job.user_id else set())
        file_names = await file_store.names(conn, {job.file_id} if job.file_id else set())
    return await page(
        request,
        "import.html",
        column_field=_COLUMN,
        file_name=file_names.get(job.file_id or 0),
        found=found,
        job=job,
        list=list_state,
        user_name=names.get(job.user_id or 0),
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /admin/imports/{job_id}/cancel: books that were imported before stay."""
    job_id = int(request.match_info["job_id"])

    async def work(conn: AsyncConnection) -> str:
        await jobs.get(conn, job_id, IMPORTS)
        await jobs.cancel(conn, job_id, user_id=current_user(request).id, now=now())
        return "The import was cancelled. Books that were imported before stay in the catalogue."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{job_id}")


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
        columns=COLUMNS,
        encoding=options.encoding or preview.findings.get("encoding") or "",
        encodings=encodings.CHOICES,
        form_error=form_error.for_fields({"encoding", *(COLUMNS if preview.header else ())}),
        upload=file,
        for_new=REQUIRED_FOR_NEW,
        required=REQUIRED,
        preview=preview,
    )


async def _file(request: web.Request, file_id: str) -> File:
    if not form_values.is_id(file_id):
        raise NotFound("This file")
    async with reading(request.config_dict[ENGINE]) as conn:
        file = await file_store.get(conn, int(file_id))
    if file.kind != "import":
        raise NotFound("This file")
    return file
