"""What a cart or an order costs: pure functions, integer cents.

Prices contain the tax, as shops in Europe must show them; the tax is told, not added:

    total = subtotal - discount + shipping

What delivery costs and which tax the prices contain goes by the country that the parcel goes
to.  A store sells books, so its rates are those for books, which most countries have reduced;
delivery is taxed like what it delivers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bookstore.errors import NotDelivered


class Tariff(Protocol):
    """The rules for every country."""

    def to(self, country: str) -> "Rates":
        """The rules for parcels to this country (ISO 3166-1 alpha-2).

        Raises:
            NotDelivered: no parcel goes there.
        """


@dataclass(frozen=True, slots=True)
class Rates:
    """The rules of one moment.  An order keeps those of the moment it was placed."""

    currency: str
    shipping_cents: int
    #: A subtotal from here on is delivered free of charge.
    free_shipping_from_cents: int
    #: Hundredths of a per cent: 700 is 7 %.
    tax_basis_points: int

    def to(self, country: str) -> "Rates":
        """The same rules everywhere: the tariff of a store without a table of countries."""
        return self

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CountryTable:
    """A tariff that differs by country; None stands where no parcel goes."""

    #: What is shown as long as no country is chosen.
    home: Rates
    countries: Mapping[str, Rates | None]
    #: For countries that are not in the table.
    others: Rates | None

    def to(self, country: str) -> Rates:
        rates = self.countries.get(country, self.others)
        if rates is None:
            raise NotDelivered(country)
        return rates

    def refuses(self, country: str) -> bool:
        """Whether no parcel goes there."""
        return self.countries.get(country, self.others) is None


@dataclass(frozen=True, slots=True)
class Totals:
    """What is to be paid, and what it is made of."""

    subtotal_cents: int
    discount_cents: int
    shipping_cents: int
    tax_cents: int
    total_cents: int


def totals(lines: Iterable[tuple[int, int]], rates: Rates) -> Totals:
    """The sums over `(quantity, unit_price_cents)`; without any lines nothing is shipped."""
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
    """The tax that a gross amount contains, rounded half up."""
    divisor = 10_000 + basis_points
    return (2 * total_cents * basis_points + divisor) // (2 * divisor)
