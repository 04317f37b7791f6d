"""A book's cover: given a picture, or back to the one that is set in type."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import book, inputs, uploads
from admin.page import Refusal, attempt, carry_out
from bookstore import pictures
from bookstore.errors import BookstoreError, Invalid
from web.requests import now
from web.sessions import me
from web.store import forms


async def put(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover: a picture, if nobody changed the book meanwhile."""
    book_id = int(request.match_info["book_id"])
    try:
        form, content = await uploads.read(request, pictures.MOST_BYTES)
        if not content:
            raise Invalid("cover", "Choose a picture first.")
        cover = await pictures.cover_of(content)
    except BookstoreError as error:
        return await _refuse(request, error)

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        changed = await pictures.put(
            conn, book_id, version, cover, user_id=me(request).id, now=now()
        )
        return f"{changed.title} has a new cover."

    if (refused := await attempt(request, work)) is not None:
        return await _refuse(request, refused)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")


async def _refuse(request: web.Request, error: BookstoreError) -> web.Response:
    # Browsers do not let a page choose a file again.
    refusal = Refusal("cover", {}, str(error), faulty=True)
    return await book.show(request, refusal)


async def remove(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover/remove: back to the cover that is set in type."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        changed = await pictures.remove(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{changed.title} has the cover that is set in type."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")
