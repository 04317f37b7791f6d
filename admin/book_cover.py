"""A book's cover: given a picture, or back to the one that is set in type."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import book_form, form_values, uploads
from admin.rendering import Refusal, attempt, carry_out
from bookstore.catalogue import covers
from bookstore.errors import BookstoreError, Invalid
from web.auth.sessions import me
from web.server.request_context import now
from web.store import forms


async def put(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover: a picture, if nobody changed the book meanwhile."""
    book_id = int(request.match_info["book_id"])
    try:
        form, content = await uploads.read(request, covers.MOST_BYTES)
        if not content:
            raise Invalid("cover", "Choose a picture first.")
        cover = await covers.cover_of(content)
    except BookstoreError as error:
        return await _refuse(request, error)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.whole("version", form.get("version", ""))
        changed = await covers.put(conn, book_id, version, cover, user_id=me(request).id, now=now())
        return f"{changed.title} has a new cover."

    if (refused := await attempt(request, work)) is not None:
        return await _refuse(request, refused)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")


async def _refuse(request: web.Request, error: BookstoreError) -> web.Response:
    # Browsers do not let a page choose a file again.
    refusal = Refusal("cover", {}, str(error), faulty=True)
    return await book_form.show(request, refusal)


async def remove(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover/remove: back to the cover that is set in type."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.whole("version", form.get("version", ""))
        changed = await covers.remove(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{changed.title} has the cover that is set in type."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")
