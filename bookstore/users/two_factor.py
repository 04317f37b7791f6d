"""Two-factor authentication with an authenticator app (TOTP, RFC 6238: a new code every 30 s).

    none ──begin──> pending ──enable, with its first code──> on ──remove──> none

The seed is derived from the store's secret and a nonce in the user's row, and never stored, so read
access to the database does not allow generating codes.  After a change of the store's secret all
users need their recovery codes.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

import pyotp
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, derived_secrets, notifications
from bookstore.database.tables import recovery_codes, users
from bookstore.errors import BadCode, NotFound, SecondFactorNotBegun, SecondFactorOn

STEP_S = 30
#: 160 bits, as RFC 4226 (section 4) recommends.
_SEED_BYTES = 20
#: 80 bits each, in groups that can be read aloud.
RECOVERY_CODES, _CODE_BYTES, _GROUP = 10, 10, 4
#: A longer string cannot be a code, in characters.
MAX_CODE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The input for an authenticator app: `secret` to type, or `uri` as a QR code."""

    secret: str
    uri: str


async def begin(
    conn: AsyncConnection, user_id: int, *, issuer: str, secret_key: str, now: datetime
) -> Enrolment:
    """A new seed, which becomes active once `enable` has verified a code made with it.

    Raises:
        SecondFactorOn: the user already has a second factor.
        NotFound: there is no such user.
    """
    nonce = secrets.token_bytes(32)
    begun = await conn.execute(
        update(users)
        .where(users.c.id == user_id, users.c.totp_at.is_(None))
        .values(totp_nonce=nonce, totp_step=None, updated_at=now)
    )
    if begun.rowcount == 0:
        raise SecondFactorOn
    return await pending_enrolment(conn, user_id, issuer=issuer, secret_key=secret_key)


async def pending_enrolment(
    conn: AsyncConnection, user_id: int, *, issuer: str, secret_key: str
) -> Enrolment:
    """The seed that `begin` returned, again, until it is enabled.

    Raises:
        SecondFactorNotBegun: no seed is pending.
        SecondFactorOn: the second factor is enabled, and its seed is no longer shown.
        NotFound: there is no such user.
    """
    email, seed = await _pending_seed(conn, user_id, secret_key)
    uri = pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=issuer)
    return Enrolment(seed, uri)


async def enable(
    conn: AsyncConnection, user_id: int, code: str, *, secret_key: str, now: datetime
) -> list[str]:
    """Require codes from now on; returns the recovery codes, which cannot be read again later.

    Raises:
        SecondFactorOn: it is already enabled.
        SecondFactorNotBegun: no seed is pending.
        BadCode: the code does not match the seed.
    """
    email, seed = await _pending_seed(conn, user_id, secret_key, lock=True)
    step = _step_of(code, seed, after=None, now=now)
    if step is None:
        raise BadCode
    enabling = update(users).where(users.c.id == user_id)
    await conn.execute(enabling.values(totp_at=now, totp_step=step, updated_at=now))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    for recovery_code in codes:
        code_hash = _hash(user_id, recovery_code)
        await conn.execute(insert(recovery_codes).values(user_id=user_id, code_hash=code_hash))
    await audit.record(conn, "enable-second-factor", "user", user_id, {}, user_id=user_id, now=now)
    await _notify(conn, "second-factor-on", user_id, email, now=now)
    return codes


async def use(
    conn: AsyncConnection, user_id: int, code: str, *, secret_key: str, now: datetime
) -> bool:
    """Whether the code is right.  A right code is consumed: it is accepted only once.

    Valid are the codes of this time step and of the one before, and the unused recovery codes.
    """
    if len(code) > MAX_CODE_LENGTH:
        return False
    query = select(users.c.totp_nonce, users.c.totp_at, users.c.totp_step)
    found = (await conn.execute(query.where(users.c.id == user_id).with_for_update())).one_or_none()
    if found is None or found.totp_at is None:
        return False
    seed = _seed(found.totp_nonce, user_id, secret_key)
    step = _step_of(code, seed, after=found.totp_step, now=now)
    if step is not None:
        await conn.execute(update(users).where(users.c.id == user_id).values(totp_step=step))
        return True
    own = recovery_codes.c.user_id == user_id
    using = delete(recovery_codes).where(own, recovery_codes.c.code_hash == _hash(user_id, code))
    return (await conn.execute(using)).rowcount == 1


async def codes_left(conn: AsyncConnection, user_id: int) -> int:
    """How many recovery codes the user has not used yet."""
    query = select(func.count()).where(recovery_codes.c.user_id == user_id)
    return await conn.scalar(query) or 0


async def remove(conn: AsyncConnection, user_id: int, *, by: int | None, now: datetime) -> None:
    """Turn the second factor off.  Nothing happens if it is off.

    `by` is the acting user's id, None on the command line.

    Raises:
        NotFound: there is no such user.
    """
    query = select(users.c.email, users.c.totp_at).where(users.c.id == user_id)
    found = (await conn.execute(query.with_for_update())).one_or_none()
    if found is None:
        raise NotFound("This user")
    removing = update(users).where(users.c.id == user_id)
    values = {"totp_nonce": None, "totp_at": None, "totp_step": None, "updated_at": now}
    await conn.execute(removing.values(values))
    await conn.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    if found.totp_at is not None:
        changes = {"second_factor": [True, False]}
        await audit.record(
            conn, "remove-second-factor", "user", user_id, changes, user_id=by, now=now
        )
        await _notify(conn, "second-factor-off", user_id, found.email, now=now)


async def _pending_seed(
    conn: AsyncConnection, user_id: int, secret_key: str, *, lock: bool = False
) -> tuple[str, str]:
    """The user's e-mail address, and the seed that is not enabled yet."""
    query = select(users.c.email, users.c.totp_nonce, users.c.totp_at).where(users.c.id == user_id)
    found = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if found is None:
        raise NotFound("This user")
    if found.totp_at is not None:
        raise SecondFactorOn
    if found.totp_nonce is None:
        raise SecondFactorNotBegun
    return found.email, _seed(found.totp_nonce, user_id, secret_key)


async def _notify(
    conn: AsyncConnection, kind: str, user_id: int, email: str, *, now: datetime
) -> None:
    await notifications.queue(conn, kind, recipient=email, user_id=user_id, now=now)


def _step_of(code: str, seed: str, *, after: int | None, now: datetime) -> int | None:
    """The time step of this code (current or previous), if it is later than `after`; else None."""
    digits = "".join(code.split()).encode(errors="surrogatepass")
    current = int(now.timestamp()) // STEP_S
    generator = pyotp.TOTP(seed, interval=STEP_S)
    matching = [
        step
        for step in (current, current - 1)
        if hmac.compare_digest(digits, generator.generate_otp(step).encode())
    ]
    return next((step for step in matching if after is None or step > after), None)


def _seed(nonce: bytes, user_id: int, secret_key: str) -> str:
    seed = derived_secrets.digest(secret_key, f"totp {user_id} {bytes(nonce).hex()}")
    return base64.b32encode(seed[:_SEED_BYTES]).decode()


def _recovery_code() -> str:
    characters = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower()
    return "-".join(characters[at : at + _GROUP] for at in range(0, len(characters), _GROUP))


def _hash(user_id: int, code: str) -> bytes:
    plain = "".join(character for character in code.casefold() if character.isalnum())
    return hashlib.sha256(f"{user_id} {plain}".encode(errors="replace")).digest()
