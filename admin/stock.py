"""The stock of one book: its movements, adjustments and the low-stock threshold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values
from admin.access import made_by
from admin.list_state import ListState
from admin.lists import AdminList, View
from admin.rendering import FormError, run_form
from bookstore.backoffice import books as backoffice_books
from bookstore.backoffice import stock_ledger
from bookstore.catalogue import books
from bookstore.catalogue import stock as ledger
from bookstore.catalogue.books import Book
from bookstore.catalogue.stock import STAFF_REASONS, StockReason
from bookstore.errors import Invalid, OutOfStock
from bookstore.users.permissions import Permission
from web.auth.sessions import current_user
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


async def _book(conn: AsyncConnection, parts: Mapping[str, str]) -> Book:
    return await books.get(conn, int(parts["book_id"]), withdrawn=True)


def _query(_state: ListState, book: Book) -> stock_ledger.LedgerQuery:
    return stock_ledger.LedgerQuery(book.id)


async def _details(view: View) -> dict[str, Any]:
    return {
        "book": view.subject,
        "low": await backoffice_books.low_stock(view.conn, view.subject.id),
        "default_low": backoffice_books.LOW_STOCK,
        "reasons": [reason for reason in StockReason if reason in STAFF_REASONS],
    }


#: The stock movements of a book; forms on the page adjust the stock.
LIST = AdminList(
    rows=stock_ledger.LEDGER,
    path="/books/{book_id:[0-9]{1,18}}/stock",
    template="stock.html",
    permission=Permission.CHANGE_STOCK,
    subject=_book,
    query=_query,
    details=_details,
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
        return await LIST.show(request, FormError.from_error(error, field, form))
    raise web.HTTPSeeOther(LIST.url(**request.match_info))


async def set_low_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/low-stock: set the low-stock threshold."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        text = form.get("low_stock", "").strip()
        threshold = form_values.parse_integer("low_stock", text) if text else None
        await ledger.set_low_stock_threshold(conn, book_id, threshold, **made_by(request))
        if threshold is None:
            return f"Saved: low stock at {backoffice_books.LOW_STOCK} or fewer (default)."
        return f"Saved: low stock at {threshold} or fewer."

    if error := await run_form(request, work):
        return await LIST.show(request, FormError.from_error(error, "low_stock", form))
    raise web.HTTPSeeOther(LIST.url(**request.match_info))
