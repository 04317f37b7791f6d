import asyncio

from openapi_spec_validator import validate

from web.api import openapi, routes
from web.api.operations import IDEMPOTENCY_KEY, operation_of
from web.server.route_access import ACCESS


async def test_the_document_is_valid_openapi(client):
    document = await (await client.get("/api/openapi.json")).json()

    validate(document)
    assert document["openapi"].startswith("3.1")


async def test_the_document_is_generated_once_for_concurrent_requests(client, monkeypatch):
    written, describe = [], openapi.describe
    monkeypatch.setattr(openapi, "describe", lambda app: written.append(app) or describe(app))

    paths = ["/api/openapi.json", "/api/docs", "/api/docs/errors"]
    answers = await asyncio.gather(*(client.get(path) for path in paths * 2))

    assert [answer.status for answer in answers] == [200] * 6
    assert len(written) == 1


def test_every_route_of_the_api_is_an_operation():
    undeclared = [route.path for route in routes.OPERATIONS if operation_of(route.handler) is None]

    assert undeclared == []


async def test_every_operation_has_a_description_and_error_responses(client):
    document = await (await client.get("/api/openapi.json")).json()
    names = []

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert operation["summary"], (method, path)
            assert {"422", "500", "503"} <= set(operation["responses"]), (method, path)

    assert len(names) == len(set(names))


async def test_the_router_and_the_route_table_agree(server):
    listed = {(route.method, routes.API + route.path) for route in routes.OPERATIONS}

    served = {
        (
            route.method,
            route.resource.get_info().get("path") or route.resource.get_info()["formatter"],
        )
        for route in server.app.router.routes()
        if operation_of(route.handler) and route.method != "HEAD"
    }

    assert len(served) == len(listed)
    # The back office has its own route table, which another test checks.
    own = [route for route in server.app.router.routes() if not is_back_office_route(route)]
    assert all(route in server.app[ACCESS] for route in own)


def is_back_office_route(route):
    info = route.resource.get_info()
    return str(info.get("path") or info.get("formatter")).startswith("/admin")


#: The response contains a secret.
NEEDS_NO_KEY = {"create_token"}


def test_operations_that_create_a_resource_accept_an_idempotency_key():
    operations = [
        operation_of(route.handler) for route in routes.OPERATIONS if route.method == "POST"
    ]
    makes = {it.name: it for it in operations if it.status in (201, 202) and it.answer is not None}

    assert makes.keys() > NEEDS_NO_KEY
    without = {name for name, it in makes.items() if IDEMPOTENCY_KEY not in it.headers}
    assert without == NEEDS_NO_KEY


async def test_the_document_is_readable_as_html(client):
    page = await (await client.get("/api/docs")).text()

    assert "POST" in page
    assert "/api/v1/session" in page
    errors = await (await client.get("/api/docs/errors")).text()
    for code in ("out-of-stock", "not-found", "method-not-allowed", "unavailable"):
        assert errors.count(f'<article id="{code}">') == 1
    assert "<script" not in page
    assert "style=" not in page
    assert (await client.get("/api/docs.css")).content_type == "text/css"
