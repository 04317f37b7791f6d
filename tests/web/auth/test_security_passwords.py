"""Password rules, password hashes and no default accounts (security checks S-09 to S-11)."""

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import users
from bookstore.users import passwords
from tests.clock import own_time_s
from tests.web.auth.sign_in import ANNA, sign_in_again
from tests.web.conftest import PASSWORD
from web.server.keys import ENGINE


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("8 chars.", 201),
        ("x y" * 21 + "z", 201),
        ("a b" * 42 + "cd", 201),
        ("   space   space   ", 201),
        ("🦉🦉🦊🦊🐢🐢🐟🐟", 201),
        ("nul \x00 in it", 201),
        ("seven 7", 422),
        ("a b" * 43, 422),
        ("x" * 60_000, 422),
        ("half \ud83d", 422),
    ],
)
async def test_s09_passwords_may_be_anything_of_8_to_128_characters(client, password, status):
    new = {"email": ANNA, "password": password, "name": "Anna"}

    answer = await client.post("/api/v1/users", json=new)
    again = await client.post("/api/v1/session", json={"email": ANNA, "password": password})

    assert answer.status == status
    assert again.status == (200 if status == 201 else again.status)
    if status == 201:
        almost = {"email": ANNA, "password": password[:-1]}
        assert (await client.post("/api/v1/session", json=almost)).status == 401


async def test_s09_a_password_of_a_megabyte_is_not_hashed(visitor):
    started_at = own_time_s()

    for _ in range(100):
        assert not await passwords.verify(None, "x" * 1_000_000)

    assert (own_time_s() - started_at) / 100 < 0.005


async def test_s10_passwords_are_stored_as_argon2id(server, client):
    new = {"email": ANNA, "password": PASSWORD, "name": "Anna"}
    await client.post("/api/v1/users", json=new)
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

    async def stored_parameters():
        async with reading(server.app[ENGINE]) as conn:
            return extract_parameters(await conn.scalar(select(users.c.password_hash)))

    assert await stored_parameters() == passwords.PARAMETERS
    assert passwords.PARAMETERS.memory_cost >= 19 * 1024
    assert passwords.PARAMETERS.time_cost >= 2
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(users).values(password_hash=old))
    await sign_in_again(client)
    assert await stored_parameters() == passwords.PARAMETERS


async def test_s11_there_is_no_account_by_default(server):
    async with reading(server.app[ENGINE]) as conn:
        assert (await conn.execute(select(users))).all() == []
