from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD
from web.app import make_app

ANNA = "anna@example.com"


@pytest.fixture
def settings(settings):
    return replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))


def from_address(address):
    return {"X-Forwarded-For": address}


async def sign_in(client, email, password, address="192.0.2.7"):
    answer = await client.post(
        "/api/v1/session",
        json={"email": email, "password": password},
        headers=from_address(address),
    )
    return answer.status


@pytest.mark.parametrize("email", [ANNA, "unknown@example.com", "not an address"])
async def test_too_many_wrong_passwords_are_throttled(visitor, client, email):
    await visitor(Role.CUSTOMER, ANNA)

    wrong = [await sign_in(client, email, "wrong") for _ in range(5)]
    throttled = await client.post("/api/v1/session", json={"email": email, "password": PASSWORD})

    assert wrong == [401] * 5
    assert throttled.status == 429
    assert int(throttled.headers["Retry-After"]) == 1
    assert (await throttled.json())["code"] == "too-many-attempts"


async def test_letter_case_does_not_change_the_account(client):
    wrong = [await sign_in(client, ANNA, "wrong") for _ in range(5)]

    assert wrong == [401] * 5
    assert await sign_in(client, "ANNA@Example.com", "wrong") == 429


async def test_processes_share_counters(settings, visitor, client):
    # Start the second process first: the delay after the fifth attempt is only one second.
    async with TestClient(TestServer(await make_app(settings))) as other:
        for _ in range(5):
            await sign_in(client, ANNA, "wrong")

        assert await sign_in(other, ANNA, "wrong") == 429


async def test_attempts_from_other_devices_do_not_throttle_a_known_device(visitor, client):
    await visitor(Role.CUSTOMER, ANNA)
    owner = await visitor()
    assert await sign_in(owner, ANNA, PASSWORD) == 200
    await owner.delete("/api/v1/session")
    for number in range(9):
        await sign_in(client, ANNA, "wrong", f"198.51.{number}.1")

    assert await sign_in(client, ANNA, PASSWORD) == 429
    assert await sign_in(owner, ANNA, PASSWORD) == 200


async def test_a_known_device_is_throttled_by_its_own_failures(visitor):
    await visitor(Role.CUSTOMER, ANNA)
    owner = await visitor()
    assert await sign_in(owner, ANNA, PASSWORD) == 200

    statuses = [await sign_in(owner, ANNA, "wrong") for _ in range(6)]

    assert statuses == [401] * 5 + [429]


async def test_a_device_is_known_for_one_account_only(visitor, client):
    await visitor(Role.CUSTOMER, "boris@example.com")
    boris = await visitor()
    assert await sign_in(boris, "boris@example.com", PASSWORD) == 200
    for _ in range(5):
        await sign_in(client, ANNA, "wrong")

    assert await sign_in(boris, ANNA, "wrong") == 429


@pytest.mark.parametrize("cookie", ["", ".", "x.y", "x" * 5000, "a" * 22 + "." + "b" * 43])
async def test_an_invalid_device_cookie_is_ignored(client, cookie):
    for _ in range(5):
        await sign_in(client, ANNA, "wrong")

    client.session.cookie_jar.update_cookies({"device": cookie})

    assert await sign_in(client, ANNA, "wrong") == 429


async def test_a_correct_password_resets_the_counter(visitor, client):
    await visitor(Role.CUSTOMER, ANNA)
    for _ in range(2):
        for _ in range(4):
            await sign_in(client, ANNA, "wrong")
        client.session.cookie_jar.clear()
        assert await sign_in(client, ANNA, PASSWORD) == 200
        client.session.cookie_jar.clear()


async def register(client, number, address="192.0.2.7"):
    new = {"email": f"reader{number}@example.com", "password": PASSWORD, "name": "Anna"}
    return (await client.post("/api/v1/users", json=new, headers=from_address(address))).status


async def test_one_address_can_register_five_accounts_an_hour(client):
    statuses = [await register(client, number) for number in range(6)]

    assert statuses == [201] * 5 + [429]
    assert await register(client, 7, "192.0.2.8") == 201


async def test_local_requests_in_development_are_not_throttled(client):
    statuses = {await register(client, number, "127.0.0.1") for number in range(7)}

    assert statuses == {201}


async def test_invalid_registrations_do_not_count(client):
    wrong = {"email": "invalid", "password": PASSWORD, "name": "Anna"}
    for _ in range(6):
        await client.post("/api/v1/users", json=wrong, headers=from_address("192.0.2.7"))

    assert await register(client, 1) == 201
