"""ISBNs: the accepted spellings, and the reasons for rejecting others."""

import pytest

from bookstore.catalogue import isbn
from bookstore.errors import InvalidIsbn


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("9780441172719", "9780441172719"),
        ("978-0-441-17271-9", "9780441172719"),
        (" 978 0 441 17271 9\n", "9780441172719"),
        ("978\u20130\u2013441\u201317271\u20139", "9780441172719"),
        ("978\u22120\u2212441\u221217271\u22129", "9780441172719"),
        ("978\u00a00441172719", "9780441172719"),
        ("\ufeff978044117\u00ad2719\u200b", "9780441172719"),
        ("９７８－０４４１１７２７１９", "9780441172719"),
        ("ISBN 978-0-441-17271-9", "9780441172719"),
        ("ISBN-13: 978-0-441-17271-9", "9780441172719"),
        ("ISBN-10 0-441-17271-7", "9780441172719"),
        ("isbn:1316067920", "9781316067925"),
        ("urn:isbn:9780441172719", "9780441172719"),
        ('="0441172717"', "9780441172719"),
        ("0441172717", "9780441172719"),
        ("0-441-17271-7", "9780441172719"),
        ("031606792X", "9780316067928"),
        ("0-316-06792-x", "9780316067928"),
        ("979-10-327-0000-6", "9791032700006"),
        ("979-8-3312-3456-0", "9798331234560"),
        # The publisher is newer than our table of ranges.
        ("978-630-000000-1", "9786300000001"),
    ],
)
def test_every_accepted_spelling_becomes_thirteen_digits(text: str, digits: str) -> None:
    assert isbn.parse(text) == digits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9780441172711", "The check digit is wrong: for this number it would be 9."),
        ("0441172718", "The check digit is wrong: for this number it would be 7."),
        ("0316067920", "The check digit is wrong: for this number it would be X."),
        # An Indian ISBN-13 that was truncated to ten digits.
        ("9380658797", "The check digit is wrong: for this number it would be 6."),
        ("979-0-2600-0043-8", "This is an ISMN (979-0) for printed music, not an ISBN."),
        ("9793123456786", "No country or language uses ISBNs that begin with 979-312."),
        (
            "439023483",
            "This has nine digits. If a leading zero is missing, the ISBN is 0439023483.",
        ),
        ("439023484", "An ISBN has 13 digits (10 before 2007); this has 9."),
        ("036000291452", "This is a UPC (12 digits), a product number, not an ISBN."),
        (
            "0036000291452",
            "This is a UPC with a leading zero, a product number, not an ISBN.",
        ),
        (
            "36000291452",
            "This is a UPC without its leading zero, a product number, not an ISBN.",
        ),
        (
            "978044117271",
            "This has 12 digits. One of an ISBN's 13 digits is missing, or it is a UPC.",
        ),
        ("2940012345670", "A 13-digit ISBN begins with 978 or 979; this begins with 294."),
        (
            "9.78043902348e+12",
            "A spreadsheet has rounded this number; its last digits are lost.",
        ),
        ("97804411727X9", "An ISBN consists of digits and hyphens, with at most one X at the end."),
        ("978044117271X", "Only a 10-digit ISBN can end with an X."),
        ("X", "An ISBN has 13 digits (10 before 2007); this has 1."),
        ("", "This contains no number."),
        (" \u200b- ", "This contains no number."),
        ("Dune", "An ISBN consists of digits and hyphens, with at most one X at the end."),
        ("٩٧٨٠٤٤١١٧٢٧١٩", "An ISBN consists of digits and hyphens, with at most one X at the end."),
        ("9" * 61, "This is too long for an ISBN."),
    ],
)
def test_an_invalid_isbn_is_rejected_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidIsbn) as refusal:
        isbn.parse(text)

    assert refusal.value.reason == reason
    assert refusal.value.text == text


@pytest.mark.parametrize(
    ("digits", "printed"),
    [
        ("9780441172719", "978-0-441-17271-9"),
        ("9783161484100", "978-3-16-148410-0"),
        ("9791032700006", "979-10-327-0000-6"),
        ("9798331234560", "979-8-3312-3456-0"),
    ],
)
def test_an_isbn_is_hyphenated_as_printed_on_books(digits: str, printed: str) -> None:
    assert isbn.hyphenated(digits) == printed
