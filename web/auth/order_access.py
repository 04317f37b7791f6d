"""Which orders a visitor may see, and in whose name they act on them."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import idempotency, orders
from bookstore.errors import NotFound, NotSignedIn
from bookstore.notifications import guest_tokens
from bookstore.orders import Order
from bookstore.users.permissions import Permission, permits
from web.server.keys import SETTINGS, USER


async def opened(request: web.Request, conn: AsyncConnection, token: str | None) -> Order:
    """The order in the address, if it is the visitor's, or open to staff or to this token.

    Raises:
        NotFound: there is none, or it is somebody else's.
        NotSignedIn: the token was right, until the order moved to its customer's account.
    """
    order = await orders.get(conn, request.match_info["number"])
    user = request[USER]
    if user is not None and (order.user_id == user.id or may(request, Permission.SEE_ORDERS)):
        return order
    secret_key = request.config_dict[SETTINGS].secret_key
    if token and guest_tokens.opens(token, secret_key, order.number):
        if order.user_id is None:
            return order
        if user is None:
            raise NotSignedIn
    raise NotFound("This order")


def token_of(request: web.Request, order: Order) -> str:
    """What opens the order to a guest."""
    return guest_tokens.access_token(request.config_dict[SETTINGS].secret_key, order.number)


def actor(request: web.Request, order: Order) -> str:
    """Who is acting, in the words of the order's record."""
    user = request[USER]
    if user is None:
        return "guest"
    return "customer" if order.user_id == user.id else f"staff:{user.id}"


def may(request: web.Request, permission: Permission) -> bool:
    """Whether somebody is signed in who holds the permission."""
    user = request[USER]
    return user is not None and permits(user.role, permission)


def key_owner(request: web.Request, cart_id: int) -> str:
    """Whose keys for idempotency these are: a user's, or those of a guest's cart."""
    user = request[USER]
    return idempotency.of_cart(cart_id) if user is None else idempotency.of_user(user.id)
