import asyncio
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import audit_log, notifications, tasks
from bookstore.database.tables import users as table
from bookstore.errors import BadCredentials, EmailTaken, Invalid, NotFound
from bookstore.users import accounts, passwords
from bookstore.users.permissions import Role
from tests.factories import NOON

ANNA = "anna@example.com"


async def register(conn, email=ANNA, role=Role.CUSTOMER):
    return await accounts.register(
        conn, email=email, name="Anna", password_hash="-", role=role, now=NOON
    )


async def sign_up(engine, email=ANNA):
    return await accounts.sign_up(
        engine, email=email, name="Anna", password="seven wells", now=NOON
    )


async def test_a_new_user_is_a_customer_and_gets_a_welcome_email(conn):
    user = await register(conn)

    assert (user.email, user.name, user.role) == (ANNA, "Anna", Role.CUSTOMER)
    assert not user.email_verified
    assert not user.disabled
    [email] = await conn.execute(select(notifications))
    assert (email.kind, email.recipient, email.user_id) == ("welcome", ANNA, user.id)
    [task] = await conn.execute(select(tasks))
    assert (task.task, task.ref_id) == ("send_notifications", email.id)


@pytest.mark.parametrize("spelling", ["ANNA@example.com", "anna@EXAMPLE.COM", "Anna@Example.Com"])
async def test_an_address_has_one_account_in_any_spelling(conn, spelling):
    await register(conn)

    with pytest.raises(EmailTaken):
        await register(conn, spelling)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "a b@example.com",
        "a@example.com\nBcc: b@example.com",
        "a@" + "x" * 300 + ".com",
        "\ud83d@example.com",
        "anna@example.com\x00",
    ],
)
async def test_a_malformed_address_is_refused(conn, email):
    with pytest.raises(Invalid) as refusal:
        await register(conn, email)

    assert refusal.value.field == "email"


async def test_of_two_concurrent_registrations_one_gets_the_address(engine):
    outcomes = await asyncio.gather(sign_up(engine), sign_up(engine), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EmailTaken", "User"]


async def test_signing_in_needs_the_right_password(engine):
    anna = await sign_up(engine)

    assert await accounts.sign_in(engine, "ANNA@example.com", "seven wells") == anna
    for email, password in [(ANNA, "seven walls"), ("boris@example.com", "seven wells"), ("", "")]:
        with pytest.raises(BadCredentials):
            await accounts.sign_in(engine, email, password)


async def test_a_disabled_account_is_refused_like_a_wrong_password(engine):
    anna = await sign_up(engine)
    async with transaction(engine) as conn:
        await conn.execute(update(table).where(table.c.id == anna.id).values(disabled_at=NOON))

    with pytest.raises(BadCredentials):
        await accounts.sign_in(engine, ANNA, "seven wells")


async def test_an_outdated_hash_is_renewed_at_sign_in(engine):
    anna = await sign_up(engine)
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("seven wells")
    async with transaction(engine) as conn:
        await conn.execute(update(table).where(table.c.id == anna.id).values(password_hash=old))

    await accounts.sign_in(engine, ANNA, "seven wells")

    async with reading(engine) as conn:
        _, stored = await accounts.credentials(conn, ANNA)
    assert not passwords.needs_rehash(stored)


async def test_a_name_can_be_changed(conn):
    anna = await register(conn)

    changed = await accounts.change_name(conn, anna.id, "Anna K.", now=NOON + timedelta(days=1))

    assert changed.name == "Anna K."


async def test_an_unknown_user_is_not_found(conn):
    with pytest.raises(NotFound):
        await accounts.get(conn, 1)


async def test_a_change_of_role_is_in_the_audit_log(conn):
    admin, anna = await register(conn, "root@example.com", Role.ADMIN), await register(conn)

    changed = await accounts.change_role(conn, anna.id, Role.CLERK, by=admin.id, now=NOON)

    assert changed.role is Role.CLERK
    [entry] = await conn.execute(select(audit_log))
    assert (entry.user_id, entry.action, entry.object_id) == (admin.id, "change-role", str(anna.id))
    assert entry.changes == {"role": ["customer", "clerk"]}


async def test_users_cannot_change_their_own_role(conn):
    admin = await register(conn, role=Role.ADMIN)
    await register(conn, "other@example.com", Role.ADMIN)

    with pytest.raises(Invalid):
        await accounts.change_role(conn, admin.id, Role.CLERK, by=admin.id, now=NOON)


async def test_the_last_administrator_keeps_the_role(conn):
    first = await register(conn, role=Role.ADMIN)
    second = await register(conn, "second@example.com", Role.ADMIN)

    await accounts.change_role(conn, first.id, Role.CLERK, by=second.id, now=NOON)

    with pytest.raises(Invalid):
        await accounts.change_role(conn, second.id, Role.CLERK, by=None, now=NOON)


async def test_users_are_found_by_address_and_name(conn):
    anna = await register(conn)
    boris = await register(conn, "boris_b@example.com")

    async def found(q):
        return [user.id for user in (await accounts.find(conn, q)).items]

    assert await found("") == [boris.id, anna.id]
    assert await found("BORIS_") == [boris.id]
    assert await found("nn") == [boris.id, anna.id]
    assert await found("%") == []


async def test_users_come_in_pages(conn):
    ids = [(await register(conn, f"reader{n}@example.com")).id for n in range(3)]

    first = await accounts.find(conn, limit=2)
    second = await accounts.find(conn, limit=2, cursor=first.next)

    assert [user.id for user in first.items + second.items] == ids[::-1]
    assert second.next is None


async def test_the_last_administrator_cannot_be_disabled(conn):
    admin = await register(conn, role=Role.ADMIN)

    with pytest.raises(Invalid):
        await accounts.change_disabled(conn, admin.id, True, by=None, now=NOON)


async def test_a_changed_password_replaces_the_old_one(engine):
    anna = await sign_up(engine)

    await accounts.change_password(
        engine, anna, current="seven wells", new="eight wells", session_id=None, now=NOON
    )

    assert await accounts.sign_in(engine, ANNA, "eight wells")
    with pytest.raises(BadCredentials):
        await accounts.sign_in(engine, ANNA, "seven wells")


async def test_a_password_change_needs_the_current_password(engine):
    anna = await sign_up(engine)

    with pytest.raises(BadCredentials):
        await accounts.change_password(
            engine, anna, current="another password", new="eight wells", session_id=None, now=NOON
        )
