from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from bookstore.database.tables import audit_log, notifications, recovery_codes
from bookstore.database.tables import users as table
from bookstore.errors import BadCode, NotFound, SecondFactorNotBegun, SecondFactorOn
from bookstore.users import two_factor
from tests.factories import NOON, add_user

SECRET_KEY = "the store's secret"
STEP = timedelta(seconds=30)


async def begin(conn, user_id):
    begun = await two_factor.begin(
        conn, user_id, issuer="Books & Co", secret_key=SECRET_KEY, now=NOON
    )
    return pyotp.parse_uri(begun.uri)


async def enable(conn, user_id, now=NOON):
    authenticator = await begin(conn, user_id)
    code = authenticator.at(int(now.timestamp()))
    codes = await two_factor.enable(conn, user_id, code, secret_key=SECRET_KEY, now=now)
    return authenticator, codes


async def use(conn, user_id, code, now=NOON, secret_key=SECRET_KEY):
    return await two_factor.use(conn, user_id, code, secret_key=secret_key, now=now)


async def test_the_seed_names_the_account_and_the_store(conn):
    authenticator = await begin(conn, await add_user(conn, email="anna@example.com"))

    assert (authenticator.name, authenticator.issuer) == ("anna@example.com", "Books & Co")
    assert len(authenticator.byte_secret()) == 20


async def test_a_seed_is_active_only_after_its_first_code(conn):
    anna = await add_user(conn)
    authenticator = await begin(conn, anna)

    with pytest.raises(BadCode):
        await two_factor.enable(conn, anna, "000000", secret_key=SECRET_KEY, now=NOON)

    assert not await use(conn, anna, authenticator.at(int(NOON.timestamp())))


async def test_enabling_needs_a_pending_seed(conn):
    with pytest.raises(SecondFactorNotBegun):
        await two_factor.enable(conn, await add_user(conn), "1", secret_key=SECRET_KEY, now=NOON)


async def test_beginning_again_replaces_the_first_seed(conn):
    anna = await add_user(conn)
    first = await begin(conn, anna)
    await begin(conn, anna)

    code = first.at(int(NOON.timestamp()))
    with pytest.raises(BadCode):
        await two_factor.enable(conn, anna, code, secret_key=SECRET_KEY, now=NOON)


async def test_each_user_has_a_different_seed(conn):
    first, second = [await begin(conn, await add_user(conn)) for _ in range(2)]

    assert first.secret != second.secret


async def test_an_enabled_second_factor_cannot_be_replaced(conn):
    anna = await add_user(conn)
    await enable(conn, anna)

    with pytest.raises(SecondFactorOn):
        await begin(conn, anna)
    with pytest.raises(SecondFactorOn):
        await two_factor.enable(conn, anna, "1", secret_key=SECRET_KEY, now=NOON)
    with pytest.raises(SecondFactorOn):
        await two_factor.pending_enrolment(conn, anna, issuer="x", secret_key=SECRET_KEY)


@pytest.mark.parametrize(
    ("later", "right"), [(-2, False), (-1, False), (0, False), (1, True), (2, True), (3, False)]
)
async def test_the_codes_of_this_step_and_the_previous_one_are_valid(conn, later, right):
    """Tries the code of the step after the enabling one, `later` steps after NOON."""
    anna = await add_user(conn)
    authenticator, _ = await enable(conn, anna)
    code = authenticator.at(int((NOON + STEP).timestamp()))

    assert await use(conn, anna, code, NOON + later * STEP) is right


async def test_the_enabling_code_cannot_be_used_again(conn):
    anna = await add_user(conn)
    authenticator, _ = await enable(conn, anna)

    assert not await use(conn, anna, authenticator.at(int(NOON.timestamp())))


@pytest.mark.parametrize("code", ["", "12345", "x" * 5000, "٠١٢٣٤٥", "half \ud83d", "000000\x00"])
async def test_a_malformed_code_is_wrong(conn, code):
    anna = await add_user(conn)
    await enable(conn, anna)

    assert not await use(conn, anna, code)


async def test_each_recovery_code_is_valid_once_for_its_user(conn):
    anna, boris = await add_user(conn), await add_user(conn)
    _, codes = await enable(conn, anna)
    await enable(conn, boris)

    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes)  # 16 base32 characters: 80 bits.
    assert not await use(conn, boris, codes[0])
    assert await use(conn, anna, codes[0].upper().replace("-", " "))
    assert not await use(conn, anna, codes[0])
    assert await two_factor.codes_left(conn, anna) == 9


async def test_after_a_change_of_the_secret_only_recovery_codes_are_valid(conn):
    anna = await add_user(conn)
    authenticator, codes = await enable(conn, anna)
    code = authenticator.at(int((NOON + STEP).timestamp()))

    assert not await use(conn, anna, code, NOON + STEP, secret_key="another")
    assert await use(conn, anna, codes[0], NOON + STEP, secret_key="another")


async def test_removing_it_deletes_seed_and_recovery_codes(conn):
    anna = await add_user(conn)
    _, codes = await enable(conn, anna)

    await two_factor.remove(conn, anna, by=anna, now=NOON)

    assert not await use(conn, anna, codes[0])
    assert (await conn.execute(select(recovery_codes))).all() == []
    [row] = await conn.execute(select(table.c.totp_nonce, table.c.totp_at, table.c.totp_step))
    assert tuple(row) == (None, None, None)
    kinds = list(await conn.scalars(select(notifications.c.kind).order_by(notifications.c.id)))
    assert kinds == ["second-factor-on", "second-factor-off"]
    entries = await conn.execute(select(audit_log.c.action, audit_log.c.object_id))
    assert [*map(tuple, entries)] == [
        ("enable-second-factor", str(anna)),
        ("remove-second-factor", str(anna)),
    ]


async def test_removing_it_from_an_unknown_user_fails(conn):
    with pytest.raises(NotFound):
        await two_factor.remove(conn, 1, by=None, now=NOON)
