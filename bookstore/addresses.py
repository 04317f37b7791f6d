"""Postal addresses: what a parcel needs to arrive."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from babel import Locale

from bookstore.errors import Invalid
from bookstore.locales import sentence

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
