"""Lists of books: sent, looked at, tried, taken in.

file ──> its columns ──> dry run ──> taken in
"""

from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, Listing, total
from admin.rendering import NO_REFUSAL, Refusal, carry_out, page
from bookstore.backoffice import imports as desk
from bookstore.backoffice import list_exports
from bookstore.database import file_store
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.file_store import File
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.imports import encodings, importer
from bookstore.imports.columns import COLUMNS, FOR_NEW, REQUIRED
from bookstore.imports.formats import Options
from bookstore.imports.importer import Preview
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, State
from bookstore.users import accounts
from bookstore.users.permissions import Permission, permits
from web.api.imports import received
from web.auth.sessions import me
from web.server.keys import ENGINE, RATES, REQUEST_ID
from web.server.request_context import now
from web.store import forms

LIST = "/admin/imports"
_FILTERS = (Filter("state", "State", {it: it.capitalize() for it in map(str, State)}),)
#: What the form calls the field of a column.
_COLUMN = "column-"


def _listing(request: web.Request) -> Listing:
    return Listing(request.query, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.NEWEST)


def _query(listing: Listing) -> desk.Query:
    state = listing.text("state")
    return desk.Query(State(state) if state else None)


async def show_all(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/imports: what was sent, and a form for the next file."""
    listing = _listing(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await desk.count(conn, _query(listing))
        found = await desk.find(
            conn, _query(listing), sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
    return await page(
        request,
        "imports.html",
        columns=COLUMNS,
        found=found,
        list=listing,
        number=total(number),
        refusal=refusal,
        for_new=FOR_NEW,
        required=REQUIRED,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/imports/export.csv: all imports that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.IMPORTS, _query(listing), listing.sort)


async def send(request: web.Request) -> web.Response:
    """POST /admin/imports: a file; next its columns are looked at."""
    try:
        file, _, _ = await received(request)
    except BookstoreError as error:
        # Browsers do not let a page choose a file again.
        return await show_all(request, Refusal("file", {}, str(error), faulty=True))
    raise web.HTTPSeeOther(f"{LIST}/new?{urlencode({'file': file.id})}")


async def show_new(request: web.Request) -> web.Response:
    """GET /admin/imports/new?file=7: the file's columns, and which of ours they are.

    `encoding` reads it in another one.
    """
    file = await _file(request, request.query.get("file", ""))
    encoding = request.query.get("encoding") or None
    options = Options(None, encoding)
    try:
        options.check()
    except BookstoreError as error:
        return await _look(request, file, Options(), Refusal.of(error, "encoding", {}))
    return await _look(request, file, options)


async def start(request: web.Request) -> web.Response:
    """POST /admin/imports/start: a dry run, or the real thing, if the columns can be read so."""
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
        await _try_columns(request, file, options)
    except BookstoreError as error:
        place = error.field if isinstance(error, Invalid) else "encoding"
        return await _look(request, file, Options(), Refusal.of(error, place, mapping))

    async def work() -> Job:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await importer.start(
                conn,
                file.id,
                user_id=me(request).id,
                dry_run=form.get("dry_run") == "yes",
                options=options,
                may_change_prices=permits(me(request).role, Permission.CHANGE_PRICES),
                now=now(),
                request_id=request[REQUEST_ID],
            )

    job = await retry_transaction(work)
    raise web.HTTPSeeOther(f"{LIST}/{job.id}")


async def show(request: web.Request) -> web.Response:
    """GET /admin/imports/{job_id}: how far it is, and what was refused."""
    path = f"{LIST}/{request.match_info['job_id']}"
    listing = Listing(request.query, path, (), sorts=[*desk.LINE_SORTS], sort=desk.IN_ORDER)
    async with reading(request.config_dict[ENGINE]) as conn:
        job = await jobs.get(conn, int(request.match_info["job_id"]), IMPORTS)
        found = await desk.refused(
            conn, job.id, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        names = await accounts.names(conn, {job.user_id} if job.user_id else set())
        sent = await file_store.names(conn, {job.file_id} if job.file_id else set())
    return await page(
        request,
        "import.html",
        column_field=_COLUMN,
        file_name=sent.get(job.file_id or 0),
        found=found,
        job=job,
        list=listing,
        who=names.get(job.user_id or 0),
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /admin/imports/{job_id}/cancel: what it has taken in so far stays."""
    job_id = int(request.match_info["job_id"])

    async def work(conn: AsyncConnection) -> str:
        await jobs.get(conn, job_id, IMPORTS)
        await jobs.cancel(conn, job_id, user_id=me(request).id, now=now())
        return "The import has stopped. What it had taken in stays."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{job_id}")


async def _try_columns(request: web.Request, file: File, options: Options) -> None:
    """Raise Invalid, naming the column, where the file has not got the columns as they are said.

    What else is wrong with the file is for the import to say.
    """
    if not options.mapping:
        return
    seen = await _preview(request, file, options)
    if seen.error is None:
        return
    missing = seen.findings.get("missing_columns", [])
    header = [*(await _preview(request, file, Options(None, options.encoding))).header]
    names = [name for name in options.mapping.values() if name]
    doubtful = [
        column
        for column, name in options.mapping.items()
        if name and (names.count(name) > 1 or header.count(name) != 1)
    ]
    if header and (missing or doubtful):
        raise Invalid([*missing, *doubtful][0], seen.error)


async def _preview(request: web.Request, file: File, options: Options) -> Preview:
    return await importer.preview(
        request.config_dict[ENGINE],
        file.id,
        currency=request.config_dict[RATES].currency,
        options=options,
        now=now(),
    )


async def _look(
    request: web.Request, file: File, options: Options, refusal: Refusal = NO_REFUSAL
) -> web.Response:
    seen = await _preview(request, file, options)
    return await page(
        request,
        "import_new.html",
        chosen={**seen.findings.get("columns", {}), **refusal.typed},
        column_field=_COLUMN,
        columns=COLUMNS,
        encoding=options.encoding or seen.findings.get("encoding") or "",
        encodings=encodings.CHOICES,
        refusal=refusal.among({"encoding", *(COLUMNS if seen.header else ())}),
        sent=file,
        for_new=FOR_NEW,
        required=REQUIRED,
        seen=seen,
    )


async def _file(request: web.Request, typed: str) -> File:
    if not (typed.isascii() and typed.isdecimal() and len(typed) < 19):
        raise NotFound("This file")
    async with reading(request.config_dict[ENGINE]) as conn:
        file = await file_store.get(conn, int(typed))
    if file.kind != "import":
        raise NotFound("This file")
    return file
