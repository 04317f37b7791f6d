"""Authors: list, rename and merge."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, ListState, format_total
from admin.rendering import NO_ERROR, FormError, page, run_form
from bookstore.backoffice import authors as backoffice_authors
from bookstore.backoffice import list_exports
from bookstore.catalogue import author_merge, authors
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

LIST = "/admin/authors"
_FILTERS = (Filter("q", "Search"),)
_BOOKS = 50


def _list_state(request: web.Request) -> ListState:
    return ListState(
        request.query,
        LIST,
        _FILTERS,
        sorts=[*backoffice_authors.SORTS],
        sort=backoffice_authors.BY_NAME,
    )


def _query(list_state: ListState) -> backoffice_authors.AuthorQuery:
    return backoffice_authors.AuthorQuery(list_state.text("q") or "")


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/authors: sorted by name."""
    list_state = _list_state(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await backoffice_authors.count(conn, _query(list_state))
        found = await backoffice_authors.find(
            conn,
            _query(list_state),
            sort=list_state.sort,
            cursor=list_state.cursor,
            limit=list_state.size,
        )
    return await page(
        request, "authors.html", found=found, list=list_state, number=format_total(number)
    )


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/authors/{author_id}: the author's books and a form for the name."""
    author_id = int(request.match_info["author_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        author = await authors.get(conn, author_id)
        books = await backoffice_authors.books_of(conn, author_id, limit=_BOOKS)
    return await page(
        request,
        "author.html",
        author=author,
        books=books,
        form_error=form_error,
    )


async def rename(request: web.Request) -> web.Response:
    """POST /admin/authors/{author_id}: merges two authors if the new name exists already."""
    author_id, form = int(request.match_info["author_id"]), await forms.read(request)
    target_id = author_id

    async def work(conn: AsyncConnection) -> str:
        nonlocal target_id
        before = await authors.get(conn, author_id)
        if form.get("seen") and form["seen"] != before.name:
            raise NotFound("An author of this name")
        after = await author_merge.rename(
            conn, author_id, form.get("name", ""), user_id=current_user(request).id, now=now()
        )
        target_id = after.id
        if after.id != author_id:
            return f"{before.name} was merged into {after.name}."
        return f"{after.name} is saved."

    if error := await run_form(request, work):
        return await show(request, FormError.from_error(error, "name", form))
    raise web.HTTPSeeOther(f"{LIST}/{target_id}")


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/authors/export.csv: all authors of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.AUTHORS, _query(list_state), list_state.sort)
