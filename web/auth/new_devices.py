"""An e-mail to the owner of an account after a sign-in from a new device."""

from datetime import timedelta

from aiohttp import web

from bookstore.users import accounts
from bookstore.users.accounts import User
from web.auth import known_devices
from web.server.request_context import now
from web.server.transactions import write

#: The first session follows the registration, a reset or a new password at once.
_JUST_NOW = timedelta(minutes=1)


async def notify(request: web.Request, user: User) -> None:
    """Notify the user of this new session, unless the device is known."""
    if now() - user.created_at < _JUST_NOW or await known_devices.is_known(request, user.email):
        return
    await write(request, accounts.notify_of_new_device, user, now=now())
