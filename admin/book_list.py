"""The list of books; stock and prices can be edited in its rows."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values, stock
from admin.list_state import Filter, ListState, format_total, parse_query
from admin.rendering import NO_ERROR, FormError, back_to, page, run_action
from bookstore.backoffice import books as backoffice_books
from bookstore.backoffice import list_exports
from bookstore.backoffice.books import StockFilter
from bookstore.catalogue import books, categories
from bookstore.catalogue.books import Book, BookQuery
from bookstore.catalogue.categories import Category
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Stale
from web.auth.sessions import current_user
from web.server.keys import ENGINE, RATES
from web.server.request_context import now
from web.store import flash, forms
from web.store.formatting import money

LIST = "/admin/books"
#: Query parameters with the result of the previous edit: saved, or in conflict with another one.
_EDIT_PARAMS = ("saved", "next", "conflict", "book", "entered", "previous")
TABS: dict[str, str] = {
    StockFilter.LOW: "Low",
    StockFilter.SOLD_OUT: "Sold out",
    StockFilter.WITHDRAWN: "Withdrawn",
}
#: The fields of the bulk form, and the field of the error that each one shows.
BULK_FIELDS = {"bulk-price": "price", "bulk-category": "category", "ticks": "book"}


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/books: all books, or one view of the stock."""
    return await show_list(request, request.query)


async def show_list(
    request: web.Request, params: Mapping[str, str], form_error: FormError = NO_ERROR
) -> web.Response:
    """The list for these query parameters; `form_error` is the error of a form on it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        counts = await backoffice_books.stock(conn)
        tree = await categories.tree(conn, counted=False)
        list_state = list_state_of(params, tree)
        query, view = book_query_of(list_state)
        found = await backoffice_books.find(
            conn, query, view, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
        number = (
            format_total(await backoffice_books.count(conn, query, view))
            if list_state.chips
            else None
        )
    numbers = {
        "": counts.all,
        StockFilter.LOW: counts.low,
        StockFilter.SOLD_OUT: counts.sold_out,
        StockFilter.WITHDRAWN: counts.withdrawn,
    }
    return await page(
        request,
        "books.html",
        edit={name: params.get(name, "") for name in _EDIT_PARAMS},
        found=found,
        list=list_state,
        numbers=numbers,
        form_error=form_error.for_fields(_form_fields(found.items)),
        number=number or f"{numbers[view or '']:,}",
        tabs=TABS,
        tree=tree,
        view=view,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/books/export.csv: all books of the list, in the columns of an import."""
    async with reading(request.config_dict[ENGINE]) as conn:
        list_state = list_state_of(request.query, await categories.tree(conn, counted=False))
    params = list_exports.BookExportQuery.of(*book_query_of(list_state))
    return await exports.send(request, list_exports.BOOKS, params, list_state.sort)


def list_state_of(params: Mapping[str, str], tree: Sequence[Category]) -> ListState:
    """The state of the list of books for these query parameters."""
    category_names = {each.slug: f"{'– ' * each.depth}{each.name}" for each in tree}
    filters = (
        Filter("view", "View", TABS, tab=True),
        Filter("q", "Search"),
        Filter("category", "Category", category_names),
        Filter("price_from", "Price from", kind="money"),
        Filter("price_to", "to", kind="money"),
        Filter("stock", "Stock", {"yes": "In stock", "no": "Sold out"}),
    )
    # The view of low stock starts with the lowest stock.
    first = (
        backoffice_books.SCARCEST
        if params.get("view") == StockFilter.LOW
        else backoffice_books.NEWEST
    )
    return ListState(params, LIST, filters, sorts=[*backoffice_books.SORTS], sort=first)


def book_query_of(list_state: ListState) -> tuple[BookQuery, StockFilter | None]:
    """The query for the books of a list."""
    view, stock = list_state.text("view"), list_state.text("stock")
    query = BookQuery(
        q=list_state.text("q"),
        category=list_state.text("category"),
        min_price_cents=list_state.cents("price_from"),
        max_price_cents=list_state.cents("price_to"),
        in_stock=stock == "yes" if stock else None,
    )
    return query, StockFilter(view) if view else None


async def count_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/count: set the stock to the counted quantity."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back = back_to(form.get("back"), LIST)

    async def work() -> str:
        counted = form_values.parse_integer("stock", form.get("stock", ""))
        seen = form_values.parse_integer("seen", form.get("seen", ""))
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id)
            await stock.set_counted(
                conn, book_id, counted, seen, user_id=current_user(request).id, now=now()
            )
        if counted == seen:
            return f"Counted: {book.title}, still {counted}."
        return f"Saved: {book.title}, {seen} → {counted} in stock (count)."

    try:
        message = await retry_transaction(work)
    except stock.StockChanged:
        back = _conflict(back, "stock", book_id, form.get("stock", ""), form.get("seen", ""))
    except BookstoreError as error:
        return await _not_saved(request, error, f"stock-{book_id}", form.get("stock", ""), back)
    else:
        await flash.add(request, "ok", message)
        back = _with_edit_result(
            back, saved=f"stock-{book_id}", next=f"stock-{form.get('next', '')}"
        )
    raise web.HTTPSeeOther(back)


async def change_price(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/price: a new price, unless the book has changed."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back, currency = back_to(form.get("back"), LIST), request.config_dict[RATES].currency

    async def work() -> str:
        price_cents = form_values.parse_cents("price_cents", form.get("price", ""))
        version = form_values.parse_integer("version", form.get("version", ""))
        async with transaction(request.config_dict[ENGINE]) as conn:
            before = await books.get(conn, book_id)
            after = await books.change(
                conn,
                book_id,
                version,
                {"price_cents": price_cents},
                user_id=current_user(request).id,
                now=now(),
            )
        was, now_is = money(before.price_cents, currency), money(after.price_cents, currency)
        return f"Saved: {after.title}, {was} → {now_is}."

    try:
        message = await retry_transaction(work)
    except Stale:
        back = _conflict(back, "price", book_id, form.get("price", ""), form.get("previous", ""))
    except BookstoreError as error:
        return await _not_saved(request, error, f"price-{book_id}", form.get("price", ""), back)
    else:
        await flash.add(request, "ok", message)
        back = _with_edit_result(
            back, saved=f"price-{book_id}", next=f"price-{form.get('next', '')}"
        )
    raise web.HTTPSeeOther(back)


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/withdraw: stop selling the book."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        title = (await books.get(conn, book_id)).title
        await books.withdraw(conn, book_id, version, user_id=current_user(request).id, now=now())
        return f"{title} is withdrawn. Customers can no longer buy it; existing orders keep it."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


async def restore(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/restore: sell the book again."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.parse_integer("version", form.get("version", ""))
        book = await books.restore(
            conn, book_id, version, user_id=current_user(request).id, now=now()
        )
        return f"{book.title} is on sale again."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


async def _not_saved(
    request: web.Request, error: BookstoreError, field: str, text: str, back: str
) -> web.Response:
    return await show_list(
        request, parse_query(back), FormError.from_error(error, field, {field: text})
    )


def _form_fields(shown: Sequence[Book]) -> set[str]:
    """The fields of the forms in the list."""
    fields = {f"{what}-{book.id}" for book in shown for what in ("price", "stock")}
    return {*fields, *BULK_FIELDS} if shown else set()


def _conflict(address: str, what: str, book_id: int, entered: str, previous: str) -> str:
    edited = _with_edit_result(
        address, conflict=what, book=str(book_id), entered=entered, previous=previous
    )
    return f"{edited}#book-{book_id}"


def _with_edit_result(address: str, **result: str) -> str:
    """The URL of the list with the result of this edit instead of the previous one."""
    path, _, query = address.partition("?")
    state = [(name, value) for name, value in parse_qsl(query) if name not in _EDIT_PARAMS]
    state += result.items()
    return f"{path}?{urlencode(state)}" if state else path
