"""Access to every route and to the objects of other users (security checks S-12 and S-13).

The tests read the routes from the routers, so a new route is covered automatically.
"""

import re
from uuid import uuid4

import pytest

from bookstore.users.permissions import GRANTS, Role, is_staff
from tests.web.server.routes import OWNED_PARTS, PATH_PARTS, UNOWNED_PARTS, cells
from web.api import routes
from web.server.route_access import AccessLevel

#: The database makes no difference to authorization.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: Routes that respond to a wrong or missing password like to a missing session.
ASKS_FOR_PASSWORD = {("POST", "/account/confirm"), ("POST", "/sign-in")}


def example(path, **known):
    """A URL of the route. Ids that are not in `known` match nothing that exists."""
    known = {"number": "NOSUCHORDER00", "path": "none.css", "name": "none.css", **known}
    return PATH_PARTS.sub(lambda match: str(known.get(match[1], "999999")), path)


def ends_session(cell):
    """Whether the route may end or change the session."""
    words = ("/session", "/sign-", "/users/me", "/account", "/password", "/register", "/users")
    return cell.method not in ("GET", "HEAD") and any(word in cell.path for word in words)


async def send(client, cell, path):
    answer = await client.request(cell.method, path, allow_redirects=False)
    answer.close()  # Event streams would not end.
    return answer


def expected(cell, role):
    """The status of the refusal for this role; None if the role has access."""
    signed_in = cell.access in (AccessLevel.SIGNED_IN, AccessLevel.IN_PERSON)
    permitted = role is not None and (signed_in or cell.access in GRANTS[role])
    if cell.access is AccessLevel.ANYONE or permitted:
        return None
    api = cell.path.startswith(routes.API)
    if role is None:
        return 401 if api else 303
    if cell.path.startswith("/admin") and not is_staff(role):
        return 404
    return 403


async def test_every_part_of_a_path_is_classified(server):
    found = {name for cell in cells(server.app) for name in PATH_PARTS.findall(cell.path)}

    assert found <= UNOWNED_PARTS | OWNED_PARTS.keys()


@pytest.mark.parametrize("role", [None, *Role])
async def test_s12_every_route_permits_the_right_roles(server, visitor, role):
    client = await visitor(role)
    wrong = []

    for cell in cells(server.app):
        fresh = ends_session(cell) and role is not None
        answer = await send(await visitor(role) if fresh else client, cell, example(cell.path))
        refusal = expected(cell, role)
        location = answer.headers.get("Location", "")
        to_sign_in = location.startswith("/sign-in") and not cell.path.startswith("/sign-in")
        refused = answer.status in (401, 403) or to_sign_in
        if refusal is None and (cell.method, cell.path) not in ASKS_FOR_PASSWORD:
            right = not refused
        else:
            right = answer.status == (refusal or 401)
        if not right or answer.status >= 500:
            wrong.append((cell, answer.status, refusal))

    assert wrong == []


async def add_to_cart(client, book_id):
    answer = await client.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
    assert answer.status == 200


ADDRESS = {
    "name": "Mina",
    "line1": "Quay 9",
    "city": "Hamburg",
    "postcode": "20457",
    "country": "DE",
}


async def order(client, book_id, **more):
    await add_to_cart(client, book_id)
    answer = await client.post(
        "/api/v1/orders",
        json={"shipping_address": ADDRESS, **more},
        headers={"Idempotency-Key": uuid4().hex},
    )
    assert answer.status == 202, await answer.text()
    return await answer.json()


@pytest.fixture
async def book_id(visitor):
    editor = await visitor(Role.EDITOR)
    book = {"isbn13": "9780441172719", "title": "Dune", "authors": ["F"], "price_cents": 900}
    answer = await editor.post("/api/v1/books", json={**book, "stock": 50})
    return (await answer.json())["id"]


async def belongings(client, book_id):
    """One object of each kind that a customer can own, by its name in paths."""
    things = {"number": (await order(client, book_id))["number"]}
    notifications = await (await client.get("/api/v1/notifications")).json()
    things["notification_id"] = notifications["items"][0]["id"]
    added = await client.post("/api/v1/users/me/addresses", json=ADDRESS)
    things["address_id"] = (await added.json())["id"]
    devices = await (await client.get("/api/v1/users/me/sessions")).json()
    things["session"] = devices["items"][0]["id"]
    made = await client.post("/api/v1/users/me/tokens", json={"name": "till"})
    if made.status == 201:
        things["token_id"] = (await made.json())["id"]
    return things


def owned(app):
    """The routes whose path identifies a user's object."""
    return [
        cell
        for cell in cells(app)
        if isinstance(cell.access, AccessLevel)
        and OWNED_PARTS.keys() & set(PATH_PARTS.findall(cell.path))
    ]


@pytest.mark.parametrize("role", [None, *Role])
async def test_s13_objects_of_other_users_are_not_found(server, visitor, book_id, role):
    owner = await visitor(Role.CUSTOMER, "owner@example.com")
    things = await belongings(owner, book_id)
    other = await visitor(role)
    wrong = []

    for cell in owned(server.app):
        [name] = PATH_PARTS.findall(cell.path)
        if name not in things:
            continue
        opens = role is not None and OWNED_PARTS[name] in GRANTS[role]
        theirs = await send(other, cell, example(cell.path, **{name: things[name]}))
        missing = await send(other, cell, example(cell.path))
        # Guests are redirected to sign in, with a return path.
        redirects = [
            answer.headers.get("Location", "").partition("?")[0] for answer in (theirs, missing)
        ]
        seen = theirs.status not in (303, 401, 404) or redirects[0] != redirects[1]
        if seen is not opens or (not opens and theirs.status != missing.status):
            wrong.append((cell, theirs.status, missing.status))

    assert wrong == []


async def test_s13_owners_find_their_objects(server, visitor, book_id):
    owner = await visitor(Role.CUSTOMER)
    things = await belongings(owner, book_id)
    wrong = []

    for cell in owned(server.app):
        [name] = PATH_PARTS.findall(cell.path)
        if name == "session" or name not in things:
            continue
        answer = await send(owner, cell, example(cell.path, **{name: things[name]}))
        if answer.status in (401, 403, 404):
            wrong.append((cell, answer.status))
        if cell.method not in ("GET", "HEAD"):
            things = await belongings(owner, book_id)  # The request may have deleted some.

    assert {name for name in OWNED_PARTS if name in things} >= {"number", "address_id", "session"}
    assert wrong == []


async def test_s13_an_object_of_another_user_looks_like_a_missing_one(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    things = await belongings(owner, book_id)

    async def problem_at(path):
        problem = await (await other.get(path)).json()
        return {**problem, "request_id": None}

    assert await problem_at(f"/api/v1/orders/{things['number']}") == await problem_at(
        "/api/v1/orders/NOSUCH"
    )


async def test_s13_an_order_cannot_use_the_address_of_another_user(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    things = await belongings(owner, book_id)
    await add_to_cart(other, book_id)

    async def send_to(address_id):
        answer = await other.post(
            "/api/v1/orders",
            json={"address_id": address_id},
            headers={"Idempotency-Key": f"to {address_id}"},
        )
        problem = await answer.json()
        return answer.status, problem["code"], problem["detail"]

    theirs, missing = await send_to(things["address_id"]), await send_to(999_999)

    assert theirs == missing
    assert theirs[0] in (404, 422)
    assert (await (await other.get("/api/v1/orders")).json())["items"] == []


async def test_s13_every_id_in_a_query_or_a_body_is_classified(client):
    document = await (await client.get("/api/openapi.json")).json()
    found = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            found |= {part["name"] for part in operation["parameters"] if part["in"] == "query"}
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("In"):
            found |= set(schema["properties"])

    ids = {name for name in found if re.search(r"(^|_)(ids?|token|key|number|cursor)$", name)}
    # Books and users need permissions, and a token gives access to its own order only. The tests
    # around this one cover `address_id` and `cursor`.
    assert ids == {"address_id", "cursor"} | {"access_token", "book_id", "book_ids", "user_id"}


async def test_s13_an_address_of_another_user_does_not_fill_in_a_form(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    secret = {**ADDRESS, "name": "Owner Only", "line1": "Hidden Lane 7"}
    added = await (await owner.post("/api/v1/users/me/addresses", json=secret)).json()
    for client in (owner, other):
        await add_to_cart(client, book_id)

    mine, theirs = [
        await (await client.get(f"/checkout?address={added['id']}")).text()
        for client in (owner, other)
    ]

    assert "Hidden Lane 7" in mine
    assert "Hidden Lane 7" not in theirs
    assert "Owner Only" not in theirs


async def test_s13_a_cursor_of_another_user_shows_none_of_their_items(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    for _ in range(2):
        await belongings(owner, book_id)
    for what in ("orders", "notifications"):
        page = await (await owner.get(f"/api/v1/{what}?limit=1")).json()
        assert page["next"]

        answer = await other.get(f"/api/v1/{what}?limit=1&cursor={page['next']}")

        assert (answer.status, (await answer.json())["items"]) == (200, [])


async def test_s13_a_guest_token_gives_access_to_one_order(visitor, book_id):
    guest, other = await visitor(), await visitor()
    mine = await order(guest, book_id, email="guest@example.com")
    theirs = await order(other, book_id, email="other@example.com")

    async def statuses(number, token):
        path = f"/api/v1/orders/{number}"
        return [
            (await (await visitor()).get(address, params={"access_token": token})).status
            for address in (path, f"{path}/events")
        ]

    assert await statuses(mine["number"], mine["access_token"]) == [200, 200]
    assert await statuses(theirs["number"], mine["access_token"]) == [404, 404]
    assert await statuses(mine["number"], "") == [404, 404]


async def test_s14_a_guest_token_cannot_be_guessed(visitor, book_id):
    made = await order(await visitor(), book_id, email="guest@example.com")

    # At least 128 bits, six per character.
    assert len(made["access_token"]) * 6 >= 128
