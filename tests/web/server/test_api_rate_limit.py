from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from web.app import make_app
from web.server import api_rate_limit
from web.server.api_rate_limit import (
    ADDRESS_POLICY,
    MAX_WINDOWS,
    RATE_LIMITER,
    TOKEN_POLICY,
    WINDOW_S,
    Policy,
    RateCount,
    RateLimiter,
)

FEW = Policy("few", 3)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def limited(settings):
    """A client of a store with rate limits, behind a trusted proxy."""
    settings = replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))
    async with TestClient(TestServer(await make_app(settings))) as client:
        yield client


def use_up(client, policy, name):
    for _ in range(policy.max_requests):
        client.server.app[RATE_LIMITER].count(policy, name)


def test_a_window_allows_its_number_of_requests():
    clock = Clock()
    window = RateLimiter(clock)

    counts = [window.count(FEW, "anna") for _ in range(4)]
    clock.now += 20.5
    late = window.count(FEW, "anna")
    other = window.count(FEW, "ben")

    assert [count.left for count in counts] == [2, 1, 0, -1]
    assert late == RateCount(FEW, -2, 40)
    assert other == RateCount(FEW, 2, WINDOW_S)


def test_a_new_window_starts_when_the_old_one_ends():
    clock = Clock()
    window = RateLimiter(clock)
    for _ in range(5):
        window.count(FEW, "anna")

    clock.now += WINDOW_S

    assert window.count(FEW, "anna") == RateCount(FEW, 2, WINDOW_S)


def test_the_number_of_counters_is_limited():
    window = RateLimiter(Clock())

    for number in range(MAX_WINDOWS + 10):
        window.count(FEW, str(number))

    assert len(window._windows) == MAX_WINDOWS


async def test_a_response_has_the_remaining_requests(limited):
    first = await limited.get("/api/v1/session")
    second = await limited.get("/api/v1/nothing")

    assert (
        first.headers["RateLimit-Policy"]
        == f'"address";q={ADDRESS_POLICY.max_requests};w={WINDOW_S}'
    )
    assert (
        first.headers["RateLimit"] == f'"address";r={ADDRESS_POLICY.max_requests - 1};t={WINDOW_S}'
    )
    assert second.status == 404
    assert f"r={ADDRESS_POLICY.max_requests - 2};" in second.headers["RateLimit"]


async def test_too_many_requests_are_rejected(limited):
    use_up(limited, ADDRESS_POLICY, "192.0.2.1")

    refused = await limited.get("/api/v1/books", headers={"X-Forwarded-For": "192.0.2.1"})
    other = await limited.get("/api/v1/books", headers={"X-Forwarded-For": "192.0.2.2"})
    page = await limited.get("/", headers={"X-Forwarded-For": "192.0.2.1"})

    problem = await refused.json()
    assert (refused.status, problem["code"]) == (429, "too-many-requests")
    assert 0 < int(refused.headers["Retry-After"]) == problem["retry_after_s"] <= WINDOW_S
    assert "r=0;" in refused.headers["RateLimit"]
    assert (other.status, page.status) == (200, 200)
    assert "RateLimit" not in page.headers


async def test_an_ipv6_network_shares_one_counter(limited):
    use_up(limited, ADDRESS_POLICY, "2001:db8:1:2::/64")

    same = await limited.get("/api/v1/session", headers={"X-Forwarded-For": "2001:db8:1:2::7"})
    other = await limited.get("/api/v1/session", headers={"X-Forwarded-For": "2001:db8:1:3::7"})

    assert (same.status, other.status) == (429, 200)


async def test_a_token_has_its_own_limit(limited):
    use_up(limited, TOKEN_POLICY, str(hash("Bearer bks_mine")))

    mine = await limited.get("/api/v1/books", headers={"Authorization": "Bearer bks_mine"})
    without = await limited.get("/api/v1/books")

    assert mine.status == 429
    assert [part.split(";")[0] for part in mine.headers["RateLimit"].split(", ")] == [
        '"address"',
        '"token"',
    ]
    assert without.status == 200


async def test_invented_tokens_do_not_bypass_the_limit_of_an_address(limited):
    use_up(limited, ADDRESS_POLICY, "127.0.0.1")

    answer = await limited.get("/api/v1/books", headers={"Authorization": "Bearer bks_new"})

    assert answer.status == 429


async def test_limits_can_be_disabled(client):
    use_up(client, api_rate_limit.ADDRESS_POLICY, "127.0.0.1")

    answer = await client.get("/api/v1/books")

    assert answer.status == 200
    assert "RateLimit" not in answer.headers
