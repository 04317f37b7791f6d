"""The search box of every page; it redirects to the result."""

from contextlib import suppress
from urllib.parse import quote, urlencode

from aiohttp import web

from bookstore import orders
from bookstore.catalogue import books
from bookstore.database.engine import reading
from bookstore.errors import InvalidIsbn, NotFound
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.server.keys import ENGINE


async def search(request: web.Request) -> web.Response:
    """GET /admin/search: redirect to the order or the book, or to a list of matches."""
    q = " ".join(request.query.get("q", "").split())[:200]
    role = current_user(request).role
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
