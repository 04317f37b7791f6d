"""ISBNs: what is understood, and what is refused with which reason."""

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
        # A publisher that is newer than the table of ranges.
        ("978-630-000000-1", "9786300000001"),
    ],
)
def test_every_spelling_becomes_thirteen_digits(text: str, digits: str) -> None:
    assert isbn.parse(text) == digits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9780441172711", "The check digit is wrong: for this number it would be 9."),
        ("0441172718", "The check digit is wrong: for this number it would be 7."),
        ("0316067920", "The check digit is wrong: for this number it would be X."),
        # An Indian ISBN-13 that somebody cut down to ten digits.
        ("9380658797", "The check digit is wrong: for this number it would be 6."),
        ("979-0-2600-0043-8", "This is an ISMN (979-0), the number of printed music, and no ISBN."),
        ("9793123456786", "No country or language has numbers that begin with 979-312."),
        ("439023483", "This has nine digits; if the leading zero is lost, it is 0439023483."),
        ("439023484", "An ISBN has 13 digits, an old one 10; this has 9."),
        ("036000291452", "This is a UPC (12 digits), the number of a product, and no ISBN."),
        (
            "0036000291452",
            "This is a UPC with a leading zero, the number of a product, and no ISBN.",
        ),
        (
            "36000291452",
            "This is a UPC without its leading zero, the number of a product, and no ISBN.",
        ),
        ("978044117271", "This has 12 digits: one of an ISBN's 13 is missing, or it is a UPC."),
        ("2940012345670", "An ISBN of 13 digits begins with 978 or 979; this begins with 294."),
        (
            "9.78043902348e+12",
            "A spreadsheet has rounded this number; its last digits are lost.",
        ),
        ("97804411727X9", "An ISBN has digits and hyphens only, and at most an X at the end."),
        ("978044117271X", "Only an ISBN of ten digits ends with an X."),
        ("X", "An ISBN has 13 digits, an old one 10; this has 1."),
        ("", "There is no number here."),
        (" \u200b- ", "There is no number here."),
        ("Dune", "An ISBN has digits and hyphens only, and at most an X at the end."),
        ("٩٧٨٠٤٤١١٧٢٧١٩", "An ISBN has digits and hyphens only, and at most an X at the end."),
        ("9" * 61, "This is too long for an ISBN."),
    ],
)
def test_what_is_no_isbn_is_refused_with_its_reason(text: str, reason: str) -> None:
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
def test_hyphens_stand_where_they_are_printed(digits: str, printed: str) -> None:
    assert isbn.hyphenated(digits) == printed
