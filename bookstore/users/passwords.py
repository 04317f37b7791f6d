"""Passwords: the rule for new passwords, hashing and verification."""

import asyncio
import functools
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from bookstore.errors import Invalid
from bookstore.i18n import sentence
from bookstore.users.common_passwords import COMMON

T = TypeVar("T")

#: NIST SP 800-63B, section 3.1.1.2: at least 8 characters, accept at least 64, and no composition
#: rules.
MIN_LENGTH, MAX_LENGTH = 8, 128

#: argon2id with 19 MiB, two passes and one lane: the minimum of the OWASP Password Storage Cheat
#: Sheet.  After a change here, each hash is renewed when its user signs in.
PARAMETERS = Parameters(
    type=Type.ID,
    version=ARGON2_VERSION,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)

#: At most two hashes run at a time: each needs 19 MiB and most of a core.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")
_hasher = PasswordHasher.from_parameters(PARAMETERS)


def check_rule(password: str, email: str) -> None:
    """Check a new password against the rule.

    Raises:
        Invalid: it is too short, too long, too common or the user's own e-mail address.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        limits = {"shortest": MIN_LENGTH, "longest": MAX_LENGTH}
        raise Invalid("password", sentence("Use %(shortest)s to %(longest)s characters.", **limits))
    if not _encodable(password):
        raise Invalid("password", "This contains invalid characters.")
    plain, address = password.casefold(), email.casefold()
    if plain in (address, address.partition("@")[0]):
        raise Invalid("password", "Do not use your e-mail address as your password.")
    if plain in COMMON or len(set(plain)) == 1:
        raise Invalid("password", "This password is too common.")


async def hash(password: str) -> str:  # noqa: A001 - read as `passwords.hash`
    """The argon2id hash of a password to store, with its parameters and salt."""
    return await _in_thread(functools.partial(_hasher.hash, password))


async def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password matches the hash.

    With None, for an account that does not exist, it takes as long and is always False.
    """
    # The limit avoids hashing a password of a megabyte.
    if len(password) > MAX_LENGTH or not _encodable(password):
        return False
    return await _in_thread(functools.partial(_verify, password_hash, password))


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other than the current parameters."""
    return _hasher.check_needs_rehash(password_hash)


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        _hasher.verify(password_hash or _dummy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@functools.cache
def _dummy_hash() -> str:
    return _hasher.hash(secrets.token_hex(32))


def _encodable(password: str) -> bool:
    # JSON can contain an unpaired surrogate, which cannot be encoded.
    return not any("\ud800" <= character <= "\udfff" for character in password)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
