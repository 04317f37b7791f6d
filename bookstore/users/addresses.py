"""Postal addresses, and the address book of a user.

Every change locks the user's own row first, so that two at once keep the limit and leave
one default address.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from babel import Locale
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import addresses as table
from bookstore.database.tables import users
from bookstore.errors import AddressBookFull, Invalid, NotFound
from bookstore.i18n import sentence

#: Each field and how long it may be.
LENGTHS = {"name": 200, "line1": 200, "line2": 200, "city": 100, "postcode": 20, "phone": 40}
REQUIRED = ("name", "line1", "city", "country")
#: All that an address has.
FIELDS = (*LENGTHS, "country")

#: In Babel's list, but no country that ISO 3166-1 has a code for.
_NOT_ASSIGNED = {
    "AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ",
}  # fmt: skip
#: Two letters (ISO 3166-1 alpha-2) and the English name of every country.
COUNTRIES: Mapping[str, str] = {
    code: name
    for code, name in sorted(Locale("en").territories.items())
    if len(code) == 2 and code.isalpha() and code not in _NOT_ASSIGNED
}
_WITHOUT = """
    AE AG AO BF BI BJ BO BS BW BZ CD CF CG CI CM DJ DM ER FJ GA GD GH GM GN GQ GY HK JM KI KM KN KP
    LC LY ML MO MR MW NR NU QA RW SB SC SL SR ST SY TD TF TG TK TO TT TV UG VU YE ZW
"""
#: Where letters arrive without a postcode (Universal Postal Union, addressing systems).
WITHOUT_POSTCODE = frozenset(_WITHOUT.split())
#: More nobody looks through, and a program that adds without end is stopped.
MOST = 20


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a user; the default one is filled in at the checkout."""

    id: int
    name: str
    line1: str
    line2: str | None
    city: str
    postcode: str | None
    country: str
    phone: str | None
    is_default: bool

    def for_parcel(self) -> dict[str, Any]:
        """The fields that an order keeps."""
        return {name: value for name, value in asdict(self).items() if name in FIELDS}


_COLUMNS = [table.c[name] for name in Address.__slots__]


def checked(facts: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """The address as the store keeps it: trimmed, all fields there, None for what is empty.

    `within` is the field of the request that holds it; without one the request itself does.

    Raises:
        Invalid: a field is missing, too long or no text; or there is no such country.
    """
    place = f"{within}/" if within else ""
    address: dict[str, Any] = {}
    for field, longest in LENGTHS.items():
        address[field] = _line(facts.get(field), longest, f"{place}{field}")
    country = _line(facts.get("country"), 100, f"{place}country")
    address["country"] = country and country.upper()
    if address["country"] and address["country"] not in COUNTRIES:
        raise Invalid(f"{place}country", "Use the two letters of ISO 3166-1, such as DE.")
    for field in REQUIRED:
        if not address[field]:
            raise Invalid(f"{place}{field}", "A parcel does not arrive without this.")
    if not address["postcode"] and address["country"] not in WITHOUT_POSTCODE:
        raise Invalid(f"{place}postcode", "A parcel does not arrive without this.")
    return address


async def of_user(conn: AsyncConnection, user_id: int) -> list[Address]:
    """A user's addresses: the default one, then the newest first."""
    query = (
        select(*_COLUMNS)
        .where(table.c.user_id == user_id)
        .order_by(table.c.is_default.desc(), table.c.id.desc())
    )
    return [Address(**row._mapping) for row in await conn.execute(query)]


async def get(conn: AsyncConnection, user_id: int, address_id: int) -> Address:
    """One of a user's addresses.

    Raises:
        NotFound: there is no such address, or it is somebody else's.
    """
    query = select(*_COLUMNS).where(table.c.id == address_id, table.c.user_id == user_id)
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This address")
    return Address(**found._mapping)


async def add(
    conn: AsyncConnection,
    user_id: int,
    facts: Mapping[str, Any],
    *,
    is_default: bool = False,
    now: datetime,
) -> Address:
    """Write an address down; the first one becomes the default.

    Raises:
        Invalid: no parcel would find it.
        AddressBookFull: there are `MOST` already.
        NotFound: the user was erased a moment ago.
    """
    address = checked(facts)
    await _lock(conn, user_id)
    others = await of_user(conn, user_id)
    if len(others) >= MOST:
        raise AddressBookFull(MOST)
    made = await conn.execute(
        insert(table).values(
            user_id=user_id, is_default=False, created_at=now, updated_at=now, **address
        )
    )
    address_id: int = made.lastrowid
    if is_default or not others:
        await _prefer(conn, user_id, address_id)
    return await get(conn, user_id, address_id)


async def keep(
    conn: AsyncConnection, user_id: int, facts: Mapping[str, Any], *, now: datetime
) -> bool:
    """Add an address unless it is there already; False when the address book is full.

    Raises:
        Invalid, NotFound: as for `add`.
    """
    address = checked(facts)
    await _lock(conn, user_id)
    if any(known.for_parcel() == address for known in await of_user(conn, user_id)):
        return True
    try:
        await add(conn, user_id, address, now=now)
    except AddressBookFull:
        return False
    return True


async def change(
    conn: AsyncConnection,
    user_id: int,
    address_id: int,
    facts: Mapping[str, Any],
    *,
    is_default: bool | None = None,
    now: datetime,
) -> Address:
    """Change the fields that `facts` has; orders that went there keep what they had.

    Raises:
        Invalid: no parcel would find it any more.
        NotFound: there is no such address, or it is somebody else's.
    """
    await _lock(conn, user_id)
    known = await get(conn, user_id, address_id)
    address = checked(known.for_parcel() | dict(facts))
    await conn.execute(
        update(table).where(table.c.id == address_id).values(updated_at=now, **address)
    )
    if is_default:
        await _prefer(conn, user_id, address_id)
    elif is_default is False:
        await conn.execute(update(table).where(table.c.id == address_id).values(is_default=False))
    return await get(conn, user_id, address_id)


async def remove(conn: AsyncConnection, user_id: int, address_id: int) -> None:
    """Forget an address; when it was the default one, the newest of the others becomes it.

    Raises:
        NotFound: there is no such address, or it is somebody else's.
    """
    await _lock(conn, user_id)
    gone = await get(conn, user_id, address_id)
    await conn.execute(delete(table).where(table.c.id == address_id))
    if gone.is_default and (others := await of_user(conn, user_id)):
        await _prefer(conn, user_id, others[0].id)


async def _prefer(conn: AsyncConnection, user_id: int, address_id: int) -> None:
    await conn.execute(
        update(table).where(table.c.user_id == user_id).values(is_default=table.c.id == address_id)
    )


async def _lock(conn: AsyncConnection, user_id: int) -> None:
    found = await conn.execute(
        select(users.c.id)
        .where(users.c.id == user_id, users.c.erased_at.is_(None))
        .with_for_update()
    )
    if found.one_or_none() is None:
        raise NotFound("This user")


def _line(value: Any, longest: int, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(field, "This has to be text.")
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if len(text) > longest:
        raise Invalid(
            field,
            sentence("This is too long; %(longest)s characters are allowed.", longest=longest),
        )
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in text):
        raise Invalid(field, "This contains control characters.")
    return text or None
