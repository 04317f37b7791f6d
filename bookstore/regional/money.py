"""Amounts of money: integers in the smallest unit of their currency.

That is a cent of a euro, but a whole yen, and a thousandth of a Kuwaiti dinar.  Names such as
`price_cents` mean this unit in every currency.  The number of decimals is that of CLDR (babel).
"""

import re
from contextvars import ContextVar
from decimal import Decimal
from functools import cache

from babel.numbers import get_currency_precision

_store: ContextVar[str] = ContextVar("currency", default="EUR")

_AMOUNT = re.compile(r"([0-9]{1,9})(?:[.,]([0-9]{1,6}))?")


def store_currency() -> str:
    """The currency of the store that handles the current request."""
    return _store.get()


def set_store_currency(currency: str) -> None:
    """Use this currency until the current asyncio task ends."""
    _store.set(currency)


@cache
def decimals(currency: str) -> int:
    """How many decimals an amount has: 2 for EUR, 0 for JPY, 3 for KWD."""
    return get_currency_precision(currency)


def amount(units: int, currency: str) -> Decimal:
    """The amount as it is written: 1290 is 12.90 euros, or 1290 yen."""
    return Decimal(units).scaleb(-decimals(currency))


def plain(units: int, currency: str | None = None) -> str:
    """The amount for a field or a file: 12.90, or 1290."""
    return f"{amount(units, currency or store_currency()):f}"


def example(currency: str | None = None) -> str:
    """A usual price, for messages: 12.90, 1290 or 12.900."""
    places = decimals(currency or store_currency())
    return plain(1290 * 10**places // 100 if places else 1290, currency)


def units(whole: str, fraction: str | None, currency: str | None = None) -> int:
    """The amount with these digits before and after the decimal separator.

    Raises:
        ValueError: the currency has fewer decimals.
    """
    places = decimals(currency or store_currency())
    fraction = fraction or ""
    if fraction[places:].strip("0"):
        raise ValueError(f"more than {places} decimals")
    return int(whole + fraction[:places].ljust(places, "0"))


def parse(text: str, currency: str | None = None) -> int:
    """The amount that somebody typed, with a point or a comma.

    Raises:
        ValueError: it is no amount of the currency.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError("no amount")
    return units(found[1], found[2], currency)
