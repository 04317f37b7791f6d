"""Facts that are limited by place or time, and the names of the elements that are read."""

import ast
from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from bookstore.imports import onix
from bookstore.imports.onix import code_lists, limits
from bookstore.imports.onix.limits import Period, Reach, Shop

TODAY = date(2026, 11, 25)
FOLDER = Path(onix.__file__).parent
READING = {"find", "findall", "text_of", "validity", "iter"}
#: Parts of `Territory`, `ISBN` blocks and others that are named in constants.
NAMED_ELSEWHERE = {"CountriesIncluded", "RegionsIncluded", "CountriesExcluded", "RegionsExcluded"}


def shop(country="DE", currency="EUR"):
    return Shop(country, currency, TODAY)


def territory(**codes):
    inside = "".join(f"<{tag}>{text}</{tag}>" for tag, text in codes.items())
    return etree.fromstring(f"<Price><Territory>{inside}</Territory></Price>")


@pytest.mark.parametrize(
    ("codes", "country", "reach"),
    [
        ({"CountriesIncluded": "AT DE CH"}, "DE", Reach.COUNTRY),
        ({"CountriesIncluded": "AT CH"}, "DE", Reach.NONE),
        ({"CountriesIncluded": " DE\n AT "}, "DE", Reach.COUNTRY),
        ({"RegionsIncluded": "WORLD"}, "DE", Reach.WORLD),
        ({"RegionsIncluded": "WORLD", "CountriesExcluded": "US CA"}, "DE", Reach.WORLD),
        ({"RegionsIncluded": "WORLD", "CountriesExcluded": "US DE"}, "DE", Reach.NONE),
        ({"CountriesExcluded": "US"}, "DE", Reach.WORLD),
        ({"CountriesExcluded": "DE"}, "DE", Reach.NONE),
        ({"RegionsIncluded": "ECZ"}, "DE", Reach.REGION),
        ({"RegionsIncluded": "ECZ"}, "GB", Reach.NONE),
        ({"RegionsIncluded": "WORLD", "RegionsExcluded": "ECZ"}, "FR", Reach.NONE),
        ({"RegionsIncluded": "WORLD", "RegionsExcluded": "ECZ"}, "CH", Reach.WORLD),
        # A part of a country is not the country.
        ({"RegionsIncluded": "CA-QC"}, "CA", Reach.NONE),
        ({"CountriesIncluded": "CA", "RegionsExcluded": "CA-QC"}, "CA", Reach.COUNTRY),
        # Codes that are in no list, and no codes at all.
        ({"CountriesIncluded": "UK"}, "GB", Reach.NONE),
        ({"RegionsIncluded": "ROW"}, "DE", Reach.NONE),
        ({}, "DE", Reach.NONE),
    ],
)
def test_a_territory_contains_the_country_of_the_store_or_not(codes, country, reach):
    assert limits.reach(territory(**codes), shop(country)) is reach


def test_without_a_territory_a_fact_holds_everywhere():
    assert limits.reach(etree.fromstring("<Price/>"), shop()) is Reach.WORLD


def test_codes_of_places_that_are_in_no_list_are_found():
    product = territory(CountriesIncluded="DE UK", RegionsIncluded="WORLD ROW ECZ CA-QC EUROPE")

    assert limits.unknown_places(product) == ["UK", "EUROPE"]


@pytest.mark.parametrize(
    ("text", "form", "first", "last"),
    [
        ("20270301", "00", (2027, 3, 1), (2027, 3, 1)),
        ("20270301", "", (2027, 3, 1), (2027, 3, 1)),
        ("2027-03-01", "", (2027, 3, 1), (2027, 3, 1)),
        ("202702", "01", (2027, 2, 1), (2027, 2, 28)),
        ("202702", "", (2027, 2, 1), (2027, 2, 28)),
        # Real files declare a day and write a year or a period.
        ("2027", "00", (2027, 1, 1), (2027, 12, 31)),
        ("2020010120200131", "00", (2020, 1, 1), (2020, 1, 31)),
        ("202701", "02", (2027, 1, 4), (2027, 1, 10)),
        ("20274", "03", (2027, 10, 1), (2027, 12, 31)),
        ("2027", "05", (2027, 1, 1), (2027, 12, 31)),
        ("2020010120200131", "06", (2020, 1, 1), (2020, 1, 31)),
        ("202001202002", "07", (2020, 1, 1), (2020, 2, 29)),
        ("20202021", "11", (2020, 1, 1), (2021, 12, 31)),
        ("20270301T1030", "13", (2027, 3, 1), (2027, 3, 1)),
        ("20270301T103000", "14", (2027, 3, 1), (2027, 3, 1)),
        ("20270301T103000Z", "14", (2027, 3, 1), (2027, 3, 1)),
    ],
)
@pytest.mark.parametrize("as_attribute", [True, False])
def test_a_date_is_read_in_every_format(text, form, first, last, as_attribute):
    inside = (
        f'<Date dateformat="{form}">{text}</Date>'
        if as_attribute and form
        else f"<DateFormat>{form}</DateFormat><Date>{text}</Date>"
    )

    found = limits.period_of(etree.fromstring(f"<PriceDate>{inside}</PriceDate>"))

    assert found == Period(date(*first), date(*last))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("20270230", "00"),
        ("202713", "01"),
        ("202700", "01"),
        ("202755", "02"),
        ("20275", "03"),
        ("20271", "04"),
        ("0000", "05"),
        ("2020013120200101", "06"),
        ("March 2027", "12"),
        ("14481001", "20"),
        ("20270301", "77"),
        ("٢٠٢٧٠٣٠١", "00"),
        ("", "00"),
        ("9" * 10_000, "05"),
    ],
)
def test_a_date_that_cannot_be_read_is_no_date(text, form):
    element = etree.fromstring(f'<PriceDate><Date dateformat="{form}">{text}</Date></PriceDate>')

    assert limits.period_of(element) is None


@pytest.mark.parametrize(
    ("first", "last", "iso"),
    [
        ((2027, 1, 1), (2027, 12, 31), "2027"),
        ((2027, 3, 1), (2027, 3, 31), "2027-03"),
        ((2027, 3, 1), (2027, 3, 1), "2027-03-01"),
        ((2027, 4, 1), (2027, 6, 30), "2027-04"),
        ((2027, 1, 4), (2027, 1, 10), "2027-01-04"),
    ],
)
def test_a_period_is_written_as_exactly_as_it_is_known(first, last, iso):
    assert Period(date(*first), date(*last)).iso == iso


@pytest.mark.parametrize(
    ("country", "languages"),
    [("DE", ["de", "en"]), ("AT", ["de", "en"]), ("GB", ["en", "de"]), ("JP", ["en", "de"])],
)
def test_the_languages_of_the_country_come_first(country, languages):
    assert shop(country).languages == languages


def elements_read() -> set[str]:
    """The names of elements in calls that read them, in all modules of the package."""
    names: set[str] = set()
    for path in FOLDER.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call):
                function = getattr(call.func, "attr", getattr(call.func, "id", ""))
                if function in READING:
                    paths = [it.value for it in call.args if isinstance(it, ast.Constant)]
                    names |= {name for path in paths for name in str(path).split("/")}
    return {name for name in names if name[:1].isupper()} | NAMED_ELSEWHERE


def test_every_element_that_is_read_has_its_short_tag():
    names = elements_read()

    assert len(names) > 50
    assert sorted(names - {*code_lists.LONG_NAMES.values()}) == []
