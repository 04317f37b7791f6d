"""Prices of carts and orders: pure functions, integer cents.

Prices include tax, as shops in Europe must show them.  The tax is shown but not added:

    total = subtotal - discount + shipping

The shipping cost and the tax rate depend on the destination country.  The store sells only books,
so its tax rates are those for books, which most countries have reduced.  Shipping is taxed at the
rate of the shipped items.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from bookstore.errors import NotDelivered


class Tariff(Protocol):
    """The shipping and tax rates of every country."""

    def rates_for(self, country: str) -> "Rates":
        """The rates for shipments to this country (ISO 3166-1 alpha-2).

        Raises:
            NotDelivered: the store does not ship there.
        """


@dataclass(frozen=True, slots=True)
class Rates:
    """Shipping and tax rates.  An order stores the rates that were valid when it was placed."""

    currency: str
    shipping_cents: int
    #: Shipping is free for subtotals from this amount.
    free_shipping_from_cents: int
    #: In basis points, which are hundredths of a per cent: 700 is 7 %.
    tax_basis_points: int

    def rates_for(self, country: str) -> "Rates":
        """These rates for every country: the tariff of a store without a table of countries."""
        return self

    @classmethod
    def of_json(cls, terms: Mapping[str, Any]) -> "Rates":
        """The rates that are stored with an order; parts of a newer release are ignored."""
        return cls(**{field.name: terms[field.name] for field in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CountryTable:
    """A tariff that differs by country; None means that the store does not ship there."""

    #: Shown until the customer chooses a country.
    home: Rates
    countries: Mapping[str, Rates | None]
    #: For countries that are not in the table.
    others: Rates | None

    def rates_for(self, country: str) -> Rates:
        rates = self.countries.get(country, self.others)
        if rates is None:
            raise NotDelivered(country)
        return rates

    def excludes(self, country: str) -> bool:
        """Whether the store does not ship to this country."""
        return self.countries.get(country, self.others) is None


@dataclass(frozen=True, slots=True)
class Totals:
    """The amount to pay and its parts."""

    subtotal_cents: int
    discount_cents: int
    shipping_cents: int
    tax_cents: int
    total_cents: int


def totals(lines: Iterable[tuple[int, int]], rates: Rates) -> Totals:
    """The totals of lines of `(quantity, unit_price_cents)`.

    A subtotal of 0, as that of an empty cart, has no shipping cost.
    """
    subtotal = sum(quantity * price for quantity, price in lines)
    shipping = (
        0 if subtotal == 0 or subtotal >= rates.free_shipping_from_cents else rates.shipping_cents
    )
    total = subtotal + shipping
    return Totals(
        subtotal_cents=subtotal,
        discount_cents=0,
        shipping_cents=shipping,
        tax_cents=_tax_within(total, rates.tax_basis_points),
        total_cents=total,
    )


def _tax_within(total_cents: int, basis_points: int) -> int:
    """The tax included in a gross amount, rounded half up."""
    divisor = 10_000 + basis_points
    return (2 * total_cents * basis_points + divisor) // (2 * divisor)
