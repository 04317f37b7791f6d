import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookstore.errors import NotDelivered
from bookstore.pricing import CountryTable, Rates, totals

HOME = Rates("EUR", 290, 4000, 700)
AUSTRIA = Rates("EUR", 490, 6000, 1000)
TABLE = CountryTable(HOME, {"AT": AUSTRIA, "CU": None}, HOME)

lines = st.lists(st.tuples(st.integers(1, 99), st.integers(0, 10_000_000)), max_size=20)
rates = st.builds(
    Rates,
    currency=st.just("EUR"),
    shipping_cents=st.integers(0, 100_000),
    free_shipping_from_cents=st.integers(0, 10_000_000),
    tax_basis_points=st.integers(0, 10_000),
)


@given(lines, rates)
def test_the_total_includes_the_tax(items, tax_rates):
    it = totals(items, tax_rates)

    assert it.total_cents == it.subtotal_cents - it.discount_cents + it.shipping_cents
    assert it.subtotal_cents == sum(quantity * cents for quantity, cents in items)
    net = it.total_cents - it.tax_cents
    # The tax equals the rate times the net amount, rounded to the cent.
    assert abs(net * tax_rates.tax_basis_points - it.tax_cents * 10_000) <= 10_000 + (
        tax_rates.tax_basis_points
    )
    assert 0 <= it.tax_cents <= it.total_cents


@pytest.mark.parametrize(
    ("subtotal", "tax_rates", "shipping", "tax"),
    [
        (0, HOME, 0, 0),
        (1000, HOME, 290, 84),
        (3999, HOME, 290, 281),
        (4000, HOME, 0, 262),
        (4000, AUSTRIA, 490, 408),
        (6000, AUSTRIA, 0, 545),
        (1000, Rates("CHF", 0, 0, 260), 0, 25),
    ],
)
def test_shipping_is_free_from_a_subtotal(subtotal, tax_rates, shipping, tax):
    it = totals([(1, subtotal)] if subtotal else [], tax_rates)

    assert (it.shipping_cents, it.tax_cents) == (shipping, tax)


def test_the_rates_depend_on_the_country():
    assert TABLE.rates_for("AT") is AUSTRIA
    assert TABLE.rates_for("DE") is HOME
    assert [TABLE.excludes(country) for country in ("AT", "DE", "CU")] == [False, False, True]
    with pytest.raises(NotDelivered):
        TABLE.rates_for("CU")


def test_a_store_may_ship_only_to_the_countries_of_its_table():
    table = CountryTable(HOME, {"AT": AUSTRIA}, None)

    assert table.rates_for("AT") is AUSTRIA
    assert table.excludes("DE")
    with pytest.raises(NotDelivered):
        table.rates_for("DE")
