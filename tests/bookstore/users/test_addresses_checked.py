import pytest

from bookstore.errors import Invalid
from bookstore.users import addresses

HOME = {
    "name": "Anna Karenina",
    "line1": "7 Nevsky Prospekt",
    "city": "St Petersburg",
    "postcode": "191186",
    "country": "RU",
}


def test_an_address_is_trimmed_and_complete():
    address = addresses.validated(
        {**HOME, "name": "  Anna \t Karenina ", "country": "ru"}, within="x"
    )

    assert address == {**HOME, "line2": None, "phone": None}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"line1": None}, "line1"),
        ({"city": "  "}, "city"),
        ({"postcode": None}, "postcode"),
        ({"country": "XX"}, "country"),
        ({"country": "Russia"}, "country"),
        ({"country": 7}, "country"),
        ({"country": None}, "country"),
        ({"phone": 7}, "phone"),
        ({"line2": "x" * 201}, "line2"),
        ({"line2": "a\x00b"}, "line2"),
    ],
)
def test_an_invalid_address_is_refused(change, field):
    with pytest.raises(Invalid) as refusal:
        addresses.validated({**HOME, **change}, within="shipping_address")

    assert refusal.value.field == f"shipping_address/{field}"


def test_a_country_without_postcodes_needs_none():
    assert addresses.validated({**HOME, "postcode": None, "country": "HK"}, within="x")


def test_there_are_the_countries_of_iso_3166_and_three_more():
    """Kosovo, and two islands with addresses of their own."""
    assert len(addresses.COUNTRIES) == 249 + len({"XK", "AC", "TA"} & addresses.COUNTRIES.keys())
