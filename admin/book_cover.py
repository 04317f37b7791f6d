"""The cover of a book: upload a picture, or return to the generated cover."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import book_form, form_values, uploads
from admin.access import made_by
from admin.rendering import FormError, run_action, run_form
from bookstore.catalogue import covers
from bookstore.errors import BookstoreError, Invalid
from web.store import forms


async def put(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover: upload a picture, unless the book has changed."""
    book_id = int(request.match_info["book_id"])
    try:
        form, content = await uploads.read(request, covers.MAX_BYTES)
        if not content:
            raise Invalid("cover", "Choose a picture.")
        cover = await covers.make_cover(content)
    except BookstoreError as error:
        return await _refuse(request, error)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        changed = await covers.put(conn, book_id, version, cover, **made_by(request))
        return f"{changed.title} has a new cover."

    if (refused := await run_form(request, work)) is not None:
        return await _refuse(request, refused)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")


async def _refuse(request: web.Request, error: BookstoreError) -> web.Response:
    # Browsers do not let a page fill a file field in again.
    form_error = FormError("cover", {}, str(error), invalid=True)
    return await book_form.show(request, form_error)


async def remove(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/cover/remove: return to the generated cover."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        changed = await covers.remove(conn, book_id, version, **made_by(request))
        return f"{changed.title} has its generated cover again."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"/admin/books/{book_id}")
