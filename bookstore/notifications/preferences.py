"""Which letters a user wants: those about orders that are under way always come."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import preferences, users
from bookstore.errors import NotFound
from bookstore.notifications.emails import Kind


@dataclass(frozen=True, slots=True)
class Preferences:
    """Whether we may mail what is not essential.  In the list of notifications it stands anyway."""

    #: That a parcel has arrived.
    email_when_delivered: bool = True
    #: What staff write.
    email_messages: bool = True


#: The letters that can be switched off, and by what.
OPTIONAL: Mapping[Kind, str] = {
    Kind.ORDER_DELIVERED: "email_when_delivered",
    Kind.MESSAGE: "email_messages",
}


async def of_user(conn: AsyncConnection, user_id: int) -> Preferences:
    """What a user has chosen; whoever has not gets every letter."""
    columns = [preferences.c[name] for name in Preferences.__slots__]
    query = select(*columns).where(preferences.c.user_id == user_id)
    found = (await conn.execute(query)).one_or_none()
    return Preferences() if found is None else Preferences(**found._mapping)


async def change(
    conn: AsyncConnection, user_id: int, chosen: Mapping[str, bool], *, now: datetime
) -> Preferences:
    """Choose; what `chosen` does not name stays as it is.

    Raises:
        NotFound: the user was erased a moment ago.
    """
    # Their own row, so that two at once do not both insert.
    locked = select(users.c.id).where(users.c.id == user_id, users.c.erased_at.is_(None))
    if (await conn.execute(locked.with_for_update())).one_or_none() is None:
        raise NotFound("This user")
    wanted = Preferences(**{**asdict(await of_user(conn, user_id)), **chosen})
    values = {**asdict(wanted), "updated_at": now}
    changed = await conn.execute(
        update(preferences).where(preferences.c.user_id == user_id).values(values)
    )
    if changed.rowcount == 0:
        await conn.execute(insert(preferences).values(user_id=user_id, **values))
    return wanted


async def unwanted(
    conn: AsyncConnection, letters: Collection[tuple[int, str, int | None]]
) -> set[int]:
    """Which of these letters, each `(id, kind, user_id)`, their users do not want to be mailed."""
    optional = [letter for letter in letters if letter[1] in OPTIONAL and letter[2] is not None]
    if not optional:
        return set()
    found = await conn.execute(
        select(preferences).where(
            preferences.c.user_id.in_({user_id for _, _, user_id in optional})
        )
    )
    chosen = {row.user_id: row._mapping for row in found}
    return {
        letter_id
        for letter_id, kind, user_id in optional
        if user_id in chosen and not chosen[user_id][OPTIONAL[Kind(kind)]]
    }
