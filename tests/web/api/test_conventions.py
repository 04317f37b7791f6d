"""Conventions of all responses: names, times, amounts and problem documents."""

import json
import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from web.api.examples import examples
from web.app import make_app
from web.server.keys import ENGINE
from web.server.problems import STATUS

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
KEBAB = re.compile(r"[a-z]+(-[a-z]+)*")
#: The fields of every problem (RFC 9457); some have additional fields.
MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
JSON = {"Content-Type": "application/json"}
#: Operations whose field names are the names of database columns.
TABLE_NAMES = {"export_data"}


def fields(value, inside=""):
    """Every field of a response, including nested ones, with the object that contains it."""
    if isinstance(value, list):
        for part in value:
            yield from fields(part, inside)
    if isinstance(value, dict):
        for name, part in value.items():
            yield name, part, value
            yield from fields(part, name)


def answers():
    for name, example in examples().items():
        if isinstance(example.get("answer"), dict | list):
            yield name, example["answer"]


def test_every_response_is_an_object_with_fields_in_snake_case():
    assert len(list(answers())) > 50
    for operation, answer in answers():
        assert isinstance(answer, dict), operation
        for name, _, _ in fields(answer):
            # The keys of `columns` of a job are the names of columns in the imported file.
            assert SNAKE.fullmatch(name), (operation, name)


def test_times_are_utc_amounts_are_cents_and_isbns_have_13_digits():
    seen = {"moments": 0, "money": 0, "isbns": 0}
    for operation, answer in answers():
        if operation in TABLE_NAMES:
            continue
        for name, value, _ in fields(answer):
            if value is None:
                continue
            if name == "at" or name.endswith("_at"):
                assert TIMESTAMP.fullmatch(value), (operation, name, value)
                seen["moments"] += 1
            if name.endswith("_cents"):
                assert type(value) is int, (operation, name, value)
                seen["money"] += 1
            if name == "isbn13":
                assert re.fullmatch(r"97[89]\d{10}", value), (operation, value)
                seen["isbns"] += 1
            assert not isinstance(value, float) or name == "progress", (operation, name)
    assert min(seen.values()) > 10


@SQLITE
async def test_a_price_and_a_total_have_a_currency(client):
    document = await (await client.get("/api/openapi.json")).json()
    found = []
    for name, schema in document["components"]["schemas"].items():
        properties = schema.get("properties", {})
        if name.endswith("In") or not properties.keys() & {"price_cents", "total_cents"}:
            continue
        found.append(name)
        assert "currency" in properties, name
        for field, described in properties.items():
            if field.endswith("_cents"):
                assert "integer" in described["type"], (name, field)

    assert len(found) >= 3


def test_codes_are_in_kebab_case_and_each_has_one_meaning():
    codes = [kind.code for kind in STATUS]

    assert all(KEBAB.fullmatch(code) for code in codes)
    ways = {}
    for kind, status in STATUS.items():
        ways.setdefault(kind.code, set()).add(status)
    assert {code: found for code, found in ways.items() if len(found) > 1} == {}


@SQLITE
@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "more"),
    [
        ("GET", "/api/v1/nothing", {}, 404, set()),
        ("GET", "/api/v1/books/999999", {}, 404, set()),
        ("PUT", "/api/v1/session", {}, 405, set()),
        ("POST", "/api/v1/session", {"data": b"{", "headers": JSON}, 400, set()),
        ("POST", "/api/v1/session", {"data": {"a": "b"}}, 415, set()),
        ("POST", "/api/v1/session", {"json": {}}, 422, {"errors"}),
        ("POST", "/api/v1/session", {"json": "x" * 100_000}, 413, set()),
        ("GET", "/api/v1/users/me", {}, 401, set()),
        ("GET", "/api/v1/users", {}, 401, set()),
        ("DELETE", "/api/v1/session", {"headers": {"Origin": "https://e.example"}}, 403, set()),
        ("GET", "/api/v1/books?limit=0", {}, 422, {"errors"}),
    ],
)
async def test_a_refusal_is_a_problem_document(client, method, path, sent, status, more):
    answer = await client.request(method, path, **sent)

    problem = await answer.json(content_type="application/problem+json")
    assert answer.status == problem["status"] == status
    assert set(problem) == MEMBERS | more
    assert KEBAB.fullmatch(problem["code"])
    assert problem["type"] == f"/api/docs/errors#{problem['code']}"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    for fault in problem.get("errors", []):
        assert set(fault) == {"parameter" if "?" in path else "pointer", "detail"}
        assert fault.get("pointer", "#/").startswith("#/")
        assert fault.get("parameter", "limit") == "limit"
    if status == 405:
        assert "GET" in answer.headers["Allow"]


@SQLITE
async def test_a_pointer_leads_to_a_nested_field(visitor):
    editor = await visitor(Role.EDITOR)

    answer = await editor.post(
        "/api/v1/users/me/tokens", json={"name": "x", "scopes": ["read", "root"]}
    )

    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == ["#/scopes/1"]


@SQLITE
async def test_s43_an_internal_error_reveals_no_details(settings):
    app = await make_app(settings)

    async def fail(request):
        raise RuntimeError("SELECT secret FROM /var/lib/secrets")

    app.router.add_get("/api/v1/failing", fail)
    app.router.add_get("/failing", fail)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/api/v1/failing")
        problem = await answer.json(content_type="application/problem+json")
        page = await client.get("/failing")
        text = await page.text()

    assert (answer.status, page.status) == (500, 500)
    assert (set(problem), problem["code"]) == (MEMBERS, "internal-error")
    assert page.headers["X-Request-ID"] in text
    for shown in (json.dumps(problem), text):
        assert not re.search(r"SELECT|secret|Traceback|RuntimeError|\.py|aiohttp", shown)


@SQLITE
async def test_a_list_has_twenty_items_by_default(client, server):
    async with transaction(server.app[ENGINE]) as conn:
        for _ in range(21):
            await add_book(conn)

    first = await (await client.get("/api/v1/books")).json()
    rest = await (await client.get(f"/api/v1/books?cursor={first['next']}")).json()

    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (20, 1, None)
