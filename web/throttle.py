"""Guessing is slow: too many wrong passwords, and one has to wait (OWASP, Authentication).

Counted in the memory of this process.  A restart forgets, and several processes let
through a few tries each: enough against guessing, and nothing that a stranger could fill
the database with.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from aiohttp import web

from bookstore.errors import BadCredentials
from web.keys import GUESSES, SETTINGS
from web.refusals import TooManyAttempts
from web.requests import sender

#: Failures that cost nothing: for one account from one network, for all accounts from it,
#: and for one account from everywhere.  After them comes a pause, which doubles with each.
FREE_FROM_HERE, FREE_OF_NETWORK, FREE_OF_ACCOUNT = 5, 50, 100
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15 * 60.0
#: After this long without a failure all is forgotten.
FORGOTTEN_S = 15 * 60.0
#: Names that are kept in mind; a flood of others pushes the oldest out.
KEPT = 100_000


class Throttle:
    """Counts failures by name: an account, or a network."""

    def __init__(self, free: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Let the next try pass.

        Raises:
            TooManyAttempts: it comes too soon after too many failures.
        """
        count, failed_at = self._failures.get(name, (0, 0.0))
        wait_s = failed_at + self._pause(count) - self._clock()
        if count and wait_s > 0:
            raise TooManyAttempts(math.ceil(wait_s))

    def fail(self, name: str) -> None:
        """Note a failure.  Tries are noted before they are made, so that none overtakes another."""
        count, failed_at = self._failures.pop(name, (0, 0.0))
        if self._clock() - failed_at > FORGOTTEN_S:
            count = 0
        self._failures[name] = (count + 1, self._clock())
        if len(self._failures) > KEPT:
            self._failures.popitem(last=False)

    def forget(self, name: str) -> None:
        """Forget all failures of this name."""
        self._failures.pop(name, None)

    def undo(self, name: str) -> None:
        """Take back one failure that was none."""
        count, failed_at = self._failures.get(name, (0, 0.0))
        if count > 1:
            self._failures[name] = (count - 1, failed_at)
        else:
            self._failures.pop(name, None)

    def _pause(self, count: int) -> float:
        if count < self._free:
            return 0.0
        return min(FIRST_PAUSE_S * 2.0 ** (count - self._free), LONGEST_PAUSE_S)


class Guesses:
    """The wrong passwords that this process has seen.

    Strangers cannot lock an owner out: from another network one is far slower to be stopped.
    """

    def __init__(self) -> None:
        self._here = Throttle(FREE_FROM_HERE)
        self._network = Throttle(FREE_OF_NETWORK)
        self._account = Throttle(FREE_OF_ACCOUNT)

    @contextmanager
    def counted(self, email: str, address: str) -> Iterator[None]:
        """Check a password within: `BadCredentials` counts as a failure.

        Raises:
            TooManyAttempts: there were too many; nothing was checked.
        """
        account, network = email.strip().casefold()[:254], _network_of(address)
        counts = [
            (self._here, f"{account} {network}"),
            (self._network, network),
            (self._account, account),
        ]
        for throttle, name in counts:
            throttle.check(name)
        for throttle, name in counts:
            throttle.fail(name)
        try:
            yield
        except BadCredentials:
            raise
        except BaseException:
            for throttle, name in counts:
                throttle.undo(name)
            raise
        self._here.forget(f"{account} {network}")
        self._network.undo(network)
        self._account.undo(account)


@contextmanager
def guessing(request: web.Request, email: str) -> Iterator[None]:
    """Check this account's password within, unless it was guessed at too often.

    Raises:
        TooManyAttempts: one has to wait first.
    """
    if not request.config_dict[SETTINGS].rate_limits:
        yield
        return
    with request.config_dict[GUESSES].counted(email, sender(request)):
        yield


def _network_of(address: str) -> str:
    """A household or an office, not a single machine: providers hand out whole networks."""
    try:
        bits = 24 if ip_address(address).version == 4 else 48
    except ValueError:
        return address
    return str(ip_network(f"{address}/{bits}", strict=False))
