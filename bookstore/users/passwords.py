"""Passwords: the rule for new ones, hashing, checking."""

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

#: NIST SP 800-63B, section 3.1.1.2, asks for 8 at least and to accept 64; no rules beside.
SHORTEST, LONGEST = 8, 128

#: argon2id with 19 MiB, two passes and one lane: the least that the OWASP Password Storage
#: Cheat Sheet allows.  Raise them here; hashes are renewed when their owners sign in.
PARAMETERS = Parameters(
    type=Type.ID,
    version=ARGON2_VERSION,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)

#: Two at a time, however many people sign in: each check takes 19 MiB and most of a core.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")
_hasher = PasswordHasher.from_parameters(PARAMETERS)


def check_rule(password: str, email: str) -> None:
    """Let a new password pass, or say what is wrong with it.

    Raises:
        Invalid: it is too short, too long, too common or the owner's own address.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(
            "password",
            sentence(
                "Use %(shortest)s to %(longest)s characters.", shortest=SHORTEST, longest=LONGEST
            ),
        )
    if not _encodable(password):
        raise Invalid("password", "This contains characters that do not exist.")
    plain, address = password.casefold(), email.casefold()
    if plain in (address, address.partition("@")[0]):
        raise Invalid("password", "Do not use your e-mail address as your password.")
    if plain in COMMON or len(set(plain)) == 1:
        raise Invalid("password", "This is one of the first passwords that a thief tries.")


async def hash(password: str) -> str:  # noqa: A001 - read as `passwords.hash`
    """What is kept of a password: argon2id with its parameters and salt."""
    return await _in_thread(functools.partial(_hasher.hash, password))


async def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed.

    None stands for an account that does not exist: it takes as long and is never right.
    """
    # Without the limit a password of a megabyte would be hashed as well.
    if len(password) > LONGEST or not _encodable(password):
        return False
    return await _in_thread(functools.partial(_verify, password_hash, password))


def outdated(password_hash: str) -> bool:
    """Whether it was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        _hasher.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@functools.cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_hex(32))


def _encodable(password: str) -> bool:
    # JSON can spell half a surrogate pair, which is no character.
    return not any("\ud800" <= letter <= "\udfff" for letter in password)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
