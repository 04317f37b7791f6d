"""ISBNs: parses any spelling to 13 digits (ISO 2108; GS1 prefixes 978 and 979)."""

import re
import unicodedata

from stdnum import ean, isbn
from stdnum.exceptions import ValidationError

from bookstore.errors import InvalidIsbn

#: No spelling of an ISBN is longer.  The limit avoids normalising very long input, which is slow.
_MAX_LENGTH = 60

#: `ISBN`, `ISBN-13:` or `urn:isbn:` in front of the number.
_PREFIX = re.compile(r"(?:URN:)?ISBN(?:-?1[03](?=[: ]))?[: ]*")

#: A spreadsheet cell in which a formula keeps the leading zero: ="0441172717"
_FORMULA = re.compile(r'="(.*)"')

_FLOAT = re.compile(r"[0-9]\.[0-9]+E\+?1[0-9]")


def parse(text: str) -> str:
    """The 13 digits of the ISBN-13 or ISBN-10 in `text`.

    Accepts hyphens and dashes of any kind, spaces, full-width digits and a leading "ISBN".

    Raises:
        InvalidIsbn: `text` is not an ISBN.  The reason names similar numbers, such as a UPC.
    """
    if len(text) > _MAX_LENGTH:
        raise InvalidIsbn(text, "This is too long for an ISBN.")
    number = _compact(text)
    if _FLOAT.fullmatch(number):
        raise InvalidIsbn(text, "A spreadsheet has rounded this number; its last digits are lost.")
    if not re.fullmatch(r"[0-9]*X?", number):
        raise InvalidIsbn(
            text, "An ISBN consists of digits and hyphens, with at most one X at the end."
        )
    if len(number) not in (10, 13):
        raise InvalidIsbn(text, _length_error(number))
    reason = _isbn10_error(number) if len(number) == 10 else _isbn13_error(number)
    if reason:
        raise InvalidIsbn(text, reason)
    return isbn.to_isbn13(number)


def hyphenated(isbn13: str) -> str:
    """The ISBN with hyphens, as printed on a book: 978-0-441-17271-9."""
    return isbn.format(isbn13)


def _compact(text: str) -> str:
    """`text` without spaces, dashes, invisible characters and the word ISBN."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if formula := _FORMULA.fullmatch(plain):
        plain = formula[1]
    # Unicode classifies the minus sign as a symbol, but people type it as a dash.
    plain = "".join("-" if _is_dash(char) else char for char in plain if not _is_invisible(char))
    plain = _PREFIX.sub("", plain.upper(), count=1)
    return re.sub(r"[\s-]", "", plain)


def _is_dash(char: str) -> bool:
    return char == "\N{MINUS SIGN}" or unicodedata.category(char) == "Pd"


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def _length_error(number: str) -> str:
    match len(number):
        case 0:
            return "This contains no number."
        case 9 if isbn.is_valid("0" + number):
            return f"This has nine digits. If a leading zero is missing, the ISBN is 0{number}."
        case 12 if number.startswith(("978", "979")):
            return "This has 12 digits. One of an ISBN's 13 digits is missing, or it is a UPC."
        case 12:
            return "This is a UPC (12 digits), a product number, not an ISBN."
        case 11 if ean.is_valid("00" + number):
            return "This is a UPC without its leading zero, a product number, not an ISBN."
    return f"An ISBN has 13 digits (10 before 2007); this has {len(number)}."


def _isbn10_error(number: str) -> str | None:
    try:
        isbn.validate(number)
    except ValidationError:
        weighted = sum(weight * int(digit) for weight, digit in enumerate(number[:9], start=1))
        return _check_digit_error("0123456789X"[weighted % 11])
    return _unassigned_error(isbn.to_isbn13(number))


def _isbn13_error(number: str) -> str | None:
    if number.endswith("X"):
        return "Only a 10-digit ISBN can end with an X."
    if number.startswith("9790"):
        return "This is an ISMN (979-0) for printed music, not an ISBN."
    if number.startswith("0"):
        return "This is a UPC with a leading zero, a product number, not an ISBN."
    if not number.startswith(("978", "979")):
        return f"A 13-digit ISBN begins with 978 or 979; this begins with {number[:3]}."
    expected = ean.calc_check_digit(number[:-1])
    if number[-1] != expected:
        return _check_digit_error(expected)
    return _unassigned_error(number)


def _check_digit_error(expected: str) -> str:
    return f"The check digit is wrong: for this number it would be {expected}."


def _unassigned_error(number: str) -> str | None:
    """The message for a number outside the registration groups of countries and languages, or None.

    An unknown publisher is not an error: new publisher ranges are assigned every month, so our
    table is incomplete.  New groups are rare.
    """
    _, group, *_ = isbn.split(number)
    if group:
        return None
    return f"No country or language uses ISBNs that begin with {number[:3]}-{number[3:6]}."
