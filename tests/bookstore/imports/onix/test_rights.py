"""Status, sales rights and dates: whether and from when the store may sell a book."""

import pytest

from bookstore.imports.entries import EntryAction, Refusal
from tests.bookstore.imports.onix.records import nested, price, read_one, said, supply, territory

WORLD = territory(RegionsIncluded="WORLD")


def published(*inside):
    return f"<PublishingDetail>{''.join(inside)}</PublishingDetail>"


def right(kind, where):
    return f"<SalesRights>{nested(SalesRightsType=kind)}{where}</SalesRights>"


def day(role, text, form="00", tag="PublishingDate"):
    return f'<{tag}>{nested(**{f"{tag}Role": role})}<Date dateformat="{form}">{text}</Date></{tag}>'


@pytest.mark.parametrize(
    ("rights", "sold"),
    [
        ([right("01", WORLD)], True),
        ([right("02", territory("AT DE"))], True),
        ([right("01", territory("US"))], True),
        ([right("03", territory("DE"))], False),
        ([right("04", territory("DE")), right("01", WORLD)], False),
        ([right("01", WORLD), right("06", territory("DE AT"))], False),
        ([right("06", WORLD), right("01", territory("DE"))], True),
        ([right("03", territory("US CA"))], True),
        ([right("03", territory(RegionsIncluded="WORLD", CountriesExcluded="US"))], False),
        ([right("01", territory("US")), nested(ROWSalesRightsType="03")], False),
        ([right("01", territory("US")), nested(ROWSalesRightsType="00")], True),
        ([right("05", territory("DE")), right("01", territory("DE"))], False),
    ],
)
def test_sales_rights_count_in_the_country_of_the_store(rights, sold):
    found = read_one(published(*rights))

    assert found.action is (EntryAction.UPSERT if sold else EntryAction.WITHDRAW)
    assert ("not for sale in DE" in said(found)) is not sold


def test_an_unknown_code_of_sales_rights_is_reported():
    assert "Sales rights in DE: unknown code 77" in said(read_one(published(right("77", WORLD))))


@pytest.mark.parametrize(
    ("where", "status", "sold"),
    [
        ("DE", "11", False),
        ("DE", "12", False),
        ("US", "11", True),
        ("DE", "04", True),
        ("DE", "00", True),
    ],
)
def test_the_status_in_the_market_of_the_store_counts(where, status, sold):
    market = supply(market=territory(where), publishing=nested(MarketPublishingStatus=status))

    found = read_one(published(nested(PublishingStatus="04")), market)

    assert found.action is (EntryAction.UPSERT if sold else EntryAction.WITHDRAW)


def test_the_availability_in_another_market_is_not_reported():
    found = read_one(
        supply(nested(ProductAvailability="20"), market=territory("US")),
        supply(nested(ProductAvailability="31"), market=territory("DE")),
        supply(nested(ProductAvailability="88")),
    )

    assert "out of stock" in said(found)
    assert "available." not in said(found)
    assert "unknown code 88" in said(found)


def test_an_unknown_status_is_reported():
    found = read_one(published(nested(PublishingStatus="66")))

    assert "Publishing status: unknown code 66." in found.remarks


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ([day("01", "20270301")], "2027-03-01"),
        ([day("01", "202703", "01")], "2027-03"),
        ([day("01", "202703")], "2027-03"),
        ([day("01", "2027", "05")], "2027"),
        ([day("01", "20270301"), day("02", "20270310")], "2027-03-10"),
        ([day("02", "20270310"), day("01", "20270301")], "2027-03-10"),
        # An embargo decides also when it ends before the nominal publication date.
        ([day("01", "20270401"), day("02", "20270310")], "2027-03-10"),
        # It ends on the last day that its date can mean.
        ([day("02", "202703", "01")], "2027-03-31"),
        ([day("33", "20270315"), day("02", "20270310")], "2027-03-15"),
        ([day("01", "19650801")], "1965-08-01"),
        ([day("11", "20270301"), day("27", "20270301")], None),
        ([day("01", "Spring 2027", "12")], None),
    ],
)
def test_the_date_before_which_a_book_is_not_sold(dates, expected):
    assert read_one(published(*dates)).facts["on_sale_from"] == expected


def test_the_date_of_the_store_s_market_comes_first():
    for_us = supply(market=territory("US"), publishing=day("01", "20260101", tag="MarketDate"))
    for_us_too = supply(market=territory("DE"), publishing=day("01", "20270401", tag="MarketDate"))
    general = published(day("01", "20270301"))

    assert read_one(general, for_us).facts["on_sale_from"] == "2027-03-01"
    assert read_one(general, for_us, for_us_too).facts["on_sale_from"] == "2027-04-01"
    assert read_one(for_us_too, kind="04").facts["on_sale_from"] == "2027-04-01"


def test_an_update_without_dates_keeps_them():
    assert "on_sale_from" not in read_one(supply(price("5.00")), kind="04").facts


def test_an_embargo_that_cannot_be_read_is_refused():
    refusal = read_one(published(day("02", "Easter", "12")))

    assert isinstance(refusal, Refusal)
    assert (refusal.column, refusal.value) == ("PublishingDate", "Easter")


def test_a_coming_date_is_reported():
    assert "Publication date: 2027-03." in said(read_one(published(day("01", "202703", "01"))))
    assert "The embargo ends on 2027-03-10" in said(read_one(published(day("02", "20270310"))))
