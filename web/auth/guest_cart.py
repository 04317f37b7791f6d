"""The visitor's cart: of the signed-in user, or of the guest's session."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, idempotency
from bookstore.database.engine import reading, retry_transaction
from bookstore.errors import NotFound
from bookstore.users.accounts import User
from web.auth import sessions
from web.server.keys import ENGINE, SETTINGS, USER
from web.server.request_context import now
from web.server.transactions import write


async def find(request: web.Request, conn: AsyncConnection) -> int | None:
    """The id of the visitor's cart; None if there is none yet."""
    user = request[USER]
    if user is not None:
        return await carts.find_of_user(conn, user.id)
    return await sessions.guest_cart_id(request)


async def find_without_connection(request: web.Request) -> int | None:
    """The same for a caller without a connection; a guest's cart id is in the session."""
    if request[USER] is None:
        return await sessions.guest_cart_id(request)

    async def work() -> int | None:
        async with reading(request.config_dict[ENGINE]) as conn:
            return await find(request, conn)

    return await retry_transaction(work)


async def get_or_create(request: web.Request, conn: AsyncConnection) -> int:
    """The id of the visitor's cart, created if missing. Call `remember` after the commit."""
    user = request[USER]
    if user is not None:
        return await carts.of_user(conn, user.id, now=now())
    cart_id = await sessions.guest_cart_id(request)
    return await carts.make_guest(conn, now=now()) if cart_id is None else cart_id


async def remember(request: web.Request, cart_id: int) -> None:
    """Store the cart id in a guest's session. Call it only after the cart is committed."""
    if request[USER] is None and await sessions.guest_cart_id(request) != cart_id:
        await sessions.save_guest_cart_id(request, cart_id)


async def sign_in(request: web.Request, user: User) -> list[str]:
    """Sign the visitor in and merge the guest cart into the user's cart.

    The idempotency keys of the guest move to the user, too. Returns messages about the merge for
    the user.
    """
    cart_id = await sessions.guest_cart_id(request)
    await sessions.sign_in(request, user)
    if cart_id is None:
        return []

    limit = request.config_dict[SETTINGS].max_per_title

    async def merge(conn: AsyncConnection) -> list[str]:
        messages = await carts.merge(conn, cart_id, user.id, limit=limit, now=now())
        # If the response to a checkout was lost, repeating it after sign-in must not place the
        # order again.
        owners = idempotency.cart_owner(cart_id), idempotency.user_owner(user.id)
        await idempotency.transfer(conn, *owners)
        return messages

    try:
        return await write(request, merge)
    except NotFound:  # The cart was purged, or merged by a concurrent request.
        return []
