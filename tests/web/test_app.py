import gzip
import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import func, select

from bookstore import errors
from bookstore.database.engine import reading
from bookstore.database.tables import sessions
from bookstore.errors import BookstoreError
from web.app import make_app
from web.server import errors as web_errors
from web.server.keys import ENGINE
from web.server.problems import STATUS


def kinds(base):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_has_a_status():
    known = {
        kind
        for kind in kinds(BookstoreError)
        if kind.__module__ in (errors.__name__, web_errors.__name__)
    }

    assert known == set(STATUS)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("PUT", "/api/v1/session", 405, "method-not-allowed"),
        ("GET", "/api/v1/users/me", 401, "not-signed-in"),
        ("GET", "/api/v1/session?colour=red", 422, "invalid"),
    ],
)
async def test_errors_are_problem_documents(client, method, path, status, code):
    answer = await client.request(method, path)

    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    problem = await answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 422),
        (b"[]", 422),
        (b'{"email": NaN}', 400),
        (b'{"email": "a", "email": "b"}', 400),
        (b"[" * 20_000, 400),
        (b'{"email": ' + b"9" * 10_000 + b"}", 400),
        (b"\xff\xfe", 400),
        (b'{"email": "\\ud83d"}', 422),
        (b'{"a/~": 1}', 422),
        (b'"' + b"x" * 70_000 + b'"', 413),
    ],
)
async def test_malformed_bodies_are_rejected(client, body, status):
    answer = await client.post(
        "/api/v1/session", data=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status == status
    assert answer.content_type == "application/problem+json"


async def test_a_body_that_cannot_be_decompressed_is_malformed(client):
    answer = await client.post(
        "/api/v1/session",
        data=b"abc",
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )

    assert (answer.status, (await answer.json())["code"]) == (400, "malformed-json")


async def test_a_compressed_body_cannot_exceed_the_size_limit(client):
    answer = await client.post(
        "/api/v1/session",
        data=gzip.compress(b" " * 10_000_000),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )

    assert answer.status == 413


async def test_a_form_is_not_json(client):
    answer = await client.post("/api/v1/session", data={"email": "a"})

    assert answer.status == 415


async def test_pointers_are_escaped(client):
    answer = await client.post("/api/v1/session", json={"a/~": 1, "email": "", "password": ""})

    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == ["#/a~1~0"]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, True),
    ],
)
async def test_cross_site_requests_are_rejected(client, headers, allowed):
    answer = await client.delete("/api/v1/session", headers=headers)

    assert answer.status == (204 if allowed else 403)
    if not allowed:
        assert (await answer.json())["code"] == "cross-site-request"


async def test_same_site_requests_are_accepted(client):
    origin = str(client.make_url("/")).rstrip("/")

    answer = await client.delete("/api/v1/session", headers={"Origin": origin})

    assert answer.status == 204


async def test_every_response_has_the_security_headers(client):
    for path in ("/api/v1/session", "/api/v1/nothing", "/healthz", "/api/docs"):
        answer = await client.get(path)

        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "accepted"), [("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("", False)]
)
async def test_a_well_formed_request_id_is_accepted(client, sent, accepted):
    answer = await client.get("/healthz", headers={"X-Request-ID": sent})

    assert (answer.headers["X-Request-ID"] == sent) is accepted


async def test_a_visitor_without_session_data_gets_no_session(client, server):
    answer = await client.get("/api/v1/session")
    await client.delete("/api/v1/session")

    assert not answer.cookies
    async with reading(server.app[ENGINE]) as conn:
        assert await conn.scalar(select(func.count()).select_from(sessions)) == 0


async def test_readyz_reports_every_check(client):
    answer = await client.get("/readyz")

    assert answer.status == 200
    health = await answer.json()
    assert health["status"] == "degraded"
    assert health["checks"]["database"] == {"status": "ok", "detail": None}
    assert health["checks"]["broker"]["status"] == "degraded"
    assert health["checks"]["migrations"] == {"status": "ok", "detail": None}
    assert health["checks"]["relay"] == {"status": "degraded", "detail": "no worker has ever run"}


async def test_requests_are_counted_by_route(client):
    await client.get("/api/v1/users/me")
    await client.get("/api/v1/nothing/at/all")

    text = await (await client.get("/metrics")).text()

    assert (
        'bookstore_http_requests_total{method="GET",route="/api/v1/users/me",status="401"} 1.0'
        in text
    )
    assert "nothing" not in text


async def test_s47_metrics_and_checks_are_hidden_from_the_internet(settings):
    behind_a_proxy = replace(settings, trusted_proxies=("127.0.0.0/8",))
    async with TestClient(TestServer(await make_app(behind_a_proxy))) as client:
        outside = {"X-Forwarded-For": "9.9.9.9"}
        inside = {"X-Forwarded-For": "10.1.2.3"}

        assert (await client.get("/metrics", headers=outside)).status == 404
        assert (await client.get("/metrics", headers=inside)).status == 200
        assert await (await client.get("/readyz", headers=outside)).json() == {"status": "degraded"}
        assert "checks" in await (await client.get("/readyz", headers=inside)).json()


async def test_an_unchanged_response_is_not_sent_again(client):
    first = await client.get("/api/v1/session")

    again = await client.get("/api/v1/session", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status == 304
    assert await again.read() == b""
    assert json.loads(await first.read()) == {"user": None}
