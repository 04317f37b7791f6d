"""Who may come in, and to whose things: the routers themselves are asked, so that nothing is
forgotten.  Security checks S-12 and S-13."""

import re
from uuid import uuid4

import pytest

from bookstore.users.permissions import GRANTS, Role, is_staff
from tests.web.server.test_permissions import NOBODYS, OWNED, PARTS, cells
from web.api import routes
from web.server.route_access import Open

#: Which database it is makes no difference to who may come in.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: Here a wrong password, or none, is answered like this to whoever may come in.
ASKS_FOR_PASSWORD = {("POST", "/account/confirm"), ("POST", "/sign-in")}


def example(path, **known):
    """An address that leads to nothing but what is known: whoever is let in finds nothing."""
    known = {"number": "NOSUCHORDER00", "path": "none.css", "name": "none.css", **known}
    return PARTS.sub(lambda match: str(known.get(match[1], "999999")), path)


def ends_session(cell):
    """Whoever calls it may be somebody else afterwards."""
    words = ("/session", "/sign-", "/users/me", "/account", "/password", "/register", "/users")
    return cell.method not in ("GET", "HEAD") and any(word in cell.path for word in words)


async def ask(client, cell, path):
    answer = await client.request(cell.method, path, allow_redirects=False)
    answer.close()  # Some would go on for ever.
    return answer


def expected(cell, role):
    """What whoever has the role is answered: a status, or None for being let in."""
    signed_in = cell.access in (Open.SIGNED_IN, Open.IN_PERSON)
    permitted = role is not None and (signed_in or cell.access in GRANTS[role])
    if cell.access is Open.ANYONE or permitted:
        return None
    api = cell.path.startswith(routes.API)
    if role is None:
        return 401 if api else 303
    if cell.path.startswith("/admin") and not is_staff(role):
        return 404
    return 403


async def test_every_part_of_an_address_is_known_to_have_an_owner_or_none(server):
    found = {name for cell in cells(server.app) for name in PARTS.findall(cell.path)}

    assert found <= NOBODYS | OWNED.keys()


@pytest.mark.parametrize("role", [None, *Role])
async def test_s12_every_route_lets_in_whom_it_should(server, visitor, role):
    client = await visitor(role)
    wrong = []

    for cell in cells(server.app):
        fresh = ends_session(cell) and role is not None
        answer = await ask(await visitor(role) if fresh else client, cell, example(cell.path))
        wanted = expected(cell, role)
        location = answer.headers.get("Location", "")
        back = location.startswith("/sign-in") and not cell.path.startswith("/sign-in")
        sent_away = answer.status in (401, 403) or back
        if wanted is None and (cell.method, cell.path) not in ASKS_FOR_PASSWORD:
            right = not sent_away
        else:
            right = answer.status == (wanted or 401)
        if not right or answer.status >= 500:
            wrong.append((cell, answer.status, wanted))

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
    """One of each thing that a customer can own, by the name it has in addresses."""
    things = {"number": (await order(client, book_id))["number"]}
    letters = await (await client.get("/api/v1/notifications")).json()
    things["notification_id"] = letters["items"][0]["id"]
    added = await client.post("/api/v1/users/me/addresses", json=ADDRESS)
    things["address_id"] = (await added.json())["id"]
    devices = await (await client.get("/api/v1/users/me/sessions")).json()
    things["session"] = devices["items"][0]["id"]
    made = await client.post("/api/v1/users/me/tokens", json={"name": "till"})
    if made.status == 201:
        things["token_id"] = (await made.json())["id"]
    return things


def owned(app):
    """The routes where something that is somebody's stands in the address."""
    return [
        cell
        for cell in cells(app)
        if isinstance(cell.access, Open) and OWNED.keys() & set(PARTS.findall(cell.path))
    ]


@pytest.mark.parametrize("role", [None, *Role])
async def test_s13_nobody_reaches_what_is_anothers(server, visitor, book_id, role):
    owner = await visitor(Role.CUSTOMER, "owner@example.com")
    things = await belongings(owner, book_id)
    other = await visitor(role)
    wrong = []

    for cell in owned(server.app):
        [name] = PARTS.findall(cell.path)
        if name not in things:
            continue
        opens = role is not None and OWNED[name] in GRANTS[role]
        theirs = await ask(other, cell, example(cell.path, **{name: things[name]}))
        missing = await ask(other, cell, example(cell.path))
        # Guests are asked to sign in, and come back to the very address.
        led_to = [
            answer.headers.get("Location", "").partition("?")[0] for answer in (theirs, missing)
        ]
        seen = theirs.status not in (303, 401, 404) or led_to[0] != led_to[1]
        if seen is not opens or (not opens and theirs.status != missing.status):
            wrong.append((cell, theirs.status, missing.status))

    assert wrong == []


async def test_s13_owners_reach_what_is_theirs(server, visitor, book_id):
    owner = await visitor(Role.CUSTOMER)
    things = await belongings(owner, book_id)
    wrong = []

    for cell in owned(server.app):
        [name] = PARTS.findall(cell.path)
        if name == "session" or name not in things:
            continue
        answer = await ask(owner, cell, example(cell.path, **{name: things[name]}))
        if answer.status in (401, 403, 404):
            wrong.append((cell, answer.status))
        if cell.method not in ("GET", "HEAD"):
            things = await belongings(owner, book_id)  # Some are gone now.

    assert {name for name in OWNED if name in things} >= {"number", "address_id", "session"}
    assert wrong == []


async def test_s13_the_answer_for_anothers_thing_is_that_for_none(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    things = await belongings(owner, book_id)

    async def told(path):
        problem = await (await other.get(path)).json()
        return {**problem, "request_id": None}

    assert await told(f"/api/v1/orders/{things['number']}") == await told("/api/v1/orders/NOSUCH")


async def test_s13_a_foreign_address_cannot_be_sent_to(visitor, book_id):
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


async def test_s13_every_id_in_a_query_or_a_body_is_known_to_have_an_owner_or_none(client):
    document = await (await client.get("/api/openapi.json")).json()
    found = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            found |= {part["name"] for part in operation["parameters"] if part["in"] == "query"}
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("In"):
            found |= set(schema["properties"])

    ids = {name for name in found if re.search(r"(^|_)(ids?|token|key|number|cursor)$", name)}
    # Books and people are looked up by whom the permissions let; a token opens what it was made
    # for, and the tests around this one go through the other two.
    assert ids == {"address_id", "cursor"} | {"access_token", "book_id", "book_ids", "user_id"}


async def test_s13_a_foreign_address_does_not_fill_in_a_form(visitor, book_id):
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


async def test_s13_anothers_cursor_shows_nothing_of_theirs(visitor, book_id):
    owner, other = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    for _ in range(2):
        await belongings(owner, book_id)
    for what in ("orders", "notifications"):
        page = await (await owner.get(f"/api/v1/{what}?limit=1")).json()
        assert page["next"]

        answer = await other.get(f"/api/v1/{what}?limit=1&cursor={page['next']}")

        assert (answer.status, (await answer.json())["items"]) == (200, [])


async def test_s13_a_guests_token_opens_one_order(visitor, book_id):
    guest, other = await visitor(), await visitor()
    mine = await order(guest, book_id, email="guest@example.com")
    theirs = await order(other, book_id, email="other@example.com")

    async def opened(number, token):
        path = f"/api/v1/orders/{number}"
        return [
            (await (await visitor()).get(address, params={"access_token": token})).status
            for address in (path, f"{path}/events")
        ]

    assert await opened(mine["number"], mine["access_token"]) == [200, 200]
    assert await opened(theirs["number"], mine["access_token"]) == [404, 404]
    assert await opened(mine["number"], "") == [404, 404]


async def test_s14_a_guests_token_cannot_be_guessed(visitor, book_id):
    made = await order(await visitor(), book_id, email="guest@example.com")

    # 128 bits at least, six to a letter.
    assert len(made["access_token"]) * 6 >= 128
