"""Postal addresses, and the address book of a user.

Every change locks the user's row first, so that concurrent changes keep the limit and leave exactly
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

#: The maximum length of each field, in characters.
LENGTHS = {"name": 200, "line1": 200, "line2": 200, "city": 100, "postcode": 20, "phone": 40}
REQUIRED = ("name", "line1", "city", "country")
#: All fields of an address.
FIELDS = (*LENGTHS, "country")

#: In Babel's list of territories, but not assigned to a country by ISO 3166-1.
_NOT_ASSIGNED = {
    "AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ",
}  # fmt: skip
#: Two letters (ISO 3166-1 alpha-2) and the English name of every country.
COUNTRIES: Mapping[str, str] = {
    code: name
    for code, name in sorted(Locale("en").territories.items())
    if len(code) == 2 and code.isalpha() and code not in _NOT_ASSIGNED
}
_NO_POSTCODE = """
    AE AG AO BF BI BJ BO BS BW BZ CD CF CG CI CM DJ DM ER FJ GA GD GH GM GN GQ GY HK JM KI KM KN KP
    LC LY ML MO MR MW NR NU QA RW SB SC SL SR ST SY TD TF TG TK TO TT TV UG VU YE ZW
"""
#: Countries whose addresses need no postcode (Universal Postal Union, addressing systems).
WITHOUT_POSTCODE = frozenset(_NO_POSTCODE.split())
#: The most addresses of one user.  It also stops a program that adds addresses in a loop.
MAX_ADDRESSES = 20


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a user; the checkout form is filled in with the default one."""

    id: int
    name: str
    line1: str
    line2: str | None
    city: str
    postcode: str | None
    country: str
    phone: str | None
    is_default: bool

    def as_shipping_address(self) -> dict[str, Any]:
        """The fields that an order stores as its shipping address."""
        return {name: value for name, value in asdict(self).items() if name in FIELDS}


_COLUMNS = [table.c[name] for name in Address.__slots__]


def validated(fields: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """The address with all fields, trimmed; empty fields are None.

    `within` is the request's field that holds the address, used as a prefix in errors.

    Raises:
        Invalid: a field is missing, too long or not text, or the country is unknown.
    """
    prefix = f"{within}/" if within else ""
    address: dict[str, Any] = {}
    for field, max_length in LENGTHS.items():
        address[field] = _line(fields.get(field), max_length, f"{prefix}{field}")
    country = _line(fields.get("country"), 100, f"{prefix}country")
    address["country"] = country and country.upper()
    if address["country"] and address["country"] not in COUNTRIES:
        raise Invalid(f"{prefix}country", "Use a two-letter country code (ISO 3166-1), such as DE.")
    for field in REQUIRED:
        if not address[field]:
            raise Invalid(f"{prefix}{field}", "This is required for shipping.")
    if not address["postcode"] and address["country"] not in WITHOUT_POSTCODE:
        raise Invalid(f"{prefix}postcode", "This is required for shipping.")
    return address


async def of_user(conn: AsyncConnection, user_id: int) -> list[Address]:
    """A user's addresses: the default one first, then the newest first."""
    query = (
        select(*_COLUMNS)
        .where(table.c.user_id == user_id)
        .order_by(table.c.is_default.desc(), table.c.id.desc())
    )
    return [Address(**row._mapping) for row in await conn.execute(query)]


async def get(conn: AsyncConnection, user_id: int, address_id: int) -> Address:
    """One of a user's addresses.

    Raises:
        NotFound: the user has no such address.
    """
    query = select(*_COLUMNS).where(table.c.id == address_id, table.c.user_id == user_id)
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This address")
    return Address(**found._mapping)


async def add(
    conn: AsyncConnection,
    user_id: int,
    fields: Mapping[str, Any],
    *,
    is_default: bool = False,
    now: datetime,
) -> Address:
    """Add an address; a user's first address becomes the default.

    Raises:
        Invalid: a field is missing, too long or not text, or the country is unknown.
        AddressBookFull: the user has `MAX_ADDRESSES` already.
        NotFound: the user does not exist or was erased.
    """
    address = validated(fields)
    await _lock(conn, user_id)
    others = await of_user(conn, user_id)
    if len(others) >= MAX_ADDRESSES:
        raise AddressBookFull(MAX_ADDRESSES)
    values = {"user_id": user_id, "is_default": False, "created_at": now, "updated_at": now}
    address_id: int = (await conn.execute(insert(table).values(values | address))).lastrowid
    if is_default or not others:
        await _set_default(conn, user_id, address_id)
    return await get(conn, user_id, address_id)


async def add_if_missing(
    conn: AsyncConnection, user_id: int, fields: Mapping[str, Any], *, now: datetime
) -> bool:
    """Add an address unless the user has it already; False when the address book is full.

    Raises:
        Invalid, NotFound: as for `add`.
    """
    address = validated(fields)
    await _lock(conn, user_id)
    if any(known.as_shipping_address() == address for known in await of_user(conn, user_id)):
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
    fields: Mapping[str, Any],
    *,
    is_default: bool | None = None,
    now: datetime,
) -> Address:
    """Change the given fields of an address; existing orders keep the old address.

    Raises:
        Invalid: a required field would be empty, or a value is not allowed.
        NotFound: the user has no such address.
    """
    await _lock(conn, user_id)
    known = await get(conn, user_id, address_id)
    address = validated(known.as_shipping_address() | dict(fields))
    own = update(table).where(table.c.id == address_id)
    await conn.execute(own.values(updated_at=now, **address))
    if is_default:
        await _set_default(conn, user_id, address_id)
    elif is_default is False:
        await conn.execute(own.values(is_default=False))
    return await get(conn, user_id, address_id)


async def remove(conn: AsyncConnection, user_id: int, address_id: int) -> None:
    """Delete an address; if it was the default, the newest other address becomes the default.

    Raises:
        NotFound: the user has no such address.
    """
    await _lock(conn, user_id)
    removed = await get(conn, user_id, address_id)
    await conn.execute(delete(table).where(table.c.id == address_id))
    if removed.is_default and (others := await of_user(conn, user_id)):
        await _set_default(conn, user_id, others[0].id)


async def _set_default(conn: AsyncConnection, user_id: int, address_id: int) -> None:
    own = update(table).where(table.c.user_id == user_id)
    await conn.execute(own.values(is_default=table.c.id == address_id))


async def _lock(conn: AsyncConnection, user_id: int) -> None:
    query = select(users.c.id).where(users.c.id == user_id, users.c.erased_at.is_(None))
    if await conn.scalar(query.with_for_update()) is None:
        raise NotFound("This user")


def _line(value: Any, longest: int, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(field, "This must be text.")
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if len(text) > longest:
        text = sentence("This is too long; %(longest)s characters are allowed.", longest=longest)
        raise Invalid(field, text)
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text):
        raise Invalid(field, "This contains control characters.")
    return text or None
