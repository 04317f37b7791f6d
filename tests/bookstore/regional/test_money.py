"""Amounts in currencies with 0, 2 and 3 decimals."""

import re
from pathlib import Path

import pytest

from bookstore.errors import Invalid
from bookstore.imports.columns import Columns
from bookstore.imports.entries import BookEntry
from bookstore.regional import money
from config.settings import InvalidSettings, read_settings
from tests.e2e.programs import ROOT

EXAMPLES = {"EUR": ("12.90", 1290), "JPY": ("1290", 1290), "KRW": ("1290", 1290)}
EXAMPLES |= {"CLP": ("1290", 1290), "KWD": ("12.900", 12900), "BHD": ("12.900", 12900)}
EXAMPLES |= {"USD": ("12.90", 1290), "TND": ("12.900", 12900), "CHF": ("12.90", 1290)}


@pytest.fixture(params=EXAMPLES)
def currency(request):
    money.set_store_currency(request.param)
    yield request.param
    money.set_store_currency("EUR")


def test_a_usual_price_is_written_and_read(currency):
    text, units = EXAMPLES[currency]

    assert money.example() == text
    assert money.plain(units) == text
    assert money.parse(text) == money.parse(text.replace(".", ",")) == units


@pytest.mark.parametrize("typed", ["0.1234567", "", "x", "1e3", "-1", "1.2.3", "1 2"])
def test_what_is_no_amount_is_refused(currency, typed):
    with pytest.raises(ValueError, match="no amount"):
        money.parse(typed)


@pytest.mark.parametrize(
    ("currency", "typed"), [("JPY", "1250.50"), ("KRW", "1,5"), ("EUR", "12.345"), ("USD", "0.001")]
)
def test_more_decimals_than_the_currency_has_are_refused(currency, typed):
    with pytest.raises(ValueError, match="decimals"):
        money.parse(typed, currency)


def test_zeros_behind_the_last_decimal_are_accepted(currency):
    assert money.parse("7.000") == money.parse("7")


def cents_of(currency, typed):
    columns = Columns(["isbn", "title", "authors", "price"], currency=currency)
    entry = columns.entry(1, ["9780140449136", "The Odyssey", "Homer", typed])
    return entry.facts["price_cents"] if isinstance(entry, BookEntry) else entry.reason


@pytest.mark.parametrize(
    ("currency", "typed", "found"),
    [
        ("JPY", "1250", 1250),
        ("JPY", "1,250", 1250),
        ("JPY", "¥1,250", 1250),
        ("JPY", "1250.00", 1250),
        ("JPY", "1250.50", "A price in JPY is a number like 1290."),
        ("KWD", "1.250", 1250),
        ("KWD", "1,234.500", 1234500),
        ("EUR", "1.250", "This price is ambiguous; write it with two decimals."),
        ("EUR", "12,00 €", 1200),
        ("EUR", "EUR 12.00", 1200),
        ("EUR", "€12.5", 1250),
        ("EUR", "1.234,50 €", 123450),
        ("EUR", "12.-", 1200),
        ("EUR", "12,– €", 1200),
        ("EUR", "$12.00", "A price in EUR is a number like 12.90."),
        ("EUR", "12 USD", "A price in EUR is a number like 12.90."),
        ("CHF", "CHF 12.-", 1200),
        ("CZK", "249 Kč", 24900),
    ],
)
def test_prices_of_lists_follow_the_currency(currency, typed, found):
    assert cents_of(currency, typed) == found


@pytest.mark.parametrize("code", ["EURO", "eur", "DEM", "XAU", "XXX", "ABC", ""])
def test_a_currency_that_no_country_uses_is_refused(monkeypatch, tmp_path, code):
    monkeypatch.setenv("BOOKSTORE_CURRENCY", code)

    with pytest.raises(InvalidSettings, match="BOOKSTORE_CURRENCY"):
        read_settings(tmp_path / "none")


#: Amounts turned into units, or back, with a fixed number of decimals.
FIXED = re.compile(r"cents\w*\s*(/|//|%)\s*100\b|\* 100 \+|scaleb\(-2\)|:\.2f\}|:02\}\"")
SOURCES = [
    path
    for room in ("bookstore", "web", "admin", "actors")
    for path in Path(ROOT, room).rglob("*.py")
]


def test_no_other_module_assumes_two_decimals():
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FIXED.search(line)
    ]

    assert wrong == []
    assert FIXED.search("cell.cents / 100")


def test_an_invalid_amount_of_a_form_names_an_example_of_the_currency(currency):
    from admin.form_values import parse_cents

    with pytest.raises(Invalid, match=re.escape(money.example())):
        parse_cents("price", "x")
