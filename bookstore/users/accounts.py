"""User accounts, of customers and staff alike."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import audit, i18n, notifications
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page, SortOrder, select_page
from bookstore.database.tables import api_tokens, users
from bookstore.errors import BadCredentials, EmailTaken, Invalid, NotFound
from bookstore.i18n import DEFAULT, N_, Language
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import passwords, sessions, two_factor
from bookstore.users.addresses import contains_link
from bookstore.users.permissions import Role


@dataclass(frozen=True, slots=True)
class User:
    """An account, without its password hash."""

    id: int
    email: str
    name: str
    role: Role
    email_verified: bool
    disabled: bool
    created_at: datetime
    #: Whether signing in needs a code in addition to the password.
    second_factor: bool = False
    #: The language of our e-mails.
    language: Language = DEFAULT


#: A new session follows a new password at once.
JUST_SECURED = timedelta(minutes=1)
#: RFC 5321, section 4.5.3.1.1.
MAX_LOCAL_PART = 64

USER_COLUMNS = [
    users.c.id,
    users.c.email,
    users.c.name,
    users.c.role,
    users.c.email_verified_at.is_not(None).label("email_verified"),
    users.c.disabled_at.is_not(None).label("disabled"),
    users.c.created_at,
    users.c.totp_at.is_not(None).label("second_factor"),
    users.c.language,
]


async def sign_up(
    engine: AsyncEngine,
    *,
    email: str,
    name: str,
    password: str,
    role: Role = Role.CUSTOMER,
    language: Language = DEFAULT,
    and_then: Callable[[AsyncConnection, User], Awaitable[None]] | None = None,
    now: datetime,
) -> User:
    """Create an account, by default a customer's; `and_then` is called in its transaction.

    Raises:
        Invalid: the e-mail address is malformed, or the password breaks the rule.
        EmailTaken: an account with this address exists.
    """
    email = normal_email(email)
    passwords.check_rule(password, email, name)
    # Hash before the transaction, so that no lock is held meanwhile.
    password_hash = await passwords.hash(password)

    async def work() -> User:
        async with transaction(engine) as conn:
            user = await register(conn, email, name, password_hash, role, language, now=now)
            if and_then is not None:
                await and_then(conn, user)
            return user

    return await retry_transaction(work)


async def sign_in(engine: AsyncEngine, email: str, password: str) -> User:
    """The user with this address, if the password is right.

    An unknown address, a wrong password and a disabled account take equally long and give the
    same error.

    Raises:
        BadCredentials: wrong address or password, or the account is disabled.
    """
    async with reading(engine) as conn:
        found = await credentials(conn, email)
    user, password_hash = found or (None, None)
    right = await passwords.verify(password_hash, password)
    if user is None or password_hash is None or user.disabled or not right:
        raise BadCredentials
    if passwords.needs_rehash(password_hash):
        renewed = await passwords.hash(password)
        async with transaction(engine) as conn:
            # Only if the password was not changed in the meantime.
            unchanged = (users.c.id == user.id) & (users.c.password_hash == password_hash)
            await conn.execute(update(users).where(unchanged).values(password_hash=renewed))
    return user


async def change_password(
    engine: AsyncEngine,
    user: User,
    *,
    current: str,
    new: str,
    session_id: str | None,
    now: datetime,
) -> None:
    """Change a user's password, end all sessions except `session_id`, and notify the user.

    Raises:
        BadCredentials: the current password is wrong.
        Invalid: the new password breaks the rule.
    """
    async with reading(engine) as conn:
        found = await credentials(conn, user.email)
    old_hash = found[1] if found else None
    if not await passwords.verify(old_hash, current):
        raise BadCredentials
    passwords.check_rule(new, user.email, user.name)
    new_hash = await passwords.hash(new)

    async def work() -> None:
        async with transaction(engine) as conn:
            unchanged = (users.c.id == user.id) & (users.c.password_hash == old_hash)
            values = {"password_hash": new_hash, "updated_at": now}
            changed = await conn.execute(update(users).where(unchanged).values(values))
            if changed.rowcount == 0:  # A concurrent request has changed it.
                raise BadCredentials
            await secure_after_new_password(conn, user, session_id, now=now)

    await retry_transaction(work)


async def secure_after_new_password(
    conn: AsyncConnection, user: User, session_id: str | None = None, *, now: datetime
) -> None:
    """End all sessions except `session_id`, revoke the links that were sent, notify the user."""
    await end_other_access(conn, user.id, session_id, now=now)
    await link_tokens.revoke(conn, user.id, Purpose.RESET, Purpose.CHANGE)
    await notifications.queue(
        conn, "password-changed", recipient=user.email, user_id=user.id, now=now
    )


async def end_other_access(
    conn: AsyncConnection, user_id: int, session_id: str | None, *, now: datetime
) -> None:
    """End all sessions except `session_id`; no device is known any more."""
    await sessions.end_all(conn, user_id, except_id=session_id)
    await conn.execute(update(users).where(users.c.id == user_id).values(secured_at=now))


async def end_access_before_proof(
    conn: AsyncConnection, user_id: int, session_id: str | None = None, *, now: datetime
) -> None:
    """End everything that was made before the address of the account was proven for the first
    time: somebody else may have registered with it.

    Sessions except `session_id`, tokens, the second factor and known devices.
    """
    await end_other_access(conn, user_id, session_id, now=now)
    await end_tokens(conn, user_id)
    await two_factor.remove(conn, user_id, by=None, now=now)


async def notify_of_new_device(conn: AsyncConnection, user: User, *, now: datetime) -> None:
    """Tell the user that somebody signed in from a device that was not known.

    Not in the minute after the account was secured, because its owner has just signed in.
    """
    secured = await secured_at(conn, user.email)
    if secured is not None and now - secured < JUST_SECURED:
        return
    await audit.record(conn, "sign-in-new-device", "user", user.id, {}, user_id=user.id, now=now)
    await notifications.queue(conn, "new-device", recipient=user.email, user_id=user.id, now=now)


async def end_tokens(conn: AsyncConnection, user_id: int) -> None:
    """Revoke all API tokens of a user."""
    await conn.execute(delete(api_tokens).where(api_tokens.c.user_id == user_id))


async def secured_at(conn: AsyncConnection, email: str) -> datetime | None:
    """Since when devices of the account with this address count as known; None: always."""
    query = select(users.c.secured_at).where(users.c.email_key == email_key(email))
    found: datetime | None = await conn.scalar(query)
    return found


async def register(
    conn: AsyncConnection,
    email: str,
    name: str,
    password_hash: str,
    role: Role = Role.CUSTOMER,
    language: Language = DEFAULT,
    *,
    now: datetime,
) -> User:
    """Create an account and queue the welcome e-mail, whose link confirms the address.

    Raises:
        Invalid: the e-mail address is malformed, or the name contains a link.
        EmailTaken: an account with this address exists.
    """
    email = normal_email(email)
    _check_name(name)
    values = {
        "email": email,
        "email_key": email.casefold(),
        "password_hash": password_hash,
        "name": name,
        "role": role,
        "language": language,
        "created_at": now,
        "updated_at": now,
    }
    try:
        result = await conn.execute(insert(users).values(values))
    except IntegrityError:
        raise EmailTaken from None
    user_id: int = result.lastrowid
    await send_link(conn, "welcome", Purpose.VERIFY, user_id, email, now=now)
    return await get(conn, user_id)


async def send_link(
    conn: AsyncConnection, kind: str, purpose: Purpose, user_id: int, email: str, *, now: datetime
) -> None:
    """Queue an e-mail of this kind with a link, which proves that the address is the user's."""
    notification_id = await notifications.queue(
        conn, kind, recipient=email, user_id=user_id, now=now
    )
    await link_tokens.make(
        conn, purpose, user_id=user_id, notification_id=notification_id, email=email, now=now
    )


async def credentials(conn: AsyncConnection, email: str) -> tuple[User, str] | None:
    """The user with this address and the password hash; None for an unknown address."""
    query = select(*USER_COLUMNS, users.c.password_hash)
    own = users.c.email_key == email_key(email)
    found = (await conn.execute(query.where(own))).one_or_none()
    return None if found is None else (user_from_row(found), found.password_hash)


async def get(conn: AsyncConnection, user_id: int) -> User:
    """One user.

    Raises:
        NotFound: no user has this id.
    """
    query = select(*USER_COLUMNS).where(users.c.id == user_id)
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This user")
    return user_from_row(found)


async def find(
    conn: AsyncConnection, q: str = "", *, cursor: str | None = None, limit: int = 20
) -> Page[User]:
    """Users for staff, the newest first; `q` is a prefix of an address or part of a name."""
    query = select(*USER_COLUMNS)
    if q.strip():
        text = q.strip()
        query = query.where(
            or_(
                users.c.email_key.startswith(text.casefold(), autoescape=True),
                users.c.name.contains(text, autoescape=True),
            )
        )
    newest_first = SortOrder((users.c.id,), descending=True)
    page = await select_page(conn, query, newest_first, cursor=cursor, limit=limit)
    return page.with_items([user_from_row(row) for row in page.items])


def _check_name(name: str) -> None:
    """Raise Invalid if an e-mail that greets this name would contain a link."""
    if contains_link(name):
        raise Invalid("name", "This must not contain a link.")


async def change_name(conn: AsyncConnection, user_id: int, name: str, *, now: datetime) -> User:
    """Change a user's name.

    Raises:
        Invalid: the name contains a link.
        NotFound: no user has this id.
    """
    _check_name(name)
    await conn.execute(update(users).where(users.c.id == user_id).values(name=name, updated_at=now))
    return await get(conn, user_id)


async def change_language(
    conn: AsyncConnection, user_id: int, language: Language, *, now: datetime
) -> None:
    """Change the language of a user's e-mails; queued e-mails keep theirs."""
    await conn.execute(
        update(users).where(users.c.id == user_id).values(language=language, updated_at=now)
    )


async def change_role(
    conn: AsyncConnection, user_id: int, role: Role, *, by: int | None, now: datetime
) -> User:
    """Change a user's role.  `by` is the acting user's id, None on the command line.

    Raises:
        NotFound: no user has this id.
        Invalid: it is the acting user's own role, the last administrator's, or the account was
            erased.
    """
    own = N_("You cannot change your own role.")
    values = {"role": role}
    return await _change_access(
        conn, user_id, "role", role, values, own, action="change-role", by=by, now=now
    )


async def change_disabled(
    conn: AsyncConnection, user_id: int, disabled: bool, *, by: int | None, now: datetime
) -> User:
    """Disable an account, which ends its sessions immediately, or enable it again.

    `by` is the acting user's id, None on the command line.

    Raises:
        NotFound: no user has this id.
        Invalid: it is the acting user's own account, the last administrator's, or the account was
            erased.
    """
    own = N_("You cannot disable your own account.")
    values, action = {"disabled_at": now if disabled else None}, "disable" if disabled else "enable"
    return await _change_access(
        conn, user_id, "disabled", disabled, values, own, action=action, by=by, now=now
    )


async def _change_access(
    conn: AsyncConnection,
    user_id: int,
    field: str,
    value: Role | bool,
    values: Mapping[str, Any],
    own_account: str,
    *,
    action: str,
    by: int | None,
    now: datetime,
) -> User:
    """Change the role of a user, or whether the account is disabled, unless it is so already.

    `own_account` is the message if users want to change their own account.
    """
    administrators = await _lock_administrators(conn)
    user = await get(conn, user_id)
    before = getattr(user, field)
    if before is value:
        return user
    if by == user_id:
        raise Invalid(field, own_account)
    erased_at = select(users.c.erased_at).where(users.c.id == user_id).with_for_update()
    if await conn.scalar(erased_at) is not None:
        raise Invalid(field, "This account was erased and cannot be restored.")
    _require_other_administrator(administrators, user_id, field)
    await conn.execute(update(users).where(users.c.id == user_id).values(**values, updated_at=now))
    if values.get("disabled_at") is not None:
        await sessions.end_all(conn, user_id)
    await audit.record(conn, action, "user", user_id, {field: [before, value]}, user_id=by, now=now)
    return await get(conn, user_id)


def normal_email(email: str) -> str:
    """The e-mail address in the normalized spelling that we store.

    Raises:
        Invalid: the address is malformed.
    """
    try:
        # No DNS lookup: an undeliverable address shows when the first e-mail is sent.  `.test`
        # (RFC 6761) is allowed for test installations.
        checked = validate_email(
            email, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except EmailNotValidError:
        raise Invalid("email", "Enter an e-mail address such as name@example.com.") from None
    address = checked.ascii_email or checked.normalized
    if len(address.rpartition("@")[0]) > MAX_LOCAL_PART:
        raise Invalid(
            "email", "The part of an e-mail address before the @ has at most 64 characters."
        )
    return address


def email_key(email: str) -> str:
    """The lookup key of an address, the same for all its spellings.

    A malformed address gets a key too, which no account has.
    """
    try:
        return normal_email(email).casefold()
    except Invalid:
        # No database accepts unpaired surrogates.
        return email.strip().casefold()[:254].encode(errors="replace").decode()


def user_from_row(found: Any) -> User:
    """The user from a row with `USER_COLUMNS`."""
    return User(
        id=found.id,
        email=found.email,
        name=found.name,
        role=Role.stored(found.role),
        email_verified=bool(found.email_verified),
        disabled=bool(found.disabled),
        created_at=found.created_at,
        second_factor=bool(found.second_factor),
        language=i18n.supported_or_default(found.language),
    )


async def lock_for_erasure(conn: AsyncConnection, user_id: int) -> str:
    """Lock the account of a user who is about to be erased; returns the e-mail address.

    Raises:
        NotFound: no user has this id, or it was erased before.
        Invalid: it is the last administrator's account.
    """
    administrators = await _lock_administrators(conn)
    query = select(users.c.email).where(users.c.id == user_id, users.c.erased_at.is_(None))
    email: str | None = await conn.scalar(query.with_for_update())
    if email is None:
        raise NotFound("This user")
    _require_other_administrator(administrators, user_id, "user")
    return email


def _require_other_administrator(administrators: list[int], user_id: int, field: str) -> None:
    if administrators == [user_id]:
        raise Invalid(field, "The store needs an administrator; this is the last one.")


async def _lock_administrators(conn: AsyncConnection) -> list[int]:
    """The ids of all enabled administrators; their rows are locked."""
    query = select(users.c.id).where(users.c.role == Role.ADMIN, users.c.disabled_at.is_(None))
    return list(await conn.scalars(query.order_by(users.c.id).with_for_update()))


async def names(conn: AsyncConnection, user_ids: Collection[int]) -> dict[int, str]:
    """The names of these users, by id."""
    if not user_ids:
        return {}
    found = await conn.execute(select(users.c.id, users.c.name).where(users.c.id.in_(user_ids)))
    return {row.id: row.name for row in found}
