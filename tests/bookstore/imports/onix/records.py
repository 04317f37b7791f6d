"""Single ONIX records, and what the reader makes of them."""

import io
from datetime import date
from typing import Any

from bookstore.imports.entries import BookEntry, Refusal
from bookstore.imports.onix import reader
from bookstore.imports.onix.limits import Shop

ISBN = "9780441172719"
TODAY = date(2026, 11, 25)
SHOP = Shop("DE", "EUR", TODAY)


def nested(**children: Any) -> str:
    return "".join(f"<{name}>{text}</{name}>" for name, text in children.items())


def territory(countries: str = "", **more: str) -> str:
    inside = nested(CountriesIncluded=countries) if countries else ""
    return f"<Territory>{inside}{nested(**more)}</Territory>"


def dated(role: str, text: str, form: str = "00", tag: str = "PriceDate") -> str:
    return f"<{tag}>{nested(**{f'{tag}Role': role, 'DateFormat': form, 'Date': text})}</{tag}>"


def price(amount: str, *, kind: str = "04", currency: str = "EUR", more: str = "") -> str:
    type_ = nested(PriceType=kind) if kind else ""
    return f"<Price>{type_}{nested(PriceAmount=amount, CurrencyCode=currency)}{more}</Price>"


def unpriced(code: str, more: str = "") -> str:
    return f"<Price>{nested(UnpricedItemType=code)}{more}</Price>"


def supply(*inside: str, market: str = "", publishing: str = "") -> str:
    """A `ProductSupply`; `market` is the content of its `Market`."""
    parts = [f"<Market>{market}</Market>" if market else ""]
    parts += [
        f"<MarketPublishingDetail>{publishing}</MarketPublishingDetail>" if publishing else ""
    ]
    detail = f"<SupplyDetail>{''.join(inside)}</SupplyDetail>"
    return f"<ProductSupply>{''.join(parts)}{detail}</ProductSupply>"


def read_one(*blocks: str, shop: Shop = SHOP, kind: str = "03", header: str = "") -> Any:
    """The entry or the refusal of a record with these blocks."""
    product = (
        f"<Product>{nested(RecordReference='r.1', NotificationType=kind)}<ProductIdentifier>"
        f"{nested(ProductIDType='15', IDValue=ISBN)}</ProductIdentifier>{''.join(blocks)}</Product>"
    )
    text = f'<ONIXMessage release="3.0"><Header>{header}</Header>{product}</ONIXMessage>'
    [entry] = reader.read_records(io.BytesIO(text.encode()), shop)
    assert isinstance(entry, (BookEntry, Refusal))
    return entry


def said(entry: BookEntry) -> str:
    """All that the report says about an entry."""
    return " ".join(entry.remarks)
