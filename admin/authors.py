"""Authors: found, called by their right names, made one where they are the same."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, Listing, total
from admin.rendering import NO_REFUSAL, Refusal, attempt, page
from bookstore.backoffice import authors as desk
from bookstore.backoffice import list_exports
from bookstore.catalogue import author_merge, authors
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

LIST = "/admin/authors"
_FILTERS = (Filter("q", "Find"),)
_BOOKS = 50


def _listing(request: web.Request) -> Listing:
    return Listing(request.query, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.BY_NAME)


def _query(listing: Listing) -> desk.Query:
    return desk.Query(listing.text("q") or "")


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/authors: by name."""
    listing = _listing(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await desk.count(conn, _query(listing))
        found = await desk.find(
            conn, _query(listing), sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
    return await page(request, "authors.html", found=found, list=listing, number=total(number))


async def show(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/authors/{author_id}: their books, and their name."""
    author_id = int(request.match_info["author_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        author = await authors.get(conn, author_id)
        books = await desk.books_of(conn, author_id, limit=_BOOKS)
    return await page(
        request,
        "author.html",
        author=author,
        books=books,
        refusal=refusal,
    )


async def rename(request: web.Request) -> web.Response:
    """POST /admin/authors/{author_id}: a name that another one has makes the two one."""
    author_id, form = int(request.match_info["author_id"]), await forms.read(request)
    landed = author_id

    async def work(conn: AsyncConnection) -> str:
        nonlocal landed
        before = await authors.get(conn, author_id)
        if form.get("seen") and form["seen"] != before.name:
            raise NotFound("An author of this name")
        after = await author_merge.rename(
            conn, author_id, form.get("name", ""), user_id=me(request).id, now=now()
        )
        landed = after.id
        if after.id != author_id:
            return f"{before.name} and {after.name} are one now."
        return f"{after.name} is saved."

    if error := await attempt(request, work):
        return await show(request, Refusal.of(error, "name", form))
    raise web.HTTPSeeOther(f"{LIST}/{landed}")


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/authors/export.csv: all authors that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.AUTHORS, _query(listing), listing.sort)
