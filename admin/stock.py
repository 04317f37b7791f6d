"""The stock of one book: its movements, adjustments and the low-stock threshold."""

from datetime import datetime

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values
from admin.list_state import ListState, format_total
from admin.rendering import NO_ERROR, FormError, page, run_form
from bookstore.backoffice import books as backoffice_books
from bookstore.backoffice import list_exports
from bookstore.backoffice import stock_ledger as lines
from bookstore.catalogue import books
from bookstore.catalogue import stock as ledger
from bookstore.catalogue.stock import STAFF_REASONS, StockReason
from bookstore.database.engine import reading
from bookstore.errors import Invalid, OutOfStock
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms


class StockChanged(Exception):
    """The stock has changed since the page with the counted quantity was loaded."""


async def set_counted(
    conn: AsyncConnection, book_id: int, counted: int, seen: int, *, user_id: int, now: datetime
) -> None:
    """Set a book's stock to the `counted` quantity, if it is still `seen`.

    Raises:
        Invalid: the quantity is negative or too large.
        NotFound: there is no such book.
        StockChanged: the stock is no longer `seen`; the transaction must be rolled back.
    """
    if counted < 0:
        raise Invalid("stock", "The quantity cannot be negative.")
    if counted != seen:
        try:
            delta = counted - seen
            await ledger.move(conn, book_id, delta, StockReason.COUNT, user_id=user_id, now=now)
        except OutOfStock:
            raise StockChanged from None
    # The row is locked, so this value is the one that will be committed.
    if await ledger.quantity(conn, book_id) != counted:
        raise StockChanged


def _list_state(request: web.Request) -> ListState:
    path = f"/admin/books/{request.match_info['book_id']}/stock"
    # After a failed form, the first page is shown.
    params = request.query if request.method in ("GET", "HEAD") else {}
    return ListState(params, path, (), sorts=[*lines.SORTS], sort=lines.NEWEST)


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/books/{book_id}/stock: stock movements, and a form to adjust the stock."""
    book_id, list_state = int(request.match_info["book_id"]), _list_state(request)
    query = lines.LedgerQuery(book_id)
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, book_id, withdrawn=True)
        number = await lines.count(conn, query)
        found = await lines.find(
            conn, query, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
        low = await backoffice_books.low_stock(conn, book_id)
    return await page(
        request,
        "stock.html",
        book=book,
        found=found,
        list=list_state,
        low=low,
        number=format_total(number),
        form_error=form_error,
        default_low=backoffice_books.LOW_STOCK,
        reasons=[reason for reason in StockReason if reason in STAFF_REASONS],
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/books/{book_id}/stock/export.csv: all stock movements of the book."""
    list_state = ListState(request.query, "", (), sorts=[*lines.SORTS], sort=lines.NEWEST)
    book_id = int(request.match_info["book_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        await books.get(conn, book_id, withdrawn=True)
    return await exports.send(
        request, list_exports.LEDGER, lines.LedgerQuery(book_id), list_state.sort
    )


async def move(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/stock: adjust the stock and record the reason."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        delta = form_values.parse_integer("delta", form.get("delta", ""))
        if form.get("reason") not in STAFF_REASONS:
            raise Invalid("reason", "This reason does not exist.")
        note = " ".join(form.get("note", "").split()) or None
        await ledger.move(
            conn,
            book_id,
            delta,
            StockReason(form["reason"]),
            user_id=current_user(request).id,
            note=note,
            now=now(),
        )
        return f"Saved: {await ledger.quantity(conn, book_id)} in stock."

    if error := await run_form(request, work):
        field = error.field if isinstance(error, Invalid) else "delta"
        return await show(request, FormError.from_error(error, field, form))
    raise web.HTTPSeeOther(f"/admin/books/{book_id}/stock")


async def set_low_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/low-stock: set the low-stock threshold."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        text = form.get("low_stock", "").strip()
        threshold = form_values.parse_integer("low_stock", text) if text else None
        await ledger.set_low_stock_threshold(
            conn, book_id, threshold, user_id=current_user(request).id, now=now()
        )
        if threshold is None:
            return f"Saved: low stock at {backoffice_books.LOW_STOCK} or fewer (default)."
        return f"Saved: low stock at {threshold} or fewer."

    if error := await run_form(request, work):
        return await show(request, FormError.from_error(error, "low_stock", form))
    raise web.HTTPSeeOther(f"/admin/books/{book_id}/stock")
