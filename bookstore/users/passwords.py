"""Passwords: the rule for new passwords, hashing and verification."""

import asyncio
import functools
import secrets
import string
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

#: Signs that replace similar characters, and how many digits and signs people add at the end.
_SIMILAR = str.maketrans("013457@$!", "oieastasi")
_MAX_ENDING = 5

#: At most two hashes run at a time: each needs 19 MiB and most of a core.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")
_hasher = PasswordHasher.from_parameters(PARAMETERS)


_store_name = ""


def set_store_name(name: str) -> None:
    """The name of the store of this process, which is no password."""
    global _store_name
    _store_name = name


def check_rule(password: str, email: str, name: str = "") -> None:
    """Check a new password against the rule (NIST SP 800-63B, OWASP ASVS 5.0, 6.2.4 and 6.2.11).

    `name` is that of the user.

    Raises:
        Invalid: it is too short, too long, too common, or made of the user's e-mail address or
            name or of the name of the store.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        limits = {"shortest": MIN_LENGTH, "longest": MAX_LENGTH}
        raise Invalid("password", sentence("Use %(shortest)s to %(longest)s characters.", **limits))
    if not _encodable(password):
        raise Invalid("password", "This contains invalid characters.")
    plain, address = password.casefold(), email.casefold()
    core = _core(plain)
    if plain == address or core in (_core(address), _core(address.partition("@")[0])):
        raise Invalid("password", "Do not use your e-mail address as your password.")
    if core and core in (_core(name.casefold()), _core(_store_name.casefold())):
        raise Invalid("password", "Do not use a name as your password.")
    if _is_common(plain) or len(set(plain)) == 1:
        raise Invalid("password", "This password is too common.")


def _core(plain: str) -> str:
    """The letters and digits of a text, without the digits and signs that people add at the end."""
    return "".join(filter(str.isalnum, plain)).rstrip(string.digits)


def _is_common(plain: str) -> bool:
    """Whether attackers try this first: a common password, also with characters replaced by similar
    signs, or with up to five digits and signs at its end."""
    common, similar = _common(), plain.translate(_SIMILAR)
    candidates = {plain, similar}
    for text in (plain, similar):
        short = text.rstrip(string.digits + string.punctuation)
        if len(text) - len(short) <= _MAX_ENDING:
            candidates |= {short, short.translate(_SIMILAR)}
    return not candidates.isdisjoint(common)


@functools.cache
def _common() -> frozenset[str]:
    """30,000 passwords from leaks.  Loaded with the first new password: the list is large."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"]) | COMMON


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
