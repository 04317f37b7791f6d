"""Whose cart a visitor fills: a user's own, or one that hangs on a guest's session."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, idempotency
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import NotFound
from bookstore.users.accounts import User
from web.auth import sessions
from web.server.keys import ENGINE, USER
from web.server.request_context import now


async def found(request: web.Request, conn: AsyncConnection) -> int | None:
    """The id of the visitor's cart; None for one who has put nothing into any."""
    user = request[USER]
    if user is not None:
        return await carts.find_of_user(conn, user.id)
    return await sessions.guest_cart(request)


async def known(request: web.Request) -> int | None:
    """The same, for whoever has no connection at hand: a guest's is in the session."""
    if request[USER] is None:
        return await sessions.guest_cart(request)

    async def work() -> int | None:
        async with reading(request.config_dict[ENGINE]) as conn:
            return await found(request, conn)

    return await retry_transaction(work)


async def to_fill(request: web.Request, conn: AsyncConnection) -> int:
    """The id of the visitor's cart, made when there is none: `remember` it after the commit."""
    user = request[USER]
    if user is not None:
        return await carts.of_user(conn, user.id, now=now())
    cart_id = await sessions.guest_cart(request)
    return await carts.make_guest(conn, now=now()) if cart_id is None else cart_id


async def remember(request: web.Request, cart_id: int) -> None:
    """Let a guest find the cart again.  Not before its transaction is committed."""
    if request[USER] is None and await sessions.guest_cart(request) != cart_id:
        await sessions.keep_guest_cart(request, cart_id)


async def sign_in(request: web.Request, user: User) -> list[str]:
    """Sign the visitor in; what lay in a guest's cart moves to the user's.  The keys of what
    they sent as a guest become the user's, too.

    The answer tells the user in sentences what became of it.
    """
    cart_id = await sessions.guest_cart(request)
    await sessions.sign_in(request, user)
    if cart_id is None:
        return []

    async def work() -> list[str]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            said = await carts.merge(conn, cart_id, user.id, now=now())
            # An order whose answer was lost is not placed anew by who signs in and repeats it.
            await idempotency.hand_over(
                conn, idempotency.of_cart(cart_id), idempotency.of_user(user.id)
            )
            return said

    try:
        return await retry_transaction(work)
    except NotFound:  # The cart was purged, or moved by a request of a moment ago.
        return []
