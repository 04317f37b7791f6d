import pytest

from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD

NEW = {"email": "anna@example.com", "password": PASSWORD, "name": "Anna"}


async def test_registering_signs_the_user_in(client):
    answer = await client.post("/api/v1/users", json=NEW)

    assert answer.status == 201
    user = await answer.json()
    assert set(user) == {"id", "email", "name", "role", "email_verified", "created_at"}
    assert (user["email"], user["role"]) == ("anna@example.com", "customer")
    assert user["created_at"].endswith("Z")
    session = await (await client.get("/api/v1/session")).json()
    assert session == {"user": user}


async def test_any_user_agent_is_accepted(client):
    answer = await client.post(
        "/api/v1/users", json=NEW, headers={"User-Agent": "käse \udcff" + "x" * 1000}
    )

    assert answer.status == 201
    assert (await client.get("/api/v1/users/me")).status == 200


async def test_an_email_address_can_be_registered_once(client, visitor):
    await client.post("/api/v1/users", json=NEW)

    answer = await (await visitor()).post(
        "/api/v1/users", json={**NEW, "email": "ANNA@example.com"}
    )

    assert answer.status == 409
    assert (await answer.json())["code"] == "email-taken"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nobody"}, "#/email"),
        ({"password": "short"}, "#/password"),
        ({"password": "password123"}, "#/password"),
        ({"password": 12345678}, "#/password"),
        ({"name": "   "}, "#/name"),
        ({"name": "Anna\nBcc: all@example.com"}, "#/name"),
        ({"name": None}, "#/name"),
        ({"role": "admin"}, "#/role"),
        ({"name": "\ud83d"}, "#/name"),
    ],
)
async def test_the_error_points_to_the_invalid_field(client, change, pointer):
    answer = await client.post("/api/v1/users", json={**NEW, **change})

    assert answer.status == 422
    problem = await answer.json()
    assert problem["code"] == "invalid"
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_signing_in_creates_a_new_session(client, visitor):
    anna = await visitor(Role.CUSTOMER, "anna@example.com")
    before = anna.session.cookie_jar.filter_cookies(anna.make_url("/"))["sid"].value

    answer = await anna.post(
        "/api/v1/session", json={"email": "anna@example.com", "password": PASSWORD}
    )

    assert answer.status == 200
    after = answer.cookies["sid"]
    assert after.value != before
    assert (after["httponly"], after["samesite"], after["path"]) == (True, "Lax", "/")
    stolen = await client.get("/api/v1/session", headers={"Cookie": f"sid={before}"})
    assert await stolen.json() == {"user": None}


async def test_an_unknown_address_and_a_wrong_password_get_the_same_response(visitor):
    anna = await visitor(Role.CUSTOMER, "anna@example.com")
    answers = []

    for email in ("anna@example.com", "boris@example.com", "not an address"):
        answer = await anna.post("/api/v1/session", json={"email": email, "password": "wrong"})
        problem = await answer.json()
        del problem["request_id"]
        answers.append((answer.status, problem))

    assert answers[0][0] == 401
    assert answers[0][1]["code"] == "bad-credentials"
    assert answers == [answers[0]] * 3


async def test_a_user_who_signs_out_is_a_guest(visitor):
    anna = await visitor(Role.CUSTOMER)
    cookie = anna.session.cookie_jar.filter_cookies(anna.make_url("/"))["sid"].value

    answer = await anna.delete("/api/v1/session")

    assert answer.status == 204
    assert (await anna.get("/api/v1/users/me")).status == 401
    again = await anna.get("/api/v1/users/me", headers={"Cookie": f"sid={cookie}"})
    assert again.status == 401


async def test_a_name_can_be_changed(visitor):
    anna = await visitor(Role.CUSTOMER)

    answer = await anna.patch("/api/v1/users/me", json={"name": "Anna Karenina"})

    assert answer.status == 200
    assert (await (await anna.get("/api/v1/users/me")).json())["name"] == "Anna Karenina"
