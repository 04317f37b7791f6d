"""Authors: list, rename and merge."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.list_state import Filter
from admin.lists import AdminList
from admin.rendering import NO_ERROR, FormError, page, run_form
from bookstore.backoffice import authors as backoffice_authors
from bookstore.catalogue import author_merge, authors
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.users.permissions import Permission
from web.server.keys import ENGINE
from web.store import forms

LIST = AdminList(
    rows=backoffice_authors.AUTHORS,
    path="/authors",
    template="authors.html",
    permission=Permission.CHANGE_BOOKS,
    filters=(Filter("q", "Search"),),
)
_BOOKS = 50


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/authors/{author_id}: the author's books and a form for the name."""
    author_id = int(request.match_info["author_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        author = await authors.get(conn, author_id)
        books = await backoffice_authors.books_of(conn, author_id, limit=_BOOKS)
        similar = await authors.similar(conn, author)
    return await page(
        request, "author.html", author=author, books=books, similar=similar, form_error=form_error
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
        after = await author_merge.rename(conn, author_id, form.get("name", ""), **made_by(request))
        target_id = after.id
        if after.id != author_id:
            return f"{before.name} was merged into {after.name}."
        return f"{after.name} is saved."

    if error := await run_form(request, work):
        return await show(request, FormError.from_error(error, "name", form))
    raise web.HTTPSeeOther(f"{LIST.url()}/{target_id}")
