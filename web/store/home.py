"""The home page: new books, bestsellers and categories."""

from aiohttp import web

from bookstore.catalogue import listing
from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.database.engine import reading
from bookstore.orders import bestsellers
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import formatting
from web.store.cached_pages import cached
from web.store.rendering import page

#: Number of books at the top, among the new arrivals below, and in the bestseller list.
_FRONT, _NEW, _LIST = 5, 6, 8
#: With fewer bestsellers the page shows low-priced books instead.
_MIN_BESTSELLERS = 4


@cached
async def show(request: web.Request) -> web.Response:
    """GET /."""
    newest = BookQuery(in_stock=True, sort=Sort.NEWEST)
    cheapest = BookQuery(in_stock=True, sort=Sort.PRICE)
    async with reading(request.config_dict[ENGINE]) as conn:
        new = (await listing.find(conn, newest, limit=_FRONT + _NEW)).items
        best = await bestsellers.bestsellers(conn, _LIST)
        if len(best) < _MIN_BESTSELLERS:
            best = []
        cheap = [] if best else (await listing.find(conn, cheapest, limit=_LIST)).items
    return await page(
        request,
        "home.html",
        front=new[:_FRONT],
        new=new[_FRONT:],
        best=best,
        cheap=cheap,
        month=formatting.month(now()),
    )
