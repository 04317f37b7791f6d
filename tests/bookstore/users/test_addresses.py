import asyncio

import pytest

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import AddressBookFull, Invalid, NotFound
from bookstore.users import addresses
from tests.factories import NOON, add_user

HOME = {"name": "Anna", "line1": "Quay 9", "city": "Hamburg", "postcode": "20457", "country": "DE"}


async def add(conn, anna, **facts):
    is_default = facts.pop("is_default", False)
    return await addresses.add(conn, anna, HOME | facts, is_default=is_default, now=NOON)


async def lines(conn, user_id):
    found = await addresses.of_user(conn, user_id)
    return [(address.line1, address.is_default) for address in found]


async def test_the_first_address_is_the_default_until_another_is_chosen(conn):
    anna = await add_user(conn)

    home = await add(conn, anna)
    await add(conn, anna, line1="Work 1")
    await add(conn, anna, line1="Summer 2", is_default=True)
    assert await lines(conn, anna) == [("Summer 2", True), ("Work 1", False), ("Quay 9", False)]
    await addresses.change(conn, anna, home.id, {}, is_default=True, now=NOON)

    assert await lines(conn, anna) == [("Quay 9", True), ("Summer 2", False), ("Work 1", False)]


async def test_a_change_keeps_the_other_fields_and_is_validated(conn):
    anna = await add_user(conn)
    home = await add(conn, anna, phone="+49 40 1")

    moved = await addresses.change(conn, anna, home.id, {"line1": " Quay  10 "}, now=NOON)
    with pytest.raises(Invalid) as refusal:
        await addresses.change(conn, anna, home.id, {"postcode": None}, now=NOON)

    assert (moved.line1, moved.phone, moved.is_default) == ("Quay 10", "+49 40 1", True)
    assert refusal.value.field == "postcode"
    assert await addresses.get(conn, anna, home.id) == moved


async def test_the_newest_address_becomes_the_default_when_the_default_is_removed(conn):
    anna = await add_user(conn)
    home = await add(conn, anna)
    await add(conn, anna, line1="Work 1")
    await add(conn, anna, line1="Summer 2")

    await addresses.remove(conn, anna, home.id)

    assert await lines(conn, anna) == [("Summer 2", True), ("Work 1", False)]


async def test_the_address_of_another_user_is_not_found(conn):
    anna, boris = await add_user(conn), await add_user(conn)
    home = await add(conn, anna)

    for access in (
        addresses.get(conn, boris, home.id),
        addresses.change(conn, boris, home.id, {"line1": "Mine 1"}, now=NOON),
        addresses.remove(conn, boris, home.id),
    ):
        with pytest.raises(NotFound):
            await access

    assert await lines(conn, anna) == [("Quay 9", True)]


async def test_concurrent_additions_keep_the_limit_and_one_default(engine):
    async with transaction(engine) as conn:
        anna = await add_user(conn)
        for number in range(addresses.MAX_ADDRESSES - 2):
            await add(conn, anna, line1=f"Quay {number}")

    async def add_one(number):
        async def work():
            async with transaction(engine) as conn:
                await add(conn, anna, line1=f"New {number}", is_default=True)

        await retry_transaction(work)

    results = await asyncio.gather(*map(add_one, range(5)), return_exceptions=True)

    assert [type(result) for result in results if result] == [AddressBookFull] * 3
    async with reading(engine) as conn:
        found = await addresses.of_user(conn, anna)
    assert (len(found), sum(address.is_default for address in found)) == (20, 1)
