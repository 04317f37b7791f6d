"""Whether and from when the store may sell a book: status, sales rights and dates of its market."""

from collections.abc import Iterator
from typing import Any

from bookstore.imports.onix import code_lists as codes
from bookstore.imports.onix import limits
from bookstore.imports.onix.elements import InvalidRecord, plain, text_of
from bookstore.imports.onix.limits import Period, Reach, Shop


def markets(product: Any, shop: Shop) -> list[Any]:
    """The `ProductSupply` elements whose market contains the store, the most exact ones first."""
    found = [
        (limits.best_reach(each.findall("Market"), shop), each)
        for each in product.findall("ProductSupply")
    ]
    found.sort(key=lambda pair: -pair[0])
    return [each for reached, each in found if reached]


def withdrawal(product: Any, shop: Shop) -> str:
    """Why the store must not sell the book any longer; blank if it may.

    The status in the store's market decides; without one, the status of the publisher.
    """
    market_status = _market_status(product, shop)
    if market_status:
        reason = codes.WITHDRAWN_MARKET_STATUSES.get(market_status, "")
    else:
        status = text_of(product, "PublishingDetail/PublishingStatus")
        reason = codes.WITHDRAWN_STATUSES.get(status, "")
    if not reason and _right(product, shop) in codes.NOT_FOR_SALE:
        reason = f"it is not for sale in {shop.country}"
    return reason


def remarks(product: Any, shop: Shop) -> list[str]:
    """What the report says about the status, the rights and the availability in the market."""
    found = []
    status = _market_status(product, shop) or text_of(product, "PublishingDetail/PublishingStatus")
    if status and status not in codes.SILENT_STATUSES:
        meaning = codes.STATUSES.get(status, f"unknown code {status}")
        found.append(f"Publishing status: {meaning}.")
    right = _right(product, shop)
    if right and right not in codes.FOR_SALE | codes.NOT_FOR_SALE:
        found.append(f"Sales rights in {shop.country}: unknown code {right}.")
    availabilities = dict.fromkeys(
        plain(each)
        for market in markets(product, shop)
        for each in market.findall("SupplyDetail/ProductAvailability")
    )
    found += [
        f"Availability at the supplier: {codes.AVAILABILITIES.get(code, f'unknown code {code}')}."
        for code in availabilities
    ]
    return found


def on_sale_from(product: Any, shop: Shop) -> tuple[str | None, list[str]]:
    """From when the book may be sold, in ISO 8601 as exact as known, and remarks.

    An embargo ends on the last day that its date can mean.  Without an embargo the book is sold
    from the first day of its publication date.  Dates of the store's market override others.

    Raises:
        InvalidRecord: the end of an embargo cannot be read.
    """
    dates: dict[str, Any] = {}
    for role, element in _dates(product, shop):
        dates.setdefault(role, element)
    for role in codes.EMBARGO_ROLES:
        if role in dates:
            if (period := limits.period_of(dates[role])) is None:
                raise InvalidRecord(
                    "PublishingDate", text_of(dates[role], "Date"), "This embargo cannot be read."
                )
            return period.last.isoformat(), _date_remarks("The embargo ends on", period, shop)
    if codes.PUBLICATION_ROLE not in dates:
        return None, []
    element = dates[codes.PUBLICATION_ROLE]
    if (period := limits.period_of(element)) is None:
        return None, [f"Its publication date cannot be read: {text_of(element, 'Date')}."]
    return period.iso, _date_remarks("Publication date:", period, shop)


def has_dates(product: Any, shop: Shop) -> bool:
    """Whether the record says anything about dates of publication or embargo."""
    return any(True for _ in _dates(product, shop))


def _date_remarks(label: str, period: Period, shop: Shop) -> list[str]:
    shown = period.last.isoformat() if label.startswith("The embargo") else period.iso
    return [f"{label} {shown}."] if period.last > shop.today else []


def _dates(product: Any, shop: Shop) -> Iterator[tuple[str, Any]]:
    """The role of each date with its element, those of the store's market first."""
    for market in markets(product, shop):
        for each in market.findall("MarketPublishingDetail/MarketDate"):
            yield text_of(each, "MarketDateRole"), each
    for each in product.findall("PublishingDetail/PublishingDate"):
        yield text_of(each, "PublishingDateRole"), each


def _market_status(product: Any, shop: Shop) -> str:
    """The code of the status in the store's market; blank when it is not stated."""
    for market in markets(product, shop):
        status = text_of(market, "MarketPublishingDetail/MarketPublishingStatus")
        if status and status != "00":
            return status
    return ""


def _right(product: Any, shop: Shop) -> str:
    """The code of the sales right (list 46) in the store's country; blank when it is unknown."""
    best, code = Reach.NONE, ""
    for each in product.findall("PublishingDetail/SalesRights"):
        kind, reached = text_of(each, "SalesRightsType"), limits.reach(each, shop)
        # Of equally exact rights the one that forbids the sale decides.
        forbids = reached == best and kind in codes.NOT_FOR_SALE
        if reached > best or (reached and forbids):
            best, code = reached, kind
    return code or text_of(product, "PublishingDetail/ROWSalesRightsType")
