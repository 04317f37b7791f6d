"""The search box of every page: it goes where the answer is."""

from contextlib import suppress
from urllib.parse import quote, urlencode

from aiohttp import web

from bookstore import orders
from bookstore.catalogue import books
from bookstore.database.engine import reading
from bookstore.errors import InvalidIsbn, NotFound
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import me
from web.server.keys import ENGINE


async def go(request: web.Request) -> web.Response:
    """GET /admin/search: to the order, the book or the user, or to a list of what fits."""
    q = " ".join(request.query.get("q", "").split())[:200]
    role = me(request).role
    sees_orders = permits(role, Permission.SEE_ORDERS)
    address = "/admin/orders" if sees_orders else "/admin/books"
    if q:
        address = f"{address}?{urlencode({'q': q})}"
        async with reading(request.config_dict[ENGINE]) as conn:
            if sees_orders and "-" in q:
                with suppress(NotFound):
                    number = (await orders.get(conn, q.upper())).number
                    address = f"/admin/orders/{quote(number, safe='')}"
            with suppress(InvalidIsbn, NotFound):
                book = await books.by_isbn(conn, q, withdrawn=True)
                below = "" if permits(role, Permission.CHANGE_BOOKS) else "/stock"
                address = f"/admin/books/{book.id}{below}"
    raise web.HTTPSeeOther(address)
