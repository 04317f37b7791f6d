import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters

from bookstore.errors import Invalid
from bookstore.users import passwords

ANNA = "anna.karenina@example.com"


@pytest.mark.parametrize(
    "password",
    ["eight ch", "x" * 63 + "y", "pass phrase with spaces", "пароль-мой", "🐟🐠🐡🦈🐙🦑🐬🐳"],
)
def test_a_password_may_contain_any_characters(password):
    passwords.check_rule(password, ANNA)


@pytest.mark.parametrize(
    "password",
    [
        "seven c",
        "xy" * 64 + "z",
        "PassWord123",
        "aaaaaaaaaaaa",
        ANNA.upper(),
        "anna.karenina",
        "half of a pair \ud83d",
    ],
)
def test_a_weak_password_is_refused(password):
    with pytest.raises(Invalid) as refusal:
        passwords.check_rule(password, ANNA)

    assert refusal.value.field == "password"


async def test_only_the_right_password_matches_its_hash():
    stored = await passwords.hash("correct horse")

    assert await passwords.verify(stored, "correct horse")
    assert not await passwords.verify(stored, "Correct horse")
    assert not await passwords.verify(stored, "half of a pair \ud83d")
    assert not await passwords.verify(stored, "x" * 1_000_000)


async def test_no_password_matches_an_account_that_does_not_exist():
    assert not await passwords.verify(None, "correct horse")


async def test_a_damaged_hash_matches_no_password():
    assert not await passwords.verify("$argon2id$gone", "correct horse")


async def test_a_new_hash_is_argon2id_with_the_current_parameters():
    stored = await passwords.hash("correct horse")

    assert extract_parameters(stored) == passwords.PARAMETERS
    assert not passwords.needs_rehash(stored)


def test_a_hash_with_weaker_parameters_needs_a_rehash():
    assert passwords.needs_rehash(
        PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
    )


def test_hashing_is_not_bound_to_one_event_loop():
    for _ in range(2):
        assert asyncio.run(passwords.hash("correct horse")).startswith("$argon2id$")


@pytest.mark.parametrize(
    "password",
    [
        "Password2026!",
        "p@ssw0rd123",
        "Qwertyuiop1",
        "iloveyou!!",
        "DRAGON12345",
        "anna.smith1",
        "Anna-Smith 7",
        "Ampersand Books",
        "ampersandbooks2026",
        "AmpersandBooks!",
    ],
)
def test_what_attackers_try_first_is_refused(password):
    passwords.set_store_name("Ampersand Books")

    with pytest.raises(Invalid):
        passwords.check_rule(password, "anna.smith@example.com", "Anna Smith")


@pytest.mark.parametrize(
    "password",
    ["eleven blue lanterns", "correct horse battery staple 7", "Zx9-vuq.Lamp", "ампула-41-роса"],
)
def test_a_good_password_is_accepted(password):
    passwords.set_store_name("Ampersand Books")

    passwords.check_rule(password, "anna.smith@example.com", "Anna Smith")


def test_the_list_has_more_than_three_thousand_passwords():
    assert len(passwords._common()) > 3000
