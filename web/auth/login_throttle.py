"""Who fails too often has to wait: for passwords, codes, registrations and letters with links.

Strangers cannot lock an owner out: from a device that the owner has signed in from before,
the account's own failures do not count, only the device's.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from aiohttp import web

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BadCode, BadCredentials, BookstoreError, EmailTaken
from bookstore.users import accounts, attempts
from bookstore.users.accounts import User
from bookstore.users.attempts import Rule
from config.settings import Settings
from web.auth import known_devices
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now, sender

log = logging.getLogger(__name__)

#: Wrong passwords for one account, or from one device that its owner knows.
ACCOUNT = Rule(5, timedelta(seconds=1), timedelta(minutes=15))
#: Wrong passwords from one network, whatever the account: one password for a thousand of them.
NETWORK = Rule(50, timedelta(seconds=1), timedelta(minutes=15))
#: Wrong codes, after the right password.
CODE = Rule(5, timedelta(seconds=1), timedelta(minutes=15))
#: New accounts and letters with links, in an hour.
HOURLY = Rule(5, timedelta(hours=1), timedelta(hours=1))


class Afterwards(Enum):
    """What becomes of the count when there was no failure."""

    FORGET = "forget"
    UNDO = "undo"
    KEEP = "keep"


class Name(NamedTuple):
    """Whose tries are counted, and by which rule."""

    text: str
    rule: Rule
    afterwards: Afterwards


@asynccontextmanager
async def guessing(request: web.Request, email: str) -> AsyncIterator[None]:
    """Check this account's password within: `BadCredentials` counts as a failure.

    Raises:
        TooManyAttempts: one has to wait first; nothing was checked.
    """
    device = known_devices.known(request, email)
    if device is not None:
        names = [Name(f"device {device}", ACCOUNT, Afterwards.FORGET)]
    else:
        names = [
            Name(_account(email), ACCOUNT, Afterwards.FORGET),
            Name(f"network {_network(request)}", NETWORK, Afterwards.UNDO),
        ]
    async with _counted(request, names, BadCredentials):
        yield


@asynccontextmanager
async def guessing_code(request: web.Request, user: User) -> AsyncIterator[None]:
    """Check a code of this user's within: `BadCode` counts as a failure.

    Raises:
        TooManyAttempts: one has to wait first; nothing was checked.
    """
    async with _counted(request, [Name(f"code {user.id}", CODE, Afterwards.FORGET)], BadCode):
        yield


@asynccontextmanager
async def registering(request: web.Request) -> AsyncIterator[None]:
    """Make an account within; what is not valid does not count.

    Raises:
        TooManyAttempts: there were too many from this address in the last hour.
    """
    names = (
        []
        if _ourselves(request)
        else [Name(_address(request, "register"), HOURLY, Afterwards.KEEP)]
    )
    async with _counted(request, names, EmailTaken):
        yield


@asynccontextmanager
async def asking_for_reset(request: web.Request) -> AsyncIterator[None]:
    """Ask for a letter with a link within.

    Raises:
        TooManyAttempts: there were too many from this address in the last hour.
    """
    names = (
        [] if _ourselves(request) else [Name(_address(request, "reset"), HOURLY, Afterwards.KEEP)]
    )
    async with _counted(request, names):
        yield


@asynccontextmanager
async def writing_to(request: web.Request, email: str) -> AsyncIterator[None]:
    """Have a letter with a link sent to this address within.

    Raises:
        TooManyAttempts: there were too many in the last hour.
    """
    async with _counted(
        request, [Name(f"letters {accounts.key_of(email)}", HOURLY, Afterwards.KEEP)]
    ):
        yield


async def forgive(request: web.Request, email: str) -> None:
    """Forget the account's wrong passwords: its owner has proven to be who they are."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        await attempts.forget(conn, [_account(email)])


@asynccontextmanager
async def _counted(
    request: web.Request, names: Iterable[Name], *failures: type[BookstoreError]
) -> AsyncIterator[None]:
    rules = {name.text: name.rule for name in names}
    settings: Settings = request.config_dict[SETTINGS]
    if not rules or not settings.rate_limits:
        yield
        return
    await _count(request, rules)
    try:
        yield
    except failures:
        raise
    except BaseException:
        await _settle(request, undo=list(rules))
        raise
    await _settle(
        request,
        undo=[name.text for name in names if name.afterwards is Afterwards.UNDO],
        forget=[name.text for name in names if name.afterwards is Afterwards.FORGET],
    )


async def _count(request: web.Request, rules: dict[str, Rule]) -> None:
    engine = request.config_dict[ENGINE]
    # First without a lock: a flood of guesses is refused by reading alone.
    async with reading(engine) as conn:
        wait_s = await attempts.wait_s(conn, rules, now=now())

    async def work() -> int:
        async with transaction(engine) as conn:
            return await attempts.count(conn, rules, now=now())

    wait_s = wait_s or await retry_transaction(work)
    if wait_s:
        # Not whose: an address that somebody has mistyped is nobody's business.
        log.warning("throttled: %s", ", ".join(sorted(name.partition(" ")[0] for name in rules)))
        raise TooManyAttempts(wait_s)


async def _settle(request: web.Request, *, undo: list[str], forget: Iterable[str] = ()) -> None:
    forget = list(forget)
    if not undo and not forget:
        return

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await attempts.undo(conn, undo)
            await attempts.forget(conn, forget)

    await retry_transaction(work)


def _account(email: str) -> str:
    return f"account {accounts.key_of(email)}"


def _address(request: web.Request, what: str) -> str:
    """Whoever has one address; of IPv6 everybody has a whole network (RFC 6177)."""
    return f"{what} {_shared(sender(request), 32, 64)}"


def _network(request: web.Request) -> str:
    """A household or an office, not a single machine: providers hand out whole networks."""
    return _shared(sender(request), 24, 48)


def _shared(address: str, bits4: int, bits6: int) -> str:
    try:
        bits = bits4 if ip_address(address).version == 4 else bits6
    except ValueError:
        return address
    return str(ip_network(f"{address.partition('%')[0]}/{bits}", strict=False))


def _ourselves(request: web.Request) -> bool:
    """Whether the store is being tried out on the machine that it runs on."""
    address = sender(request)
    try:
        here = ip_address(address).is_loopback
    except ValueError:
        return False
    return here and not request.config_dict[SETTINGS].production
