from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bookstore.errors import BadCredentials
from bookstore.permissions import Role
from tests.web.conftest import PASSWORD
from web.app import make_app
from web.refusals import TooManyAttempts
from web.throttle import LONGEST_PAUSE_S, Guesses, Throttle


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def tries(throttle, clock, seconds):
    """How many passwords somebody gets checked who tries all the time."""
    checked, end = 0, clock.now + seconds
    while clock.now < end:
        try:
            throttle.check("anna")
        except TooManyAttempts:
            clock.now += 0.5
        else:
            throttle.fail("anna")
            checked += 1
    return checked


def test_guessing_gets_slower_and_slower():
    clock = Clock()

    assert tries(Throttle(5, clock), clock, 600) < 20


def test_after_a_while_all_is_forgotten():
    clock = Clock()
    throttle = Throttle(1, clock)
    for _ in range(30):
        throttle.fail("anna")

    with pytest.raises(TooManyAttempts) as refusal:
        throttle.check("anna")
    clock.now += LONGEST_PAUSE_S

    assert refusal.value.retry_after_s <= LONGEST_PAUSE_S
    throttle.check("anna")


def fail(guesses, email, address):
    with pytest.raises(BadCredentials), guesses.counted(email, address):
        raise BadCredentials


def test_strangers_do_not_lock_the_owner_out():
    guesses = Guesses()
    for _ in range(5):
        fail(guesses, "anna@example.com", "192.0.2.1")

    with pytest.raises(TooManyAttempts), guesses.counted("Anna@example.com", "192.0.2.99"):
        pass
    with guesses.counted("anna@example.com", "198.51.100.1"):
        pass


def test_what_was_no_guess_is_not_counted():
    guesses = Guesses()

    for _ in range(10):
        with pytest.raises(TimeoutError), guesses.counted("anna@example.com", "2001:db8::1"):
            raise TimeoutError

    with guesses.counted("anna@example.com", "2001:db8::2"):
        pass


@pytest.mark.parametrize("email", ["customer-1@example.com", "nobody@example.com"])
async def test_too_many_wrong_passwords_have_to_wait(settings, visitor, email):
    await visitor(Role.CUSTOMER)
    app = await make_app(replace(settings, rate_limits=True))
    async with TestClient(TestServer(app)) as client:

        async def sign_in(password):
            return await client.post("/api/v1/session", json={"email": email, "password": password})

        wrong = [(await sign_in("a guess")).status for _ in range(5)]
        stopped = await sign_in(PASSWORD)
        problem = await stopped.json()

    assert wrong == [401] * 5
    assert stopped.status == 429
    assert stopped.headers["Retry-After"] == "1"
    assert problem["code"] == "too-many-attempts"
