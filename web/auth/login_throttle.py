"""Throttling of failed passwords and codes, of registrations and of e-mails with links.

Other people cannot lock out an account's owner: on a device from which the owner has signed in
before, only the failures of that device count, not those of the account.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.errors import BadCode, BadCredentials, BookstoreError, EmailTaken
from bookstore.users import accounts, attempts
from bookstore.users.accounts import User
from bookstore.users.attempts import Rule
from web.auth import known_devices
from web.server.errors import TooManyAttempts
from web.server.keys import SETTINGS, USER
from web.server.request_context import client_address, now
from web.server.transactions import read, write

log = logging.getLogger(__name__)

#: Wrong passwords for one account, or from one known device of the account.
ACCOUNT = Rule(5, timedelta(seconds=1), timedelta(minutes=15))
#: Wrong passwords from one network for any account: limits trying one password on many accounts.
NETWORK = Rule(50, timedelta(seconds=1), timedelta(minutes=15))
#: Wrong second-factor codes after a correct password.
CODE = Rule(5, timedelta(seconds=1), timedelta(minutes=15))
#: New accounts, and e-mails with links, per hour.
HOURLY = Rule(5, timedelta(hours=1), timedelta(hours=1))


#: Orders of guests with one e-mail address: each sends e-mails to somebody who may be a stranger,
#: and takes copies from stock.
GUEST_ORDERS = Rule(5, timedelta(minutes=10), timedelta(hours=24))


class OnSuccess(Enum):
    """What happens to the counter after a success."""

    #: Delete the counter.
    CLEAR = "clear"
    #: Take back this attempt only.
    UNDO = "undo"
    #: Leave the attempt counted.
    COUNT = "count"


class ThrottleKey(NamedTuple):
    """The key of a counter, its rule, and what happens to it after a success."""

    text: str
    rule: Rule
    on_success: OnSuccess


@asynccontextmanager
async def throttle_password(request: web.Request, email: str) -> AsyncIterator[None]:
    """Check the account's password in this block: `BadCredentials` counts as a failure.

    Raises:
        TooManyAttempts: there were too many failures; the block does not run.
    """
    device = await known_devices.known_id(request, email)
    if device is not None:
        keys = [ThrottleKey(f"device {device}", ACCOUNT, OnSuccess.CLEAR)]
    else:
        keys = [
            ThrottleKey(_account(email), ACCOUNT, OnSuccess.CLEAR),
            ThrottleKey(f"network {_network(request)}", NETWORK, OnSuccess.UNDO),
        ]
    async with _throttled(request, keys, BadCredentials):
        yield


def throttle_code(request: web.Request, user: User) -> AbstractAsyncContextManager[None]:
    """Check a code of the user in this block: `BadCode` counts as a failure.

    Raises:
        TooManyAttempts: there were too many failures; the block does not run.
    """
    keys = [ThrottleKey(f"code {user.id}", CODE, OnSuccess.CLEAR)]
    return _throttled(request, keys, BadCode)


def throttle_registration(request: web.Request) -> AbstractAsyncContextManager[None]:
    """Create an account in this block. Invalid input does not count.

    Raises:
        TooManyAttempts: there were too many from this IP address in the last hour.
    """
    return _throttled(request, _by_address(request, "register"), EmailTaken)


def throttle_reset_request(request: web.Request) -> AbstractAsyncContextManager[None]:
    """Request a password reset e-mail in this block.

    Raises:
        TooManyAttempts: there were too many from this IP address in the last hour.
    """
    return _throttled(request, _by_address(request, "reset"))


def throttle_email(request: web.Request, email: str) -> AbstractAsyncContextManager[None]:
    """Send an e-mail with a link to this e-mail address in this block.

    Raises:
        TooManyAttempts: there were too many to this e-mail address in the last hour.
    """
    keys = [ThrottleKey(f"email {accounts.email_key(email)}", HOURLY, OnSuccess.COUNT)]
    return _throttled(request, keys)


@asynccontextmanager
async def limit_guest_orders(request: web.Request, email: str) -> AsyncIterator[None]:
    """Place an order in this block.  The orders of guests are counted by e-mail address.

    The count is in the database, so that all processes share it, and grows before the order is
    placed, so that concurrent orders cannot exceed it.  The pause doubles with each further order.

    Raises:
        TooManyAttempts: there were too many orders with this address; the block does not run.
    """
    keys = [ThrottleKey(_guest_orders(email), GUEST_ORDERS, OnSuccess.COUNT)]
    async with _throttled(request, keys if request[USER] is None else []):
        yield


async def uncount_guest_order(request: web.Request, email: str) -> None:
    """Take an order back that was a repeat of an earlier one."""
    if request[USER] is None and request.config_dict[SETTINGS].rate_limits:
        await write(request, attempts.undo, [_guest_orders(email)])


def _guest_orders(email: str) -> str:
    return f"orders {accounts.email_key(email)}"


async def clear_failures(request: web.Request, email: str) -> None:
    """Reset the account's failed passwords after its owner has proven their identity."""
    await write(request, attempts.forget, [_account(email)])


@asynccontextmanager
async def _throttled(
    request: web.Request, keys: Iterable[ThrottleKey], *failures: type[BookstoreError]
) -> AsyncIterator[None]:
    rules = {key.text: key.rule for key in keys}
    if not rules or not request.config_dict[SETTINGS].rate_limits:
        yield
        return
    # Check first without a lock, so that a flood of attempts causes reads only.
    wait_s = await read(request, attempts.wait_s, rules, now=now())
    wait_s = wait_s or await write(request, attempts.count, rules, now=now())
    if wait_s:
        # Log only the kind of counter: the rest may contain an e-mail address.
        log.warning("throttled: %s", ", ".join(sorted(name.partition(" ")[0] for name in rules)))
        raise TooManyAttempts(wait_s)
    try:
        yield
    except failures:
        raise
    except BaseException:
        await write(request, attempts.undo, list(rules))
        raise
    undo = [key.text for key in keys if key.on_success is OnSuccess.UNDO]
    clear = [key.text for key in keys if key.on_success is OnSuccess.CLEAR]

    async def settle(conn: AsyncConnection) -> None:
        await attempts.undo(conn, undo)
        await attempts.forget(conn, clear)

    if undo or clear:
        await write(request, settle)


def _account(email: str) -> str:
    return f"account {accounts.email_key(email)}"


def _by_address(request: web.Request, what: str) -> list[ThrottleKey]:
    """The counter for the client's address; for IPv6 of its /64 network (RFC 6177).

    Local requests to a development store are not counted.
    """
    if _is_local_development(request):
        return []
    address = _network_of(client_address(request), 32, 64)
    return [ThrottleKey(f"{what} {address}", HOURLY, OnSuccess.COUNT)]


def _network(request: web.Request) -> str:
    """The client's /24 or /48 network: providers assign whole networks to one customer."""
    return _network_of(client_address(request), 24, 48)


def _network_of(address: str, bits4: int, bits6: int) -> str:
    try:
        bits = bits4 if ip_address(address).version == 4 else bits6
    except ValueError:
        return address
    return str(ip_network(f"{address.partition('%')[0]}/{bits}", strict=False))


def _is_local_development(request: web.Request) -> bool:
    """Whether this is a local request to a development store, which is not throttled."""
    address = client_address(request)
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        return False
    return is_loopback and not request.config_dict[SETTINGS].production
