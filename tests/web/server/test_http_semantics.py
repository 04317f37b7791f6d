"""Request targets, `Expect`, OPTIONS and compression, on raw connections to the server."""

import asyncio
import gzip
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bookstore.database.engine import make_engine, transaction
from config.settings import Settings
from tests.factories import add_book
from web.app import make_app
from web.server.request_limits import DEFAULT_LIMITS
from web.server.security import METHODS
from web.server.server import StoreRunner

ORIGIN = "https://app.example.com"
JSON_POST = "POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: these requests hardly reach the database."""
    shutil.copyfile(sqlite_template, tmp_path / "bookstore.db")
    return f"sqlite+aiosqlite:///{tmp_path}/bookstore.db"


@pytest.fixture
async def port(settings: Settings) -> AsyncIterator[int]:
    settings = replace(settings, cors_origins=(ORIGIN,))
    runner = StoreRunner(await make_app(settings), DEFAULT_LIMITS, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port, head, body=b""):
    """Status, headers by lower-case name, and body of the response to this request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    async with asyncio.timeout(20):
        received = await reader.read()
    writer.close()
    top, _, content = received.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)
    }
    return int(first.split()[1]), headers, content


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://shop.example/healthz", 200),
        ("HTTP://shop.example:8080/healthz", 200),
        ("https://[::1]:8080/healthz?x=1", 200),
        ("http://name@shop.example/healthz", 200),
        ("http://shop.example", 200),
        ("http://shop.example?x=1", 200),
        ("http://shop.example/api/v1/books?limit=1", 200),
        ("http://shop.example/api/v1/books/caf%C3%A9", 404),
    ],
)
async def test_a_target_in_absolute_form_is_that_path(port, target, status):
    answer = await ask(port, f"GET {target} HTTP/1.1\r\nHost: other\r\n")

    assert answer[0] == status


@pytest.mark.parametrize(
    ("origin", "status"), [("http://shop.example:8080", 422), ("http://a", 403)]
)
async def test_the_host_of_the_target_replaces_the_header(port, origin, status):
    head = JSON_POST.replace("/api", "http://shop.example:8080/api")

    answer = await ask(port, f"{head}Origin: {origin}\r\nContent-Length: 2\r\n", b"{}")

    assert answer[0] == status


@pytest.mark.parametrize("path", ["/api/v1/cart/items", "/api/v1/nothing", "/api/v1/orders"])
@pytest.mark.parametrize("expected", ["tea", "100-continue, tea", "100"])
async def test_another_expectation_is_refused_as_a_problem(port, path, expected):
    head = JSON_POST.replace("/api/v1/session", path)

    status, headers, content = await ask(
        port, f"{head}Expect: {expected}\r\nContent-Length: 2\r\n", b"{}"
    )

    assert status == (404 if path.endswith("nothing") else 417)
    assert headers["content-type"].startswith("application/problem+json")
    assert json.loads(content)["status"] == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (JSON_POST + "Content-Length: 99000000000\r\n", 413),
        (JSON_POST + "Content-Length: 300000\r\n", 413),
        (JSON_POST.replace("session", "books") + "Content-Length: 20\r\n", 401),
        (JSON_POST.replace("session", "nothing") + "Content-Length: 20\r\n", 404),
        (JSON_POST.replace("POST", "PUT") + "Content-Length: 20\r\n", 405),
        (JSON_POST + "Origin: https://evil.example\r\nContent-Length: 20\r\n", 403),
    ],
)
async def test_a_refused_request_gets_no_100_continue(port, head, status):
    answer = await ask(port, f"{head}Expect: 100-continue\r\n")

    assert answer[0] == status


async def test_an_accepted_request_gets_100_continue(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{JSON_POST}Expect: 100-Continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(20):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/books", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/cart/items", "OPTIONS, POST"),
        ("/api/v1/books/1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/cart", "GET, HEAD, OPTIONS, POST"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/admin/orders", "GET, HEAD, OPTIONS, POST"),
        ("*", ", ".join(sorted(METHODS))),
    ],
)
async def test_options_names_the_methods(port, path, allowed):
    status, headers, _ = await ask(port, f"OPTIONS {path} HTTP/1.1\r\nHost: a\r\n")

    assert (status, headers["allow"]) == (204, allowed)


async def test_a_listed_site_may_use_the_api_without_cookies(port):
    preflight = (
        "OPTIONS /api/v1/books HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: GET\r\n"
    )

    status, allowed, _ = await ask(port, f"{preflight}Origin: {ORIGIN}\r\n")
    _, refused, _ = await ask(port, f"{preflight}Origin: https://evil.example\r\n")
    _, page, _ = await ask(port, f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN}\r\n")
    books = f"GET /api/v1/books HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN}\r\n"
    first, again = [(await ask(port, books))[1] for _ in range(2)]

    assert status == 204
    assert allowed["access-control-allow-origin"] == ORIGIN
    assert "Idempotency-Key" in allowed["access-control-allow-headers"]
    assert "GET" in allowed["access-control-allow-methods"]
    for headers in (allowed, first, again):
        assert "access-control-allow-credentials" not in headers
        assert "Origin" in headers["vary"]
    assert first["access-control-allow-origin"] == again["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in refused
    assert "access-control-allow-origin" not in page


async def test_another_site_gets_no_permission_from_the_cache(port):
    books = "GET /api/v1/books HTTP/1.1\r\nHost: a\r\n"
    await ask(port, f"{books}Origin: {ORIGIN}\r\n")

    _, headers, _ = await ask(port, f"{books}Origin: https://evil.example\r\n")

    assert "access-control-allow-origin" not in headers


async def test_json_is_compressed_for_programs_only(port, database_url):
    engine = make_engine(database_url)
    async with transaction(engine) as conn:
        for number in range(20):
            await add_book(conn, title=f"Volume {number}")
    await engine.dispose()
    books = "GET /api/v1/books HTTP/1.1\r\nHost: a\r\n"

    _, plain, content = await ask(port, books)
    _, headers, body = await ask(port, f"{books}Accept-Encoding: br, gzip;q=0.5\r\n")
    _, cached, again = await ask(port, f"{books}Accept-Encoding: br, gzip;q=0.5\r\n")
    _, refused, _ = await ask(port, f"{books}Accept-Encoding: gzip;q=0\r\n")
    _, browser, _ = await ask(port, f"{books}Accept-Encoding: gzip\r\nCookie: theme=dark\r\n")
    status, _, _ = await ask(
        port, f"{books}Accept-Encoding: gzip\r\nIf-None-Match: {headers['etag']}\r\n"
    )

    assert headers["content-encoding"] == cached["content-encoding"] == "gzip"
    assert gzip.decompress(body) == gzip.decompress(again) == content
    assert len(body) < len(content) / 3
    assert headers["etag"] != plain["etag"]
    assert not any("content-encoding" in it for it in (plain, refused, browser))
    assert all("Accept-Encoding" in it["vary"] for it in (plain, headers, refused, browser))
    assert status == 304
