from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from web.app import make_app
from web.server import api_rate_limit
from web.server.api_rate_limit import (
    ADDRESS,
    LIMITS,
    MAX_WINDOWS,
    TOKEN,
    WINDOW_S,
    Count,
    Limits,
    Policy,
)

FEW = Policy("few", 3)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def limited(settings):
    """A client of a store with limits, behind a proxy that says who it is."""
    settings = replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))
    async with TestClient(TestServer(await make_app(settings))) as client:
        yield client


def use_up(client, policy, name):
    for _ in range(policy.most):
        client.server.app[LIMITS].count(policy, name)


def test_a_window_lets_so_many_pass():
    clock = Clock()
    window = Limits(clock)

    counts = [window.count(FEW, "anna") for _ in range(4)]
    clock.now += 20.5
    late = window.count(FEW, "anna")
    other = window.count(FEW, "ben")

    assert [count.left for count in counts] == [2, 1, 0, -1]
    assert late == Count(FEW, -2, 40)
    assert other == Count(FEW, 2, WINDOW_S)


def test_a_new_window_begins_when_the_old_one_is_over():
    clock = Clock()
    window = Limits(clock)
    for _ in range(5):
        window.count(FEW, "anna")

    clock.now += WINDOW_S

    assert window.count(FEW, "anna") == Count(FEW, 2, WINDOW_S)


def test_a_flood_of_names_does_not_fill_the_memory():
    window = Limits(Clock())

    for number in range(MAX_WINDOWS + 10):
        window.count(FEW, str(number))

    assert len(window._windows) == MAX_WINDOWS


async def test_an_answer_says_what_is_left(limited):
    first = await limited.get("/api/v1/session")
    second = await limited.get("/api/v1/nothing")

    assert first.headers["RateLimit-Policy"] == f'"address";q={ADDRESS.most};w={WINDOW_S}'
    assert first.headers["RateLimit"] == f'"address";r={ADDRESS.most - 1};t={WINDOW_S}'
    assert second.status == 404
    assert f"r={ADDRESS.most - 2};" in second.headers["RateLimit"]


async def test_too_many_requests_have_to_wait(limited):
    use_up(limited, ADDRESS, "192.0.2.1")

    refused = await limited.get("/api/v1/books", headers={"X-Forwarded-For": "192.0.2.1"})
    other = await limited.get("/api/v1/books", headers={"X-Forwarded-For": "192.0.2.2"})
    page = await limited.get("/", headers={"X-Forwarded-For": "192.0.2.1"})

    problem = await refused.json()
    assert (refused.status, problem["code"]) == (429, "too-many-requests")
    assert 0 < int(refused.headers["Retry-After"]) == problem["retry_after_s"] <= WINDOW_S
    assert "r=0;" in refused.headers["RateLimit"]
    assert (other.status, page.status) == (200, 200)
    assert "RateLimit" not in page.headers


async def test_neighbours_in_an_ipv6_network_are_one(limited):
    use_up(limited, ADDRESS, "2001:db8:1:2::/64")

    same = await limited.get("/api/v1/session", headers={"X-Forwarded-For": "2001:db8:1:2::7"})
    other = await limited.get("/api/v1/session", headers={"X-Forwarded-For": "2001:db8:1:3::7"})

    assert (same.status, other.status) == (429, 200)


async def test_a_token_has_a_limit_of_its_own(limited):
    use_up(limited, TOKEN, str(hash("Bearer bks_mine")))

    mine = await limited.get("/api/v1/books", headers={"Authorization": "Bearer bks_mine"})
    without = await limited.get("/api/v1/books")

    assert mine.status == 429
    assert [part.split(";")[0] for part in mine.headers["RateLimit"].split(", ")] == [
        '"address"',
        '"token"',
    ]
    assert without.status == 200


async def test_made_up_tokens_do_not_get_around_the_limit_of_an_address(limited):
    use_up(limited, ADDRESS, "127.0.0.1")

    answer = await limited.get("/api/v1/books", headers={"Authorization": "Bearer bks_new"})

    assert answer.status == 429


async def test_limits_can_be_off(client):
    use_up(client, api_rate_limit.ADDRESS, "127.0.0.1")

    answer = await client.get("/api/v1/books")

    assert answer.status == 200
    assert "RateLimit" not in answer.headers
