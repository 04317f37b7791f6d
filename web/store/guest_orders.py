"""The recent orders of a guest, and the URLs of orders."""

from urllib.parse import quote

from aiohttp import web
from aiohttp_session import get_session
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import orders
from bookstore.orders import Order
from bookstore.users.permissions import Permission
from web.auth.order_access import access_token, has_permission
from web.server.keys import USER

#: Session key for the ids of a guest's orders, newest first.  After the session ends, guests use
#: the links in their e-mails.
_ORDERS = "orders"
_MOST = 5


async def remember(request: web.Request, order: Order) -> None:
    """Store a guest's order in the session."""
    if order.user_id is not None:
        return
    session = await get_session(request)
    others = [order_id for order_id in session.get(_ORDERS, []) if order_id != order.id]
    session[_ORDERS] = [order.id, *others][:_MOST]


async def of_guest(request: web.Request, conn: AsyncConnection) -> list[Order]:
    """The orders that a guest has placed in this session, newest first."""
    ids = (await get_session(request)).get(_ORDERS, [])
    found = await orders.by_ids(conn, ids) if ids else {}
    mine = [found[order_id] for order_id in ids if order_id in found]
    # Orders that were moved to an account require signing in to it.
    return [order for order in mine if order.user_id is None]


async def last_order(request: web.Request, conn: AsyncConnection) -> Order | None:
    """The visitor's latest order."""
    user = request[USER]
    if user is None:
        found = await of_guest(request, conn)
    else:
        found = (await orders.of_user(conn, user.id, limit=1)).items
    return found[0] if found else None


def address_of(request: web.Request, order: Order, below: str = "") -> str:
    """The URL of the order's page; for a guest it contains the access token."""
    address = f"/orders/{quote(order.number)}{below}"
    if order.user_id is not None or has_permission(request, Permission.SEE_ORDERS):
        return address
    return f"{address}?access_token={access_token(request, order)}"


def stream_of(request: web.Request, order: Order) -> str:
    """The URL of the order's event stream."""
    return f"/api/v1{address_of(request, order, '/stream')}"
