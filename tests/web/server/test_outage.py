"""While the database is unavailable, requests fail fast and the process keeps running."""

import time
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from web.app import make_app


@pytest.fixture
def database_url():
    return "mysql+aiomysql://bookstore@127.0.0.1:1/bookstore"


@pytest.fixture
async def cut_off(settings):
    settings = replace(settings, database_timeout_s=2)
    async with TestClient(TestServer(await make_app(settings))) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/books"),
        ("GET", "/api/v1/books/1"),
        ("GET", "/api/v1/session"),
        ("POST", "/api/v1/session"),
        ("POST", "/api/v1/cart/items"),
        ("GET", "/api/v1/orders/X"),
    ],
)
async def test_requests_fail_fast_with_a_retry_delay(cut_off, method, path):
    started = time.monotonic()
    body = {"POST": {"email": "anna@example.com", "password": "seven wells"}}.get(method)
    if path.endswith("items"):
        body = {"book_id": 1, "quantity": 1}

    answer = await cut_off.request(method, path, json=body, headers={"Cookie": "sid=any"})

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "2"
    assert (await answer.json())["code"] == "unavailable"
    assert time.monotonic() - started < 3


async def test_the_process_is_alive_and_not_ready(cut_off):
    alive, ready = await cut_off.get("/healthz"), await cut_off.get("/readyz")

    assert alive.status == 200
    assert ready.status == 503
    health = await ready.json()
    assert (health["status"], health["checks"]["database"]["status"]) == ("failed", "failed")
    assert health["checks"]["broker"]["status"] == "degraded"
