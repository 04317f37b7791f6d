"""The copies of one book: counted, received, damaged, returned."""

from datetime import datetime

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values
from admin.list_state import Listing, total
from admin.rendering import NO_REFUSAL, Refusal, attempt, page
from bookstore.backoffice import books as desk
from bookstore.backoffice import list_exports
from bookstore.backoffice import stock_ledger as lines
from bookstore.catalogue import books
from bookstore.catalogue import stock as ledger
from bookstore.catalogue.stock import BY_HAND, Reason
from bookstore.database.engine import reading
from bookstore.errors import Invalid, OutOfStock
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms


class Overtaken(Exception):
    """Copies came or went since the page was made on which they were counted."""


async def count(
    conn: AsyncConnection, book_id: int, counted: int, seen: int, *, user_id: int, now: datetime
) -> None:
    """Set a book's stock to what was counted, where it was `seen` before.

    Raises:
        Invalid: fewer than none were counted, or more than a shelf holds.
        NotFound: there is no such book.
        Overtaken: the stock is not `seen` any more; the transaction must be rolled back.
    """
    if counted < 0:
        raise Invalid("stock", "There cannot be fewer copies than none.")
    if counted != seen:
        try:
            delta = counted - seen
            await ledger.move(conn, book_id, delta, Reason.COUNT, user_id=user_id, now=now)
        except OutOfStock:
            raise Overtaken from None
    # The row is locked by now, so this is what will be committed.
    if await ledger.of(conn, book_id) != counted:
        raise Overtaken


def _listing(request: web.Request) -> Listing:
    path = f"/admin/books/{request.match_info['book_id']}/stock"
    # A form that was refused shows the first page.
    asked = request.query if request.method in ("GET", "HEAD") else {}
    return Listing(asked, path, (), sorts=[*lines.SORTS], sort=lines.NEWEST)


async def show(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/books/{book_id}/stock: the ledger, and a form to move copies."""
    book_id, listing = int(request.match_info["book_id"]), _listing(request)
    query = lines.Query(book_id)
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, book_id, withdrawn=True)
        number = await lines.count(conn, query)
        found = await lines.find(
            conn, query, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        low = await desk.low_stock(conn, book_id)
    return await page(
        request,
        "stock.html",
        book=book,
        found=found,
        list=listing,
        low=low,
        number=total(number),
        refusal=refusal,
        usual=desk.LOW_STOCK,
        reasons=[reason for reason in Reason if reason in BY_HAND],
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/books/{book_id}/stock/export.csv: the whole ledger of the book."""
    listing = Listing(request.query, "", (), sorts=[*lines.SORTS], sort=lines.NEWEST)
    book_id = int(request.match_info["book_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        await books.get(conn, book_id, withdrawn=True)
    return await exports.send(request, list_exports.LEDGER, lines.Query(book_id), listing.sort)


async def move(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/stock: copies come or go, and why."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        delta = form_values.whole("delta", form.get("delta", ""))
        if form.get("reason") not in BY_HAND:
            raise Invalid("reason", "There is no such reason.")
        note = " ".join(form.get("note", "").split()) or None
        await ledger.move(
            conn,
            book_id,
            delta,
            Reason(form["reason"]),
            user_id=me(request).id,
            note=note,
            now=now(),
        )
        return f"Saved: {await ledger.of(conn, book_id)} copies are on the shelf now."

    if error := await attempt(request, work):
        place = error.field if isinstance(error, Invalid) else "delta"
        return await show(request, Refusal.of(error, place, form))
    raise web.HTTPSeeOther(f"/admin/books/{book_id}/stock")


async def set_low(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/low-stock: from how many copies on it is low."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        typed = form.get("low_stock", "").strip()
        copies = form_values.whole("low_stock", typed) if typed else None
        await ledger.set_low(conn, book_id, copies, user_id=me(request).id, now=now())
        if copies is None:
            return f"Saved: low with {desk.LOW_STOCK} copies or fewer, as all others."
        return f"Saved: low with {copies} copies or fewer."

    if error := await attempt(request, work):
        return await show(request, Refusal.of(error, "low_stock", form))
    raise web.HTTPSeeOther(f"/admin/books/{book_id}/stock")
