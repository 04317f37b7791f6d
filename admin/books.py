"""The catalogue as a list, with stock and prices to be typed into its rows."""

from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import inputs, stock
from admin.page import back_to, carry_out, page
from bookstore import books, categories, reports
from bookstore.books import Query, Sort
from bookstore.db import reading, retrying, transaction
from bookstore.errors import BookstoreError, Stale
from bookstore.reports import Shelf
from web.keys import ENGINE, RATES
from web.requests import now
from web.sessions import me
from web.store import forms, notices
from web.store.words import money

PAGE = 25
LIST = "/admin/books"
#: What the address of a list says about the edit before: where it went, or what it met.
_EDIT = ("saved", "next", "clash", "book", "wanted", "had")
SORTS = {
    "-created_at": "Newest",
    "title": "Title",
    "price": "Cheapest",
    "-price": "Dearest",
}


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/books: all books, or a view of the stock."""
    asked = request.query
    view = Shelf(asked["view"]) if asked.get("view") in set(Shelf) else None
    q = " ".join(asked.get("q", "").split())[:200]
    sort = asked.get("sort", "")
    shelf = asked.get("category", "")
    query = Query(q=q or None, category=shelf or None, sort=Sort(sort) if sort in SORTS else None)
    cursor = asked.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        counts = await reports.stock(conn)
        tree = await categories.tree(conn)
        if view is None:
            found = await books.find(conn, query, cursor=cursor, limit=PAGE)
        else:
            found = await reports.shelf(conn, view, cursor=cursor, limit=PAGE)
    return await page(
        request,
        "books.html",
        back=_edited(request.path_qs),
        category=shelf,
        edit={name: asked.get(name, "") for name in _EDIT},
        counts=counts,
        cursor=cursor,
        found=found,
        low=reports.LOW_STOCK,
        q=q,
        sort=sort,
        sorts=SORTS,
        tree=tree,
        view=view,
    )


async def count_stock(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/count: so many copies were counted on the shelf."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back = back_to(form.get("back"), LIST)

    async def work() -> str:
        counted = inputs.whole("stock", form.get("stock", ""))
        seen = inputs.whole("seen", form.get("seen", ""))
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id)
            await stock.count(conn, book_id, counted, seen, user_id=me(request).id, now=now())
        if counted == seen:
            return f"Counted: {book.title}, still {counted}."
        return f"Saved: {book.title}, {seen} → {counted} copies (count)."

    try:
        said = await retrying(work)
    except stock.Overtaken:
        back = _clash(back, "stock", book_id, form.get("stock", ""), form.get("seen", ""))
    except BookstoreError as error:
        await notices.leave(request, "bad", str(error))
    else:
        await notices.leave(request, "ok", said)
        back = _edited(back, saved=f"stock-{book_id}", next=f"stock-{form.get('next', '')}")
    raise web.HTTPSeeOther(back)


async def change_price(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/price: another price, if nobody changed the book meanwhile."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)
    back, currency = back_to(form.get("back"), LIST), request.config_dict[RATES].currency

    async def work() -> str:
        price_cents = inputs.cents("price_cents", form.get("price", ""))
        version = inputs.whole("version", form.get("version", ""))
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
        said = await retrying(work)
    except Stale:
        back = _clash(back, "price", book_id, form.get("price", ""), form.get("had", ""))
    except BookstoreError as error:
        await notices.leave(request, "bad", str(error))
    else:
        await notices.leave(request, "ok", said)
        back = _edited(back, saved=f"price-{book_id}", next=f"price-{form.get('next', '')}")
    raise web.HTTPSeeOther(back)


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/withdraw: sell it no longer."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        title = (await books.get(conn, book_id)).title
        await books.withdraw(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{title} is withdrawn: nobody can buy it, and orders that have it keep it."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


async def restore(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}/restore: sell it again."""
    book_id, form = int(request.match_info["book_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        version = inputs.whole("version", form.get("version", ""))
        book = await books.restore(conn, book_id, version, user_id=me(request).id, now=now())
        return f"{book.title} is sold again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}/{book_id}")


def _clash(address: str, what: str, book_id: int, wanted: str, had: str) -> str:
    edited = _edited(address, clash=what, book=str(book_id), wanted=wanted, had=had)
    return f"{edited}#book-{book_id}"


def _edited(address: str, **facts: str) -> str:
    """The list, saying what became of an edit instead of what became of the one before."""
    path, _, query = address.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _EDIT]
    kept += facts.items()
    return f"{path}?{urlencode(kept)}" if kept else path
