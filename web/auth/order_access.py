"""Which orders a visitor may open, and as which actor the visitor changes them."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import idempotency, orders
from bookstore.errors import NotFound, NotSignedIn
from bookstore.notifications import guest_tokens
from bookstore.orders import Order
from bookstore.users.permissions import Permission, permits
from web.server.keys import SETTINGS, USER


async def find_accessible(request: web.Request, conn: AsyncConnection, token: str | None) -> Order:
    """The order in the URL if the visitor may open it: as owner, as staff, or with this token.

    Raises:
        NotFound: the order does not exist or belongs to another customer.
        NotSignedIn: the token is valid, but the order now belongs to a customer account.
    """
    order = await orders.get(conn, request.match_info["number"])
    user = request[USER]
    if user is not None and (
        order.user_id == user.id or has_permission(request, Permission.SEE_ORDERS)
    ):
        return order
    secret_key = request.config_dict[SETTINGS].secret_key
    if token and guest_tokens.is_valid(token, secret_key, order.number):
        if order.user_id is None:
            return order
        if user is None:
            raise NotSignedIn
    raise NotFound("This order")


def access_token(request: web.Request, order: Order) -> str:
    """The token that gives a guest access to the order."""
    return guest_tokens.access_token(request.config_dict[SETTINGS].secret_key, order.number)


def actor(request: web.Request, order: Order) -> str:
    """The actor of a change, as stored in the order's timeline."""
    user = request[USER]
    if user is None:
        return "guest"
    return "customer" if order.user_id == user.id else f"staff:{user.id}"


def has_permission(request: web.Request, permission: Permission) -> bool:
    """Whether the signed-in user's role has the permission; False for guests."""
    user = request[USER]
    return user is not None and permits(user.role, permission)


def idempotency_owner(request: web.Request, cart_id: int) -> str:
    """The owner of the request's idempotency keys: the user, or the guest's cart."""
    user = request[USER]
    return idempotency.cart_owner(cart_id) if user is None else idempotency.user_owner(user.id)
