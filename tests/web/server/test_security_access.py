"""Mass assignment, quantities and SQL injection (security checks S-15, S-16 and S-20)."""

import ast
from pathlib import Path
from urllib.parse import quote

import pytest
from yarl import URL

from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE
from tests.web.server.database_contents import contents
from tests.web.server.extra_fields import COLUMNS, TEMPTING
from web.api.examples import examples
from web.server.keys import ENGINE

ROOT = Path(__file__).parents[3]
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def fill_path(path, example):
    for name, value in example.get("path", {}).items():
        path = path.replace(f"{{{name}}}", str(value))
    return path


@SQLITE
async def test_s15_unknown_fields_in_a_body_are_rejected(server, visitor):
    admin = await visitor(Role.ADMIN)
    await (await visitor(Role.EDITOR)).post("/api/v1/books", json=DUNE)
    document = await (await admin.get("/api/openapi.json")).json()
    before = await contents(server)
    wrong, tried = [], 0

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            example = examples()[operation["operationId"]]
            media = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in media:
                continue
            name = media["application/json"]["schema"]["$ref"].rpartition("/")[2]
            declared = document["components"]["schemas"][name]["properties"].keys()
            extras = sorted((COLUMNS | TEMPTING) - declared)
            answer = await admin.request(
                method,
                fill_path(path, example),
                json={**example.get("body", {}), **dict.fromkeys(extras, 1)},
                headers=example.get("headers"),
            )
            problem = await answer.json()
            named = {fault["pointer"] for fault in problem.get("errors", [])}
            tried += len(extras)
            if answer.status != 422 or not {f"#/{extra}" for extra in extras} <= named:
                wrong.append((method, path, answer.status, problem))

    assert wrong == []
    assert tried > 1500
    assert await contents(server) == before


@SQLITE
async def test_s15_unknown_query_parameters_are_rejected(server, visitor):
    admin = await visitor(Role.ADMIN)
    document = await (await admin.get("/api/openapi.json")).json()
    wrong = []

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            declared = {part["name"] for part in operation["parameters"] if part["in"] == "query"}
            extras = sorted({"role", "user_id", "price_cents", "is_staff"} - declared)
            example = examples()[operation["operationId"]]
            answer = await admin.request(
                method,
                fill_path(path, example),
                params=dict.fromkeys(extras, "1"),
                json=example.get("body"),
                headers=example.get("headers"),
            )
            answer.close()
            if answer.status != 422:
                wrong.append((method, path, answer.status))

    assert wrong == []


@pytest.mark.parametrize(
    "quantity",
    [
        "-1", "0", "100", "1000000000", "1.5", "1.0", "1e9", "1e0", '"1"', "true", "null", "[1]",
        "{}", "NaN", "Infinity", "-0", "99999999999999999999999", '"१"',
    ],
)  # fmt: skip
async def test_s16_a_quantity_is_a_small_whole_number(client, visitor, quantity):
    editor = await visitor(Role.EDITOR)
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    json_header = {"Content-Type": "application/json"}
    body = f'{{"book_id": {book["id"]}, "quantity": {quantity}}}'

    added = await client.post("/api/v1/cart/items", data=body, headers=json_header)
    set_to = await client.put(
        f"/api/v1/cart/items/{book['id']}", data=f'{{"quantity": {quantity}}}', headers=json_header
    )

    assert {added.status, set_to.status} <= {400, 422}
    assert (await (await client.get("/api/v1/cart")).json())["items"] == []


async def test_s16_a_client_cannot_set_the_price_of_an_order(visitor):
    editor, customer = await visitor(Role.EDITOR), await visitor(Role.CUSTOMER)
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    await customer.post("/api/v1/cart/items", json={"book_id": book["id"], "quantity": 2})
    cart = await (await customer.get("/api/v1/cart")).json()
    checkout = examples()["place_order"]["body"]

    async def place(key, **claims):
        answer = await customer.post(
            "/api/v1/orders", json={**checkout, **claims}, headers={"Idempotency-Key": key}
        )
        return answer.status, await answer.json()

    for claim in ("total_cents", "subtotal_cents", "shipping_cents", "tax_cents", "discount_cents",
                  "currency", "items", "status", "payment_status", "user_id"):  # fmt: skip
        status, problem = await place(claim, **{claim: 1})
        assert (status, problem["errors"][0]["pointer"]) == (422, f"#/{claim}")
    status, problem = await place("cheap", expected_total_cents=1)
    assert (status, problem["code"]) == (409, "price-changed")
    status, order = await place("right", expected_total_cents=cart["total_cents"])
    assert status == 202
    assert order["subtotal_cents"] == 2 * DUNE["price_cents"]
    assert (order["status"], order["payment_status"]) == ("placed", "unpaid")


# S-20: the text of every statement is constant.

RUNS = {"execute", "scalar", "scalars", "stream", "exec_driver_sql", "executemany"}
BEGINS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "ALTER ", "CREATE ", "DROP ", "PRAGMA ",
          "WITH ", "REPLACE ")  # fmt: skip
#: Functions that build a statement from constants of the program, each with its reason.
ALLOWED = {
    # Expands `{rows}` in constant statements.
    ("bookstore/database/statements.py", "__init__"),
    ("bookstore/database/statements.py", "_typed"),
    ("bookstore/database/statements.py", "update"),
    # Concatenates such constants.
    ("bookstore/database/statements.py", "_combined_query"),
    # Runs statements from constant tables in the module.
    ("bookstore/operations/doctor.py", "examine"),
    ("bookstore/operations/doctor.py", "_broken_orders"),
    ("bookstore/operations/doctor.py", "_passed_prechecks"),
    # State names from the state machine of orders.
    ("bookstore/operations/invariants.py", ""),
    # Column names from a constant tuple.
    ("bookstore/catalogue/category_index.py", ""),
    # Table and column names from constants of the module.
    ("bookstore/imports/upsert.py", ""),
    ("bookstore/imports/upsert.py", "_update"),
    # Conditions from constants of the module.
    ("bookstore/tasks/outbox.py", ""),
    # Table names from the metadata, and an account name that matches a strict pattern.
    ("bookstore/operations/db_grants.py", "execute_grants"),
    # Names of server variables from a constant tuple.
    ("bookstore/operations/startup_checks.py", "_check_mysql"),
    # Names of connection variables from a constant tuple and from the settings.
    ("bookstore/database/engine.py", "_prepare_sqlite"),
    ("bookstore/database/engine.py", "make_engine"),
}


def sources():
    for folder in ("bookstore", "actors", "web", "admin", "config"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def functions(tree):
    """Every node with the name of its enclosing function."""

    def walk(node, name):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        yield node, name
        for child in ast.iter_child_nodes(node):
            yield from walk(child, name)

    return walk(tree, "")


def text_of(node):
    """The constant beginning of a formatted or concatenated string; None for anything else."""
    match node:
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add() | ast.Mod()):
            return text
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format" | "join")
        ):
            return text
    return None


def test_s20_no_statement_is_concatenated():
    found = []
    for path, tree in sources():
        for node, function in functions(tree):
            text = text_of(node)
            if text is not None and text.lstrip().upper().startswith(BEGINS):
                found.append((path, function, node.lineno))

    assert [place for place in found if place[:2] not in ALLOWED] == []


def test_s20_executed_statements_are_constant_or_built_by_sqlalchemy():
    found = []
    for path, tree in sources():
        ours = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
            for alias in node.names
            if alias.name in ("text", "literal_column")
        }
        for node, function in functions(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            statement = node.args[0]
            made = isinstance(statement, ast.JoinedStr | ast.BinOp) or text_of(statement)
            verbatim = isinstance(node.func, ast.Name) and node.func.id in ours
            runs = isinstance(node.func, ast.Attribute) and node.func.attr in RUNS
            if (runs and made) or (verbatim and not isinstance(statement, ast.Constant)):
                found.append((path, function, node.lineno))

    assert [place for place in found if place[:2] not in ALLOWED] == []


@pytest.mark.parametrize(
    "source", ["f'SELECT {x}'", "'SELECT ' + x", "'SELECT %s' % x", "'SELECT {}'.format(x)"]
)
def test_s20_the_check_finds_concatenated_statements(source):
    assert text_of(ast.parse(source).body[0].value).startswith(BEGINS)


INJECTIONS = [
    f"{quote}{clause}{comment}"
    for quote in ("'", '"', "`", "')", "1")
    for clause in (" OR 1=1", " OR SLEEP(3)", "; DROP TABLE books", " UNION SELECT 1,2,3")
    for comment in ("", "-- ", "#")
]


def places(document):
    """Every query and path parameter as (path, name, where); shared list parameters once."""
    seen = set()
    for path, methods in document["paths"].items():
        if "get" not in methods or path.endswith(("/stream", "/events")):
            continue
        for part in methods["get"]["parameters"]:
            name, where = part["name"], part["in"]
            shared = name if name in ("limit", "cursor") or where == "path" else (path, name)
            if where in ("query", "path") and shared not in seen:
                seen.add(shared)
                yield path, name, where


async def test_s20_sql_in_a_parameter_is_treated_as_text(server, visitor):
    assert len(INJECTIONS) == 60
    admin = await visitor(Role.ADMIN)
    await admin.post("/api/v1/books", json=DUNE)
    found = list(places(await (await admin.get("/api/openapi.json")).json()))
    wrong = []

    # The statements are the same for both databases, so a sample is enough for SQLite.
    corpus = INJECTIONS if server.app[ENGINE].dialect.name == "mysql" else INJECTIONS[::7]

    for injection in corpus:
        for path, name, where in found:
            known = {"book_id": 1, "number": "NOSUCH", "job_id": 1, "user_id": 1}
            if where == "path":
                known[name] = quote(injection, safe="")
            for part, value in known.items():
                path = path.replace(f"{{{part}}}", str(value))
            query = {name: injection} if where == "query" else {}
            answer = await admin.get(URL(path, encoded=True).update_query(query))
            text = await answer.text()
            empty = answer.status == 200 and '"items":[]' in text
            if answer.status not in (404, 422) and not empty:
                wrong.append((path, name, injection, answer.status, text[:200]))

    assert len(found) > 20
    assert wrong == []
    assert len((await (await admin.get("/api/v1/books")).json())["items"]) == 1
