"""The retail price of today for the country of the store, chosen among all prices of a record.

A price is left out if it does not apply to the store: to its country, to today, to a single copy
that any customer buys for good, including tax, in its currency.  Of the rest the one applies that
names the country most exactly; then the preferred type (`code_lists.PRICE_TYPES`); then one with
dates before one without, and the one that began last.  The report names what was left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from bookstore.imports.onix import code_lists as codes
from bookstore.imports.onix import limits
from bookstore.imports.onix.elements import InvalidRecord, text_of
from bookstore.imports.onix.limits import ALWAYS, Period, Reach, Shop
from bookstore.regional import money

#: Prices that a report names; a record of a large publisher has a price for each country.
_NAMED = 5


class _Price(NamedTuple):
    """A price that applies to the store, in the order of preference."""

    reach: Reach
    #: Higher for a preferred type.
    preference: int
    limited: bool
    begins: date
    amount: str


@dataclass(slots=True)
class _Prices:
    """What a record says about prices."""

    applicable: list[_Price] = field(default_factory=list)
    free: bool = False
    #: The prices that were left out, each with the reason.
    left_out: Counter[str] = field(default_factory=Counter)


def read(product: Any, defaults: Mapping[str, str], shop: Shop) -> tuple[int | None, list[str]]:
    """The price in cents, None if none applies, and sentences for the report.

    Raises:
        InvalidRecord: equally preferred prices differ, or one is not an amount.
    """
    prices = _Prices()
    for element, supply in _elements(product):
        _sort_in(prices, element, supply, defaults, shop)
    if prices.applicable:
        amount = _preferred(prices, shop)
        rest = _listed(prices.left_out)
        return _units(amount, shop.currency), [
            f"Of several prices {amount} applies; not used: {rest}."
        ] if rest else []
    if prices.free:
        return 0, ["It is free of charge."]
    if rest := _listed(prices.left_out):
        where = f"in {shop.currency} for {shop.country} on {shop.today.isoformat()}"
        return None, [f"It has no price {where}; not used: {rest}."]
    supplied = product.find("ProductSupply/SupplyDetail") is not None
    return None, [f"It has no price in {shop.currency}."] if supplied else []


def _elements(product: Any) -> Iterator[tuple[Any, Any]]:
    """Each price, or supply without a price, with its `ProductSupply`."""
    for supply in product.findall("ProductSupply"):
        for detail in supply.findall("SupplyDetail"):
            prices = detail.findall("Price")
            unpriced = [detail] if detail.find("UnpricedItemType") is not None else []
            for element in prices or unpriced:
                yield element, supply


def _sort_in(
    prices: _Prices, element: Any, supply: Any, defaults: Mapping[str, str], shop: Shop
) -> None:
    amount = text_of(element, "PriceAmount")
    unpriced = text_of(element, "UnpricedItemType")
    currency = text_of(element, "CurrencyCode") or defaults.get("DefaultCurrencyCode", "")
    if amount and currency != shop.currency:
        prices.left_out[f"{amount} ({currency or 'no currency'})"] += 1
        return
    kind = text_of(element, "PriceType") or defaults.get("DefaultPriceType", "")
    period = limits.validity(element, "PriceDate", codes.DATE_LIMITS)
    reason = (
        _place_reason(element, supply, shop)
        or _time_reason(period, shop)
        or _condition_reason(element)
        or (_type_reason(kind) if amount else _unpriced_reason(unpriced))
    )
    if reason:
        prices.left_out[f"{amount or 'a price'} ({reason})"] += 1
    elif not amount:
        prices.free = True
    else:
        market = limits.best_reach(supply.findall("Market"), shop)
        prices.applicable.append(
            _Price(
                reach=max(market, limits.reach(element, shop)),
                preference=-codes.PRICE_TYPES.index(kind),
                limited=period != ALWAYS,
                begins=period.first if period else date.min,
                amount=amount,
            )
        )


def _preferred(prices: _Prices, shop: Shop) -> str:
    """The amount of the preferred price; the amounts of the others are added to `left_out`.

    Raises:
        InvalidRecord: equally preferred prices differ.
    """
    best = max(prices.applicable)
    equal = [price for price in prices.applicable if price[:-1] == best[:-1]]
    amounts = list(dict.fromkeys(price.amount for price in equal))
    if len({_units(amount, shop.currency) for amount in amounts}) > 1:
        reason = f"There are several prices in {shop.currency}."
        raise InvalidRecord("PriceAmount", ", ".join(amounts), reason)
    others = [price.amount for price in prices.applicable if price not in equal]
    prices.left_out.update(f"{amount} (less exact)" for amount in others)
    return amounts[0]


def _place_reason(element: Any, supply: Any, shop: Shop) -> str:
    markets = supply.findall("Market")
    if not limits.best_reach(markets, shop):
        return f"market {', '.join(filter(None, map(limits.described, markets)))}"
    if not limits.reach(element, shop):
        return f"territory {limits.described(element) or 'unknown'}"
    return ""


def _time_reason(period: Period | None, shop: Shop) -> str:
    if period is None:
        return "unknown date"
    if period.first > shop.today:
        return f"from {period.first.isoformat()}"
    if period.last < shop.today:
        return f"until {period.last.isoformat()}"
    return ""


def _condition_reason(element: Any) -> str:
    """Why the price is not that of one copy for every customer; blank if it is."""
    qualifier = text_of(element, "PriceQualifier")
    if qualifier not in codes.GENERAL_QUALIFIERS:
        return f"qualifier {qualifier}"
    least = text_of(element, "MinimumOrderQuantity") or "1"
    if least != "1":
        return f"from {least} copies"
    if text_of(element, "PricePer") not in codes.PER_COPY:
        return "not for a whole copy"
    for tag, free in (
        ("PriceCondition", codes.NO_CONDITIONS),
        ("PriceConstraint", codes.NO_CONSTRAINTS),
    ):
        for each in element.findall(tag):
            if (code := text_of(each, f"{tag}Type")) not in free:
                meaning = codes.CONDITIONS.get(code, "") if tag == "PriceCondition" else ""
                return meaning or f"{tag.removeprefix('Price').lower()} {code}"
    return ""


def _type_reason(kind: str) -> str:
    if kind in codes.PRICE_TYPES:
        return ""
    if not kind:
        return "no type, so it is unknown whether it includes tax"
    if kind in codes.UNTAXED_PRICE_TYPES:
        return f"type {kind}, which excludes tax"
    return f"type {kind}, which is no retail price"


def _unpriced_reason(code: str) -> str:
    if code == codes.FREE_OF_CHARGE:
        return ""
    if not code:
        return "no amount"
    return codes.UNPRICED.get(code, f"unknown code {code} of an item without a price")


def _listed(left_out: Counter[str]) -> str:
    names = list(left_out)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _units(amount: str, currency: str) -> int:
    try:
        return money.parse(amount, currency)
    except ValueError:
        example = money.example(currency)
        reason = f"A price in {currency} is a number like {example}."
        raise InvalidRecord("PriceAmount", amount, reason) from None
