"""The price of a record for the store's country today, and what is reported about the others."""

import pytest

from bookstore.imports.entries import Refusal
from bookstore.imports.onix.limits import Shop
from tests.bookstore.imports.onix.records import (
    TODAY,
    dated,
    price,
    read_one,
    said,
    supply,
    territory,
    unpriced,
)

WORLD = territory(RegionsIncluded="WORLD")


def cents(*blocks, **options):
    return read_one(*blocks, **options).facts.get("price_cents")


def condition(code):
    return f"<PriceCondition><PriceConditionType>{code}</PriceConditionType></PriceCondition>"


def constraint(code):
    return f"<PriceConstraint><PriceConstraintType>{code}</PriceConstraintType></PriceConstraint>"


GERMAN = price("20.00", more=territory("DE"))
AUSTRIAN = price("20.60", more=territory("AT"))
USUAL = price("19.00")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("country", "expected"), [("DE", 2000), ("AT", 2060), ("CH", None)])
def test_the_price_for_the_country_of_the_store_applies(country, expected, backwards):
    prices = [AUSTRIAN, GERMAN] if backwards else [GERMAN, AUSTRIAN]

    assert cents(supply(*prices), shop=Shop(country, "EUR", TODAY)) == expected


@pytest.mark.parametrize("backwards", [False, True])
def test_markets_are_separate(backwards):
    markets = [
        supply(price("20.00"), market=territory("DE")),
        supply(price("20.60"), market=territory("AT CH")),
        supply(price("25.00"), market=territory(RegionsIncluded="WORLD", CountriesExcluded="DE")),
    ]

    assert cents(*(reversed(markets) if backwards else markets)) == 2000


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        (price("5.00", more=territory("CA")), "territory CA"),
        (price("5.00", more=territory(RegionsIncluded="CA-QC")), "territory CA-QC"),
        (price("5.00", more=territory("UK")), "UK"),
        (price("5.00", more=dated("24", "2020010120200131", "06")), "until 2020-01-31"),
        (price("5.00", more=dated("24", "202001202001", "07")), "until 2020-01-31"),
        (price("5.00", more=dated("24", "20202020", "11")), "until 2020-12-31"),
        (price("5.00", more=dated("15", "202610", "01")), "until 2026-10-31"),
        (price("5.00", more=dated("14", "20270101")), "from 2027-01-01"),
        (price("5.00", more=dated("14", "2027", "05")), "from 2027-01-01"),
        (price("5.00", more=dated("14", "20200101") + dated("15", "20200131")), "2020-01-31"),
        (price("5.00", more=dated("14", "Easter", "12")), "unknown date"),
        (price("5.00", more=dated("99", "20200101")), "unknown date"),
        (price("5.00", more=condition("10")), "rental"),
        (price("5.00", more=condition("12")), "rental"),
        (price("5.00", more=condition("06")), "linked"),
        (price("5.00", more=condition("99")), "condition 99"),
        (price("5.00", more=constraint("07")), "constraint 07"),
        (price("5.00", more="<PriceQualifier>06</PriceQualifier>"), "qualifier 06"),
        (price("5.00", more="<PriceQualifier>77</PriceQualifier>"), "qualifier 77"),
        (price("5.00", more="<MinimumOrderQuantity>5</MinimumOrderQuantity>"), "from 5 copies"),
        (price("5.00", more="<PricePer>01</PricePer>"), "not for a whole copy"),
        (price("5.00", kind=""), "no type"),
        (price("5.00", kind="03"), "excludes tax"),
        (price("5.00", kind="05"), "no retail price"),
        (price("5.00", kind="06"), "no retail price"),
        (price("5.00", kind="99"), "no retail price"),
        (price("5.00", currency="CHF"), "CHF"),
        (price("5.00", currency=""), "no currency"),
        (unpriced("02"), "price to be announced"),
        (unpriced("03"), "not sold separately"),
        (unpriced("88"), "unknown code 88"),
        ("<Price><PriceType>04</PriceType><CurrencyCode>EUR</CurrencyCode></Price>", "no amount"),
    ],
)
def test_a_price_that_does_not_apply_is_reported_and_never_used(left_out, reason):
    """Neither alone nor beside the usual price, whichever comes first."""
    for prices in ([left_out, USUAL], [USUAL, left_out]):
        beside = read_one(supply(*prices))
        assert beside.facts["price_cents"] == 1900
        assert reason in said(beside)
    alone = read_one(supply(left_out))
    assert "price_cents" not in alone.facts
    assert "It has no price in EUR for DE on 2026-11-25" in said(alone)
    assert reason in said(alone)


@pytest.mark.parametrize(
    "applies",
    [
        price("5.00", more=territory("AT DE")),
        price("5.00", more=dated("24", "2026112520261125", "06")),
        price("5.00", more=dated("24", "202611202611", "07")),
        price("5.00", more=dated("14", "20261125") + dated("15", "20261125")),
        price("5.00", more=dated("14", "20200101")),
        # A special price comes before the usual one.
        price("5.00", kind="14"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_the_more_exact_price_applies_and_the_other_is_reported(applies, backwards):
    prices = [USUAL, applies] if backwards else [applies, USUAL]

    found = read_one(supply(*prices))

    assert found.facts["price_cents"] == 500
    assert "19.00 (less exact)" in said(found)


@pytest.mark.parametrize(
    "applies",
    [condition("00"), condition("01"), constraint("00"), "<PriceQualifier>05</PriceQualifier>"],
)
def test_a_price_without_conditions_applies(applies):
    assert cents(supply(price("5.00", more=applies))) == 500


def test_of_two_limited_prices_the_one_that_began_last_applies():
    prices = [
        price("7.00", more=dated("14", "20261101")),
        price("8.00", more=dated("14", "20260101")),
    ]

    assert cents(supply(*prices)) == cents(supply(*reversed(prices))) == 700


def test_a_country_comes_before_a_region_and_a_region_before_the_world():
    prices = [
        price("3.00", more=WORLD),
        price("2.00", more=territory(RegionsIncluded="ECZ")),
        price("1.00", more=territory("DE")),
    ]

    assert [cents(supply(*prices[:end])) for end in (1, 2, 3)] == [300, 200, 100]


def test_prices_that_are_equally_exact_and_differ_are_refused():
    refusal = read_one(supply(GERMAN, price("21", more=territory("DE"))))

    assert isinstance(refusal, Refusal)
    assert (refusal.column, refusal.value) == ("PriceAmount", "20.00, 21")


def test_the_same_price_of_two_suppliers_is_one_price():
    found = read_one(supply(price("20.00")), supply(price("20.0")))

    assert (found.facts["price_cents"], said(found)) == (2000, "")


@pytest.mark.parametrize("where", ["<UnpricedItemType>01</UnpricedItemType>", unpriced("01")])
def test_a_free_book_costs_nothing(where):
    found = read_one(supply(where))

    assert (found.facts["price_cents"], said(found)) == (0, "It is free of charge.")


def test_a_book_that_is_free_in_another_country_has_no_price():
    found = read_one(supply(unpriced("01", territory("US"))))

    assert "price_cents" not in found.facts
    assert "territory US" in said(found)


def test_the_header_can_set_the_type_of_prices():
    header = "<DefaultPriceType>04</DefaultPriceType>"

    assert cents(supply(price("5.00", kind="")), header=header) == 500


def test_a_report_names_only_some_of_many_prices():
    many = [price(f"{amount}.00", more=territory("US")) for amount in range(30, 60)]

    assert "and 25 more" in said(read_one(supply(*many)))
