"""The list of books; stock and prices can be edited in its rows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values, stock
from admin.access import made_by
from admin.list_state import Filter, cents, parse_query
from admin.lists import AdminList, View
from admin.rendering import FormError, back_to, run_action
from bookstore.backoffice import books as backoffice_books
from bookstore.backoffice.books import StockFilter
from bookstore.catalogue import books, categories
from bookstore.catalogue.books import Book
from bookstore.catalogue.categories import Category
from bookstore.errors import BookstoreError, Stale
from bookstore.users.permissions import Permission
from web.server.keys import RATES
from web.server.transactions import write
from web.store import flash, forms
from web.store.formatting import money

#: Query parameters with the result of the previous edit: saved, or in conflict with another one.
_EDIT_PARAMS = ("saved", "next", "conflict", "book", "entered", "previous")
TABS: dict[str, str] = {
    "": "All",
    StockFilter.LOW: "Low",
    StockFilter.SOLD_OUT: "Sold out",
    StockFilter.WITHDRAWN: "Withdrawn",
}
#: The fields of the bulk form, and the field of the error that each one shows.
BULK_FIELDS = {"bulk-price": "price", "bulk-category": "category", "ticks": "book"}


async def _tree(conn: AsyncConnection, _parts: object) -> list[Category]:
    return await categories.tree(conn, counted=False)


def _filters(tree: Sequence[Category]) -> list[Filter]:
    category_names = {each.slug: f"{'– ' * each.depth}{each.name}" for each in tree}
    stock_choices = {"yes": "In stock", "no": "Sold out"}
    return [
        Filter("view", "View", TABS, parse=StockFilter, tab=True),
        Filter("q", "Search"),
        Filter("category", "Category", category_names),
        Filter("price_from", "Price from", field="min_price_cents", parse=cents),
        Filter("price_to", "to", field="max_price_cents", parse=cents),
        Filter("stock", "Stock", stock_choices, field="in_stock", parse="yes".__eq__),
    ]


async def _details(view: View) -> dict[str, Any]:
    counts = await backoffice_books.stock(view.conn)
    params = view.state.params
    return {
        "counts": {
            "": counts.all,
            StockFilter.LOW: counts.low,
            StockFilter.SOLD_OUT: counts.sold_out,
            StockFilter.WITHDRAWN: counts.withdrawn,
        },
        "edit": {name: params.get(name, "") for name in _EDIT_PARAMS},
        "form_error": view.form_error.for_fields(_form_fields(view.found.items)),
        "tree": view.subject,
    }


#: All books, or one view of the stock.
LIST = AdminList(
    rows=backoffice_books.BOOKS,
    path="/books",
    template="books.html",
    permission=Permission.CHANGE_STOCK,
    subject=_tree,
    filters=_filters,
    # The view of low stock starts with the lowest stock.
    tab_sorts={StockFilter.LOW: "stock"},
    details=_details,
)


async def count_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/count: set the stock to the counted quantity."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        counted = form_values.parse_integer("stock", form.get("stock", ""))
        seen = form_values.parse_integer("seen", form.get("seen", ""))
        book = await books.get(conn, book_id)
        await stock.set_counted(conn, book_id, counted, seen, **made_by(request))
        if counted == seen:
            return f"Counted: {book.title}, still {counted}."
        return f"Saved: {book.title}, {seen} → {counted} in stock (count)."

    return await _edit(request, form, "stock", form.get("seen", ""), work)


async def change_price(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/price: a new price, unless the book has changed."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    currency = request.config_dict[RATES].currency

    async def work(conn: AsyncConnection) -> str:
        changes = {"price_cents": form_values.parse_cents("price_cents", form.get("price", ""))}
        version = form_values.parse_integer("version", form.get("version", ""))
        before = await books.get(conn, book_id)
        after = await books.change(conn, book_id, version, changes, **made_by(request))
        was, now_is = money(before.price_cents, currency), money(after.price_cents, currency)
        return f"Saved: {after.title}, {was} → {now_is}."

    return await _edit(request, form, "price", form.get("previous", ""), work)


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/withdraw: stop selling the book."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        title = (await books.get(conn, book_id)).title
        await books.withdraw(conn, book_id, version, **made_by(request))
        return f"{title} is withdrawn. Customers can no longer buy it; existing orders keep it."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST.url()}/{book_id}")


async def restore(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/restore: sell the book again."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        book = await books.restore(conn, book_id, version, **made_by(request))
        return f"{book.title} is on sale again."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST.url()}/{book_id}")


async def _edit(
    request: web.Request,
    form: Mapping[str, str],
    field: str,
    previous: str,
    work: Callable[[AsyncConnection], Awaitable[str]],
) -> web.Response:
    """Save the stock or the price in a row, then show the list with the result at the field.

    `previous` is the value before the edit, for the message that another user changed it.
    """
    book_id, entered = request.match_info["book_id"], form.get(field, "")
    back = back_to(form.get("back"), LIST.url())
    try:
        message = await write(request, work)
    except (stock.StockChanged, Stale):
        result = {"conflict": field, "book": book_id, "entered": entered, "previous": previous}
        raise web.HTTPSeeOther(f"{_with_edit_result(back, result)}#book-{book_id}") from None
    except BookstoreError as error:
        name = f"{field}-{book_id}"
        form_error = FormError.from_error(error, name, {name: entered})
        return await LIST.show(request, form_error, params=parse_query(back))
    await flash.add(request, "ok", message)
    result = {"saved": f"{field}-{book_id}", "next": f"{field}-{form.get('next', '')}"}
    raise web.HTTPSeeOther(_with_edit_result(back, result))


def _form_fields(shown: Sequence[Book]) -> set[str]:
    """The fields of the forms in the list."""
    fields = {f"{what}-{book.id}" for book in shown for what in ("price", "stock")}
    return {*fields, *BULK_FIELDS} if shown else set()


def _with_edit_result(address: str, result: Mapping[str, str]) -> str:
    """The URL of the list with the result of this edit instead of the previous one."""
    state = {
        name: value for name, value in parse_query(address).items() if name not in _EDIT_PARAMS
    }
    return f"{address.partition('?')[0]}?{urlencode(state | dict(result))}"
