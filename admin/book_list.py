"""The catalogue as a list, with stock and prices to be typed into its rows."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports, form_values, stock
from admin.list_state import Filter, Listing, query_of, total
from admin.rendering import NO_REFUSAL, Refusal, back_to, carry_out, page
from bookstore.backoffice import books as desk
from bookstore.backoffice import list_exports
from bookstore.backoffice.books import Shelf
from bookstore.catalogue import books, categories
from bookstore.catalogue.books import Book, Query
from bookstore.catalogue.categories import Category
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Stale
from web.auth.sessions import me
from web.server.keys import ENGINE, RATES
from web.server.request_context import now
from web.store import flash, forms
from web.store.formatting import money

LIST = "/admin/books"
#: What the address of a list says about the edit before: where it went, or what it met.
_EDIT = ("saved", "next", "clash", "book", "wanted", "had")
TABS: dict[str, str] = {
    Shelf.LOW: "Low",
    Shelf.SOLD_OUT: "Sold out",
    Shelf.WITHDRAWN: "Withdrawn",
}
#: The fields of the form about all ticked books, and what of it is at fault.
BULK = {"bulk-price": "price", "bulk-category": "category", "ticks": "book"}


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/books: all books, or a view of the stock."""
    return await show_list(request, request.query)


async def show_list(
    request: web.Request, asked: Mapping[str, str], refusal: Refusal = NO_REFUSAL
) -> web.Response:
    """The list that is asked for, also after one of its forms was refused."""
    async with reading(request.config_dict[ENGINE]) as conn:
        counts = await desk.stock(conn)
        tree = await categories.tree(conn, counted=False)
        listing = listing_of(asked, tree)
        query, view = asked_of(listing)
        found = await desk.find(
            conn, query, view, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        number = total(await desk.count(conn, query, view)) if listing.chips else None
    numbers = {
        "": counts.all,
        Shelf.LOW: counts.low,
        Shelf.SOLD_OUT: counts.sold_out,
        Shelf.WITHDRAWN: counts.withdrawn,
    }
    return await page(
        request,
        "books.html",
        edit={name: asked.get(name, "") for name in _EDIT},
        found=found,
        list=listing,
        numbers=numbers,
        refusal=refusal.among(_places(found.items)),
        number=number or f"{numbers[view or '']:,}",
        tabs=TABS,
        tree=tree,
        view=view,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/books/export.csv: all books that the list shows, as an import takes them."""
    async with reading(request.config_dict[ENGINE]) as conn:
        listing = listing_of(request.query, await categories.tree(conn, counted=False))
    asked = list_exports.BookQuery.of(*asked_of(listing))
    return await exports.send(request, list_exports.BOOKS, asked, listing.sort)


def listing_of(asked: Mapping[str, str], tree: Sequence[Category]) -> Listing:
    """What the query of an address asks of the list of books."""
    shelves = {each.slug: f"{'– ' * each.depth}{each.name}" for each in tree}
    filters = (
        Filter("view", "View", TABS, tab=True),
        Filter("q", "Find"),
        Filter("category", "Category", shelves),
        Filter("price_from", "Price from", kind="money"),
        Filter("price_to", "to", kind="money"),
        Filter("stock", "Stock", {"yes": "On the shelf", "no": "Sold out"}),
    )
    # A stock sheet begins with what is scarcest.
    first = desk.SCARCEST if asked.get("view") == Shelf.LOW else desk.NEWEST
    return Listing(asked, LIST, filters, sorts=[*desk.SORTS], sort=first)


def asked_of(listing: Listing) -> tuple[Query, Shelf | None]:
    """Which books a list shows."""
    view, stock = listing.text("view"), listing.text("stock")
    query = Query(
        q=listing.text("q"),
        category=listing.text("category"),
        min_price_cents=listing.cents("price_from"),
        max_price_cents=listing.cents("price_to"),
        in_stock=stock == "yes" if stock else None,
    )
    return query, Shelf(view) if view else None


async def count_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/count: so many copies were counted on the shelf."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back = back_to(form.get("back"), LIST)

    async def work() -> str:
        counted = form_values.whole("stock", form.get("stock", ""))
        seen = form_values.whole("seen", form.get("seen", ""))
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id)
            await stock.count(conn, book_id, counted, seen, user_id=me(request).id, now=now())
        if counted == seen:
            return f"Counted: {book.title}, still {counted}."
        return f"Saved: {book.title}, {seen} → {counted} copies (count)."

    try:
        said = await retry_transaction(work)
    except stock.Overtaken:
        back = _clash(back, "stock", book_id, form.get("stock", ""), form.get("seen", ""))
    except BookstoreError as error:
        return await _not_saved(request, error, f"stock-{book_id}", form.get("stock", ""), back)
    else:
        await flash.leave(request, "ok", said)
        back = _edited(back, saved=f"stock-{book_id}", next=f"stock-{form.get('next', '')}")
    raise web.HTTPSeeOther(back)


async def change_price(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/price: another price, if nobody changed the book meanwhile."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back, currency = back_to(form.get("back"), LIST), request.config_dict[RATES].currency

    async def work() -> str:
        price_cents = form_values.cents("price_cents", form.get("price", ""))
        version = form_values.whole("version", form.get("version", ""))
        async with transaction(request.config_dict[ENGINE]) as conn:
            before = await books.get(conn, book_id)
            after = await books.change(
                conn,
                book_id,
                version,
                {"price_cents": price_cents},
                user_id=me(request).id,
                now=now(),
            )
        was, now_is = money(before.price_cents, currency), money(after.price_cents, currency)
        return f"Saved: {after.title}, {was} → {now_is}."

    try:
        said = await retry_transaction(work)
    except Stale:
        back = _clash(back, "price", book_id, form.get("price", ""), form.get("had", ""))
    except BookstoreError as error:
        return await _not_saved(request, error, f"price-{book_id}", form.get("price", ""), back)
    else:
        await flash.leave(request, "ok", said)
        back = _edited(back, saved=f"price-{book_id}", next=f"price-{form.get('next', '')}")
    raise web.HTTPSeeOther(back)


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/withdraw: sell it no longer."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.whole("version", form.get("version", ""))
        title = (await books.get(conn, book_id)).title
        await books.withdraw(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{title} is withdrawn: nobody can buy it, and orders that have it keep it."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


async def restore(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/restore: sell it again."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = form_values.whole("version", form.get("version", ""))
        book = await books.restore(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{book.title} is sold again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


async def _not_saved(
    request: web.Request, error: BookstoreError, place: str, typed: str, back: str
) -> web.Response:
    return await show_list(request, query_of(back), Refusal.of(error, place, {place: typed}))


def _places(shown: Sequence[Book]) -> set[str]:
    """Where the list has fields of its forms."""
    cells = {f"{what}-{book.id}" for book in shown for what in ("price", "stock")}
    return {*cells, *BULK} if shown else set()


def _clash(address: str, what: str, book_id: int, wanted: str, had: str) -> str:
    edited = _edited(address, clash=what, book=str(book_id), wanted=wanted, had=had)
    return f"{edited}#book-{book_id}"


def _edited(address: str, **facts: str) -> str:
    """The list, saying what became of an edit instead of what became of the one before."""
    path, _, query = address.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _EDIT]
    kept += facts.items()
    return f"{path}?{urlencode(kept)}" if kept else path
