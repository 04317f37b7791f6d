"""ISBNs: any spelling in, thirteen digits out (ISO 2108; GS1 prefixes 978 and 979)."""

import re
import unicodedata

from stdnum import ean, isbn
from stdnum.exceptions import ValidationError

from bookstore.errors import InvalidIsbn

#: No spelling of an ISBN is longer, and normalising a whole book would take a while.
_LONGEST = 60

#: `ISBN`, `ISBN-13:` or `urn:isbn:` in front of the number.
_NAME = re.compile(r"(?:URN:)?ISBN(?:-?1[03](?=[: ]))?[: ]*")

#: A cell that a spreadsheet was told to leave alone: ="0441172717"
_FORMULA = re.compile(r'="(.*)"')

_FLOAT = re.compile(r"[0-9]\.[0-9]+E\+?1[0-9]")


def parse(text: str) -> str:
    """The thirteen digits of the ISBN-13 or ISBN-10 that `text` spells.

    Hyphens and dashes of any kind, spaces, full-width digits and a leading "ISBN" are understood.

    Raises:
        InvalidIsbn: it is none, or only something like one: the reason says what it is.
    """
    if len(text) > _LONGEST:
        raise InvalidIsbn(text, "This is too long for an ISBN.")
    number = _compact(text)
    if _FLOAT.fullmatch(number):
        raise InvalidIsbn(text, "A spreadsheet has rounded this number; its last digits are lost.")
    if not re.fullmatch(r"[0-9]*X?", number):
        raise InvalidIsbn(text, "An ISBN has digits and hyphens only, and at most an X at the end.")
    if len(number) not in (10, 13):
        raise InvalidIsbn(text, _wrong_length(number))
    reason = _wrong_ten(number) if len(number) == 10 else _wrong_thirteen(number)
    if reason:
        raise InvalidIsbn(text, reason)
    return isbn.to_isbn13(number)


def hyphenated(isbn13: str) -> str:
    """The thirteen digits as printed on a book: 978-0-441-17271-9."""
    return isbn.format(isbn13)


def _compact(text: str) -> str:
    """`text` without its spaces, dashes and invisible signs, and without the word ISBN."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if formula := _FORMULA.fullmatch(plain):
        plain = formula[1]
    # The minus sign is a symbol to Unicode, but a dash to whoever typed it.
    plain = "".join("-" if _is_dash(sign) else sign for sign in plain if not _is_invisible(sign))
    plain = _NAME.sub("", plain.upper(), count=1)
    return re.sub(r"[\s-]", "", plain)


def _is_dash(sign: str) -> bool:
    return sign == "\N{MINUS SIGN}" or unicodedata.category(sign) == "Pd"


def _is_invisible(sign: str) -> bool:
    return unicodedata.category(sign) == "Cf"


def _wrong_length(number: str) -> str:
    match len(number):
        case 0:
            return "There is no number here."
        case 9 if isbn.is_valid("0" + number):
            return f"This has nine digits; if the leading zero is lost, it is 0{number}."
        case 12 if number.startswith(("978", "979")):
            return "This has 12 digits: one of an ISBN's 13 is missing, or it is a UPC."
        case 12:
            return "This is a UPC (12 digits), the number of a product, and no ISBN."
        case 11 if ean.is_valid("00" + number):
            return "This is a UPC without its leading zero, the number of a product, and no ISBN."
    return f"An ISBN has 13 digits, an old one 10; this has {len(number)}."


def _wrong_ten(number: str) -> str | None:
    try:
        isbn.validate(number)
    except ValidationError:
        weighted = sum(place * int(digit) for place, digit in enumerate(number[:9], start=1))
        return _wrong_check_digit("0123456789X"[weighted % 11])
    return _unassigned(isbn.to_isbn13(number))


def _wrong_thirteen(number: str) -> str | None:
    if number.endswith("X"):
        return "Only an ISBN of ten digits ends with an X."
    if number.startswith("9790"):
        return "This is an ISMN (979-0), the number of printed music, and no ISBN."
    if number.startswith("0"):
        return "This is a UPC with a leading zero, the number of a product, and no ISBN."
    if not number.startswith(("978", "979")):
        return f"An ISBN of 13 digits begins with 978 or 979; this begins with {number[:3]}."
    right = ean.calc_check_digit(number[:-1])
    if number[-1] != right:
        return _wrong_check_digit(right)
    return _unassigned(number)


def _wrong_check_digit(right: str) -> str:
    return f"The check digit is wrong: for this number it would be {right}."


def _unassigned(number: str) -> str | None:
    """Whether no country or language owns the range.

    Publishers get new ranges every month, groups hardly ever: an unknown publisher is no fault.
    """
    _, group, *_ = isbn.split(number)
    if group:
        return None
    return f"No country or language has numbers that begin with {number[:3]}-{number[3:6]}."
