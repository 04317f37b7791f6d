"""A book's cover: given a picture, or back to the one that is set in type."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import inputs, uploads
from admin.page import carry_out
from bookstore import pictures
from bookstore.errors import BookstoreError, Invalid
from web.requests import now
from web.sessions import me
from web.store import forms, notices


async def put(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover: a picture, if nobody changed the book meanwhile."""
    book_id = int(request.match_info["book_id"])
    try:
        form, content = await uploads.read(request, pictures.MOST_BYTES)
        if not content:
            raise Invalid("cover", "Choose a picture first.")
        cover = await pictures.cover_of(content)
    except BookstoreError as error:
        await notices.leave(request, "bad", str(error))
        raise web.HTTPSeeOther(f"/admin/books/{book_id}") from None

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        book = await pictures.put(conn, book_id, version, cover, user_id=me(request).id, now=now())
        return f"{book.title} has a new cover."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")


async def remove(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover/remove: back to the cover that is set in type."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        book = await pictures.remove(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{book.title} has the cover that is set in type."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")
