"""Which optional e-mails a user wants.  E-mails about orders in progress cannot be switched off."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import preferences, users
from bookstore.errors import NotFound
from bookstore.notifications.emails import EmailKind


@dataclass(frozen=True, slots=True)
class Preferences:
    """Which optional e-mails are sent.  The website lists the notifications in any case."""

    #: When a shipment has been delivered.
    email_when_delivered: bool = True
    #: Messages from staff.
    email_messages: bool = True


#: The optional e-mails, and the preference that controls each.
OPTIONAL: Mapping[EmailKind, str] = {
    EmailKind.ORDER_DELIVERED: "email_when_delivered",
    EmailKind.MESSAGE: "email_messages",
}


async def of_user(conn: AsyncConnection, user_id: int) -> Preferences:
    """A user's preferences.  Without a choice every e-mail is sent."""
    columns = [preferences.c[name] for name in Preferences.__slots__]
    query = select(*columns).where(preferences.c.user_id == user_id)
    found = (await conn.execute(query)).one_or_none()
    return Preferences() if found is None else Preferences(**found._mapping)


async def change(
    conn: AsyncConnection, user_id: int, chosen: Mapping[str, bool], *, now: datetime
) -> Preferences:
    """Change preferences; those that `chosen` does not name stay as they are.

    Raises:
        NotFound: the user does not exist, or was erased.
    """
    # The lock on the user prevents that two concurrent calls both insert.
    locked = select(users.c.id).where(users.c.id == user_id, users.c.erased_at.is_(None))
    if (await conn.execute(locked.with_for_update())).one_or_none() is None:
        raise NotFound("This user")
    preferences_now = Preferences(**{**asdict(await of_user(conn, user_id)), **chosen})
    values = {**asdict(preferences_now), "updated_at": now}
    changed = update(preferences).where(preferences.c.user_id == user_id).values(values)
    if (await conn.execute(changed)).rowcount == 0:
        await conn.execute(insert(preferences).values(user_id=user_id, **values))
    return preferences_now


async def opted_out(
    conn: AsyncConnection, emails: Collection[tuple[int, str, int | None]]
) -> set[int]:
    """The ids of those e-mails, each `(id, kind, user_id)`, that their users have switched off."""
    optional = [email for email in emails if email[1] in OPTIONAL and email[2] is not None]
    if not optional:
        return set()
    user_ids = {user_id for _, _, user_id in optional}
    found = await conn.execute(select(preferences).where(preferences.c.user_id.in_(user_ids)))
    chosen = {row.user_id: row._mapping for row in found}
    return {
        email_id
        for email_id, kind, user_id in optional
        if user_id in chosen and not chosen[user_id][OPTIONAL[EmailKind(kind)]]
    }
