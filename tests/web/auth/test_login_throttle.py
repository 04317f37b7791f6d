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


def coming_from(address):
    return {"X-Forwarded-For": address}


async def sign_in(client, email, password, address="192.0.2.7"):
    answer = await client.post(
        "/api/v1/session",
        json={"email": email, "password": password},
        headers=coming_from(address),
    )
    return answer.status


@pytest.mark.parametrize("email", [ANNA, "nobody@example.com", "Nobody at all"])
async def test_too_many_wrong_passwords_have_to_wait(visitor, client, email):
    await visitor(Role.CUSTOMER, ANNA)

    wrong = [await sign_in(client, email, "a guess") for _ in range(5)]
    stopped = await client.post("/api/v1/session", json={"email": email, "password": PASSWORD})

    assert wrong == [401] * 5
    assert stopped.status == 429
    assert int(stopped.headers["Retry-After"]) == 1
    assert (await stopped.json())["code"] == "too-many-attempts"


async def test_another_spelling_is_the_same_account(client):
    wrong = [await sign_in(client, ANNA, "a guess") for _ in range(5)]

    assert wrong == [401] * 5
    assert await sign_in(client, "ANNA@Example.com", "a guess") == 429


async def test_processes_count_together(settings, visitor, client):
    # It is up before the first guess: the pause after the fifth is a second long.
    async with TestClient(TestServer(await make_app(settings))) as other:
        for _ in range(5):
            await sign_in(client, ANNA, "a guess")

        assert await sign_in(other, ANNA, "a guess") == 429


async def test_strangers_do_not_lock_out_a_device_that_the_owner_knows(visitor, client):
    owner = await visitor(Role.CUSTOMER, ANNA)
    await owner.delete("/api/v1/session")
    for number in range(9):
        await sign_in(client, ANNA, "a guess", f"198.51.{number}.1")

    assert await sign_in(client, ANNA, PASSWORD) == 429
    assert await sign_in(owner, ANNA, PASSWORD) == 200


async def test_a_known_device_is_slowed_by_its_own_guesses(visitor):
    owner = await visitor(Role.CUSTOMER, ANNA)

    statuses = [await sign_in(owner, ANNA, "a guess") for _ in range(6)]

    assert statuses == [401] * 5 + [429]


async def test_a_device_is_known_for_its_own_account_only(visitor, client):
    boris = await visitor(Role.CUSTOMER, "boris@example.com")
    for _ in range(5):
        await sign_in(client, ANNA, "a guess")

    assert await sign_in(boris, ANNA, "a guess") == 429


@pytest.mark.parametrize("cookie", ["", ".", "x.y", "x" * 5000, "a" * 22 + "." + "b" * 43])
async def test_a_made_up_device_is_not_known(client, cookie):
    for _ in range(5):
        await sign_in(client, ANNA, "a guess")

    client.session.cookie_jar.update_cookies({"device": cookie})

    assert await sign_in(client, ANNA, "a guess") == 429


async def test_the_right_password_makes_the_wrong_ones_forgotten(visitor, client):
    await visitor(Role.CUSTOMER, ANNA)
    for _ in range(2):
        for _ in range(4):
            await sign_in(client, ANNA, "a guess")
        client.session.cookie_jar.clear()
        assert await sign_in(client, ANNA, PASSWORD) == 200
        client.session.cookie_jar.clear()


async def register(client, number, address="192.0.2.7"):
    new = {"email": f"reader{number}@example.com", "password": PASSWORD, "name": "Anna"}
    return (await client.post("/api/v1/users", json=new, headers=coming_from(address))).status


async def test_one_address_opens_five_accounts_in_an_hour(client):
    opened = [await register(client, number) for number in range(6)]

    assert opened == [201] * 5 + [429]
    assert await register(client, 7, "192.0.2.8") == 201


async def test_whoever_tries_the_store_on_their_own_machine_opens_as_many_as_they_like(client):
    opened = {await register(client, number, "127.0.0.1") for number in range(7)}

    assert opened == {201}


async def test_what_is_not_valid_is_no_account(client):
    wrong = {"email": "nobody", "password": PASSWORD, "name": "Anna"}
    for _ in range(6):
        await client.post("/api/v1/users", json=wrong, headers=coming_from("192.0.2.7"))

    assert await register(client, 1) == 201
