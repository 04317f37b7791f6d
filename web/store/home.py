"""The front page: a shop shows its taste before its search."""

from aiohttp import web

from bookstore.catalogue import listing
from bookstore.catalogue.listing import Query, Sort
from bookstore.database.engine import reading
from bookstore.orders import bestsellers
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import formatting
from web.store.cached_pages import kept
from web.store.rendering import page

#: Books on the front table, on the shelf below it, and in the contents list.
_FRONT, _SHELF, _CONTENTS = 5, 6, 8
#: With fewer than these a list of bestsellers says nothing; then cheap books stand in its place.
_ENOUGH = 4


@kept
async def show(request: web.Request) -> web.Response:
    """GET /."""
    newest = Query(in_stock=True, sort=Sort.NEWEST)
    cheapest = Query(in_stock=True, sort=Sort.PRICE)
    async with reading(request.config_dict[ENGINE]) as conn:
        new = (await listing.find(conn, newest, limit=_FRONT + _SHELF)).items
        best = await bestsellers.bestsellers(conn, _CONTENTS)
        if len(best) < _ENOUGH:
            best = []
        cheap = [] if best else (await listing.find(conn, cheapest, limit=_CONTENTS)).items
    return await page(
        request,
        "home.html",
        front=new[:_FRONT],
        new=new[_FRONT:],
        best=best,
        cheap=cheap,
        month=formatting.month(now()),
    )
