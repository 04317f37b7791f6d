"""Malformed and slow requests on raw connections (security checks S-29 to S-36)."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import http_parser, web

from config.settings import Settings
from web.app import make_app
from web.server.request_limits import DEFAULT_LIMITS, RequestLimits
from web.server.server import StoreRunner

#: Short enough for a test, and long enough for a busy machine.
SHORT_LIMITS = RequestLimits(
    keepalive_s=2, body_timeout_s=1, unread_timeout_s=1, unread_check_s=0.2, linger_s=0.5
)
TIMEOUT_S = 15


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: these requests do not reach the database."""
    shutil.copyfile(sqlite_template, tmp_path / "bookstore.db")
    return f"sqlite+aiosqlite:///{tmp_path}/bookstore.db"


@pytest.fixture
def limits() -> RequestLimits:
    return DEFAULT_LIMITS


@pytest.fixture
async def port(settings: Settings, limits: RequestLimits) -> AsyncIterator[int]:
    """The port of a store that uses the server of `bookstore web`."""
    runner = StoreRunner(await make_app(settings, limits), limits, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def exchange(port: int, sent: bytes, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Everything received until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(timeout_s):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def is_healthy(port: int) -> bool:
    """Whether the server responds to the next request."""
    answer = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return answer.startswith(b"HTTP/1.1 200 ")


def statuses(answer: bytes) -> list[int]:
    return [
        int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] + answer.split(b"HTTP/1.0 ")[1:]
    ]


HOST = b"Host: a\r\n"
POST = b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
MALFORMED = {
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "length and chunks": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}{",
    "length with a sign": POST + b"Content-Length: +4\r\n\r\n{}{}",
    "length with a space": POST + b"Content-Length: 4 4\r\n\r\n{}{}",
    "negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "huge length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "obfuscated chunked encoding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunks of another kind": POST + b"Transfer-Encoding: identity, cow\r\n\r\n0\r\n\r\n",
    "no chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "chunk size with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "endless chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100_000,
    "chunk without an end": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
    "folded field": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "field without a name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "long name": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 9000 + b": b\r\n\r\n",
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.7": b"GET / HTTP/3.7\r\nHost: a\r\n\r\n",
    "version of letters": b"GET / HTTP/x.y\r\nHost: a\r\n\r\n",
    "method with a space": b"GE T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method of signs": b"G@T{} / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "no host": b"GET http:///healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "no path": b"GET healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "noise": bytes(range(256)) * 40,
    "empty lines": b"\r\n" * 10_000 + b"\x00",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_s34_malformed_requests_are_rejected_and_the_connection_closed(port, sent):
    answer = await exchange(port, sent)

    assert set(statuses(answer[:200])) <= {400, 405, 413, 414, 431, 501, 505}
    assert b"aiohttp" not in answer
    assert b"\r\nServer:" not in answer
    assert b"Traceback" not in answer
    assert await is_healthy(port)


async def test_s34_bytes_after_a_malformed_request_are_ignored(port):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    answer = await exchange(port, MALFORMED["two lengths"] + smuggled)

    assert statuses(answer) == [400]


async def test_s34_ten_thousand_pipelined_requests_are_handled_in_order(port):
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    answer = await exchange(port, one * 9_999 + last, timeout_s=60)

    assert answer.count(b"HTTP/1.1 200 OK") == 10_000


async def test_s34_an_error_is_a_problem_document(port):
    answer = await exchange(port, MALFORMED["two hosts"])

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad-request"


SLOW = {
    "silent": b"",
    "half a line": b"GET / HT",
    "half the fields": b"GET / HTTP/1.1\r\nHost: a\r\nX-",
    "half a body": POST + b'Content-Length: 40\r\n\r\n{"em',
    "half a chunk": POST + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"em',
    "half a form": b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nemail=a",
    "half an upload": b"PUT /api/v1/books/1/cover HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n"
    b"Content-Type: image/png\r\n\r\n\x89PNG",
    "an unread body": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
}


@pytest.mark.parametrize("limits", [SHORT_LIMITS])
@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
async def test_s35_slow_clients_are_disconnected(port, sent):
    started = time.monotonic()

    answer = await exchange(port, sent)

    assert time.monotonic() - started < TIMEOUT_S
    assert set(statuses(answer)) <= {200, 401, 404, 408}
    assert b"\r\nServer:" not in answer


@pytest.mark.parametrize("limits", [replace(SHORT_LIMITS, keepalive_s=60)])
async def test_s35_an_incomplete_body_gets_a_timeout_response(port):
    answer = await exchange(port, SLOW["half a body"])

    assert statuses(answer) == [408]
    assert b"request-timeout" in answer


@pytest.mark.parametrize("limits", [SHORT_LIMITS])
async def test_s35_a_client_that_does_not_read_is_disconnected(port):
    request = b"GET /static/site.css HTTP/1.1\r\nHost: a\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    # Send requests without reading until all buffers are full.
    writer.transport.pause_reading()

    async def keep_sending() -> None:
        while True:
            writer.write(request * 500)
            await writer.drain()

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(TIMEOUT_S * 2):
            await keep_sending()
    assert await is_healthy(port)


async def test_s34_the_python_parser_is_rejected(settings, monkeypatch):
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)

    with pytest.raises(RuntimeError, match="compiled parser"):
        StoreRunner(await make_app(settings), DEFAULT_LIMITS, shutdown_timeout=1)


SPELLINGS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc/passwd",
    "..%c0%af..%c0%afetc/passwd",
    "..\\..\\etc\\passwd",
    "..%5c..%5cetc%5cpasswd",
    "....//....//etc/passwd",
    "..;/..;/etc/passwd",
    "site.css/../../../app.py",
    "site.css%00.png",
    "%00",
    "",
    ".",
    "./",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    ".git/config",
    ".env",
    "site.css~",
    "site.css.bak",
    "SITE.CSS",
    "site.css/",
    "fonts",
    "fonts/",
    "fonts/..",
]


@pytest.mark.parametrize("folder", ["/static/", "/admin/static/", "/api/v1/covers/", "/"])
async def test_s31_only_static_files_can_be_read(port, folder):
    for spelling in SPELLINGS:
        path = f"{folder}{spelling}".encode()
        if path in (b"/", b"/./", b"/."):
            continue

        answer = await exchange(
            port, b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path
        )

        # Back office and sign-in redirect; every other path looks the same: not found.
        assert set(statuses(answer)) <= {303, 308, 400, 401, 404}, spelling
        assert b"root:" not in answer, spelling
