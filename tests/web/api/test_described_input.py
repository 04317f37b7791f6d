"""What the description allows, the server accepts.

The walker takes the example of each operation, replaces one value at a time by others that the
schema allows, and sends them.  A refusal of such a value is a fault of the description, unless a
sentence of the description tells the rule.
"""

import json
import re

from jsonschema import Draft202012Validator
from yarl import URL

from bookstore.users.permissions import Role

TEXTS = ["", " ", "\t", "\n", "\x00", "\x9f", "\u2028", "\u202e", "\u2800", "0", "-", "null", "AA"]
TEXTS += ["a b", " a ", "é", "書", "\U0001f4da", "a\nb", "ab\u0007"]
NUMBERS = [-1, 0, 1, 2]
REST = [True, False, None, [], {}, ["a"], [1]]
#: Rules that no schema can tell; the description of each field tells them in words.
IN_WORDS = {
    "cursor": "it must come from the same list",
    "isbn13": "check digit",
    "language": "a tag or name of a language that exists",
    "categories": "the category must exist",
    "parent": "the category must exist",
    "on_sale_from": "the day must exist",
    "year": "at most some years ahead",
    "postcode": "by country",
    "expires_at": "in the future",
    "password": "not common",
    "new_password": "not common",
    "code": "the current one",
    "book_ids": "the books must exist",
}


def resolved(schema, document):
    if "$ref" in schema:
        return resolved(
            document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document
        )
    return schema


def candidates(schema):
    """Values at and around the limits of the schema; not all of them are valid."""
    yield from schema.get("enum", [])
    for alternative in schema.get("oneOf", []):
        yield from candidates(alternative)
    if "items" in schema:
        yield from ([value] for value in candidates(schema["items"]))
    for name, field in schema.get("properties", {}).items():
        yield from ({name: value} for value in candidates(field))
    yield from TEXTS
    yield from NUMBERS
    yield from REST
    for limit in ("minimum", "maximum"):
        if limit in schema:
            yield schema[limit]
    for limit in ("minLength", "maxLength"):
        if limit in schema:
            yield "x" * schema[limit]
            yield "é" * schema[limit]


def valid(value, schema, document):
    whole = {**schema, "components": document["components"]}
    formats = Draft202012Validator.FORMAT_CHECKER
    return bool(Draft202012Validator(whole, format_checker=formats).is_valid(value))


async def refused(answer):
    """The names of the fields that the answer refuses."""
    if answer.status not in (400, 422):
        return set()
    problem = await answer.json()
    return {
        (fault.get("pointer", "").removeprefix("#/") or fault.get("parameter", "")).split("/")[-1]
        for fault in problem.get("errors", [])
    } or {problem["code"]}


async def places(visitor):
    """An administrator, and the parameters of paths that exist."""
    admin = await visitor(Role.ADMIN)
    book = {"isbn13": "9780141439518", "title": "Emma", "authors": ["Jane"], "price_cents": 899}
    made = await (await admin.post("/api/v1/books", json=book)).json()
    address = {"name": "A", "line1": "E 1", "city": "Kiel", "postcode": "24103", "country": "DE"}
    home = await (await admin.post("/api/v1/users/me/addresses", json=address)).json()
    await admin.post("/api/v1/categories", json={"name": "Novels", "slug": "novels"})
    item = {"book_id": made["id"], "quantity": 1}
    await admin.post("/api/v1/cart/items", json=item)
    return admin, {"book_id": made["id"], "address_id": home["id"], "slug": "novels"}


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters" and operation["operationId"] not in LEFT_OUT:
                yield path, method, operation


#: They end the session, or stream without an end.
LEFT_OUT = {"sign_out", "stream_all_orders", "stream_order", "erase_account"}


def filled(path, parameters):
    for name, value in parameters.items():
        path = path.replace(f"{{{name}}}", str(value))
    return re.sub(r"\{\w+\}", "1", path)


def found(faults):
    return "\n".join(
        sorted({f"{operation} {name} {value!r:.60}" for operation, name, value in faults})
    )


async def test_a_query_that_the_description_allows_is_accepted(visitor):
    admin, parameters = await places(visitor)
    document = await (await admin.get("/api/openapi.json")).json()
    faults = []

    for path, method, operation in operations(document):
        if method != "get":
            continue
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query" or parameter["name"] in IN_WORDS:
                continue
            schema, name = parameter["schema"], parameter["name"]
            for value in candidates(schema):
                if isinstance(value, list | dict) or not valid(value, schema, document):
                    continue
                text = value if isinstance(value, str) else json.dumps(value)
                url = URL(filled(path, parameters)).with_query({name: text})
                answer = await admin.get(url)
                assert answer.status < 500, (url, value)
                if await refused(answer):
                    faults.append((operation["operationId"], name, value))

    assert not faults, found(faults)


async def test_a_body_that_the_description_allows_is_accepted(visitor):
    admin, parameters = await places(visitor)
    document = await (await admin.get("/api/openapi.json")).json()
    faults = []

    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        schema = resolved(content["schema"], document)
        example = content.get("example", {})
        for name, field in schema["properties"].items():
            if name in IN_WORDS:
                continue
            for value in candidates(resolved(field, document)):
                body = {**example, name: value}
                if not valid(body, schema, document):
                    continue
                headers = {"If-Match": "*", "Origin": str(admin.make_url("/").origin())}
                if operation["operationId"] == "place_order":
                    headers["Idempotency-Key"] = "k"
                answer = await admin.request(
                    method, filled(path, parameters), json=body, headers=headers
                )
                assert answer.status < 500, (path, body)
                for refused_name in await refused(answer) - IN_WORDS.keys():
                    faults.append((operation["operationId"], refused_name, value))

    assert not faults, found(faults)
