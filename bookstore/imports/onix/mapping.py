"""Map one ONIX product to the fields of a book.

The elements have reference names without namespaces here (`reader.py` renames them).  Each group
of elements has its own function.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from html.entities import html5
from typing import Any

from lxml import etree

from bookstore.catalogue.validation import Contribution
from bookstore.imports.entries import shorten
from bookstore.imports.onix import code_lists as codes

_PRICE = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2})0*)?")
_YEAR = re.compile(r"[0-9]{4}")
#: XHTML elements after which a line ends.
_BREAKS = {"p", "br", "li", "div", "ul", "ol", "dd", "dt"}
#: The ONIX elements of the fields, which refusals name.
ELEMENTS = {
    "isbn13": "ProductIdentifier",
    "title": "TitleText",
    "subtitle": "Subtitle",
    "authors": "Contributor",
    "categories": "Subject",
    "description": "Text",
    "publisher": "PublisherName",
    "year": "PublishingDate",
    "language": "LanguageCode",
    "format": "ProductForm",
    "pages": "ExtentValue",
    "price_cents": "PriceAmount",
}
#: Sort key of elements without a sequence number: after all others.
_LAST = 1 << 30


class InvalidRecord(Exception):
    """A record that cannot be imported: `column` is the element at fault, `value` its content."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.value = shorten(value)


def text_of(element: Any, path: str) -> str:
    """The text of the first element at this path; blank when there is none."""
    found = element.find(path)
    return "" if found is None else _text(found)


def _text(element: Any) -> str:
    """The text of an element without markup and with single spaces."""
    return " ".join("".join(_plain_text(element)).split())


def isbn_of(product: Any) -> str:
    """The ISBN of the product as the record spells it.

    Raises:
        InvalidRecord: no identifier is an ISBN.
    """
    found = {
        text_of(each, "ProductIDType"): text_of(each, "IDValue")
        for each in reversed(product.findall("ProductIdentifier"))
    }
    for kind in codes.ISBN_TYPES:
        if found.get(kind):
            return found[kind]
    raise InvalidRecord("ProductIdentifier", " ".join(found.values()), "The record has no ISBN.")


def status_of(product: Any) -> str:
    """The code of the publishing status (list 64); blank when the record has none."""
    return text_of(product, "PublishingDetail/PublishingStatus")


def read(
    product: Any, whole: bool, defaults: Mapping[str, str], currency: str, today: date
) -> tuple[dict[str, Any], list[str]]:
    """The fields that the record sets, and remarks for the report.

    A complete record sets every field; an update sets the fields of the blocks that it contains.
    Authors, price and categories are never cleared because they are missing.

    Raises:
        InvalidRecord: a value is invalid or ambiguous.
    """
    facts: dict[str, Any] = {}
    remarks: list[str] = []
    for tag, fields_of in _BLOCKS.items():
        block = product.find(tag)
        if block is not None:
            facts |= fields_of(block)
        elif whole:
            facts |= fields_of(etree.Element(tag))
    if status := codes.STATUSES.get(status_of(product)):
        remarks.append(f"Publishing status: {status}.")
    details = product.findall("ProductSupply/SupplyDetail")
    availabilities = dict.fromkeys(text_of(each, "ProductAvailability") for each in details)
    remarks += [
        f"Availability at the supplier: {codes.AVAILABILITIES[code]}."
        for code in availabilities
        if code in codes.AVAILABILITIES
    ]
    cents, remark = _price(details, defaults, currency, today)
    if cents is not None:
        facts["price_cents"] = cents
    remarks += [remark] if remark else []
    return facts, remarks


def _descriptive_detail(block: Any) -> dict[str, Any]:
    title, subtitle = _title(block)
    facts: dict[str, Any] = {
        "title": title,
        "subtitle": subtitle,
        "format": _form(block),
        "language": _language(block),
        "pages": _pages(block),
    }
    if contributions := _contributions(block):
        facts["authors"] = contributions
    if categories := _categories(block):
        facts["categories"] = categories
    return {name: value for name, value in facts.items() if name != "title" or value}


def _title(block: Any) -> tuple[str, str | None]:
    """Title and subtitle of the product; an untitled volume gets the title of its collection."""
    details = block.findall("TitleDetail")
    detail = next((each for each in details if text_of(each, "TitleType") == "01"), None)
    if detail is None:
        return "", None
    elements = sorted(detail.findall("TitleElement"), key=_sequence)
    own = [each for each in elements if text_of(each, "TitleElementLevel") == "01"]
    others = [each for each in elements if each not in own]
    name = next(filter(None, map(_name, [*own, *others])), "")
    parts = [text_of(each, "PartNumber") for each in own]
    subtitle = next(filter(None, (text_of(each, "Subtitle") for each in own)), None)
    return ", ".join(part for part in [name, *parts] if part) if name else "", subtitle


def _name(element: Any) -> str:
    if text := text_of(element, "TitleText"):
        return text
    prefix = text_of(element, "TitlePrefix")
    rest = text_of(element, "TitleWithoutPrefix")
    # A prefix with an apostrophe, such as "L'", is joined without a space.
    gap = "" if prefix.endswith(("'", "’")) else " "
    return f"{prefix}{gap}{rest}".strip() if rest else ""


def _contributions(block: Any) -> list[Contribution]:
    if block.find("NoContributor") is not None:
        return [Contribution("Anonymous")]
    found = []
    for each in sorted(block.findall("Contributor"), key=_sequence):
        if name := _contributor_name(each):
            for code in map(_text, each.findall("ContributorRole")):
                roles = codes.ROLES.get(code, codes.OTHER_ROLE)
                found += [Contribution(name, role) for role in roles]
    return found


def _contributor_name(element: Any) -> str:
    if name := text_of(element, "PersonName"):
        return name
    before = [text_of(element, tag) for tag in ("NamesBeforeKey", "PrefixToKey")]
    key = text_of(element, "KeyNames")
    after = [text_of(element, tag) for tag in ("NamesAfterKey", "SuffixToKey")]
    inverted = text_of(element, "PersonNameInverted")
    if key and (any(before) or any(after) or not inverted):
        return " ".join(part for part in [*before, key, *after] if part)
    if inverted:
        last, _, first = inverted.partition(",")
        return f"{first.strip()} {last.strip()}".strip()
    if name := text_of(element, "CorporateName"):
        return name
    return codes.UNNAMED.get(text_of(element, "UnnamedPersons"), "")


def _form(block: Any) -> str | None:
    code = text_of(block, "ProductForm")
    if code.startswith(codes.TRADE_ONLY):
        raise InvalidRecord("ProductForm", code, "This is material for shops and not for sale.")
    return _by_prefix(codes.FORMS, code)


def _language(block: Any) -> str | None:
    """The language of the text (role 01)."""
    for each in block.findall("Language"):
        if text_of(each, "LanguageRole") == "01":
            return text_of(each, "LanguageCode") or None
    return None


def _pages(block: Any) -> int | None:
    counts = {
        text_of(each, "ExtentType"): text_of(each, "ExtentValue")
        for each in block.findall("Extent")
        if text_of(each, "ExtentUnit") == codes.PAGE_UNIT
    }
    for kind in codes.PAGE_COUNT_TYPES:
        if (count := counts.get(kind, "")).isascii() and count.isdigit():
            return int(count[:9]) or None
    return None


def _categories(block: Any) -> list[str]:
    """The categories of the subjects, those of main subjects first."""
    subjects = block.findall("Subject")
    subjects.sort(key=lambda each: each.find("MainSubject") is None)
    names = (_category(each) for each in subjects)
    return list(dict.fromkeys(name for name in names if name))


def _category(subject: Any) -> str:
    scheme = text_of(subject, "SubjectSchemeIdentifier")
    if scheme in codes.NO_CATEGORY:
        return ""
    code = text_of(subject, "SubjectCode").upper()
    if category := _by_prefix(codes.CATEGORIES_BY_SCHEME.get(scheme, {}), code):
        return category
    # An unknown scheme: use the heading, and of a path its last part.
    heading = text_of(subject, "SubjectHeadingText")
    return re.split(r"[/:;>]", heading)[-1].strip()


def _by_prefix(meanings: Mapping[str, str], code: str) -> str | None:
    """The meaning of the longest prefix of the code that has one."""
    prefixes = (code[:length] for length in range(len(code), 0, -1))
    return next((meanings[prefix] for prefix in prefixes if prefix in meanings), None)


def _collateral_detail(block: Any) -> dict[str, Any]:
    contents = reversed(block.findall("TextContent"))
    texts = {text_of(each, "TextType"): each.find("Text") for each in contents}
    for kind in codes.DESCRIPTION_TYPES:
        if texts.get(kind) is not None and (html := _html(texts[kind])):
            return {"description": html}
    return {"description": None}


def _html(element: Any) -> str:
    """The text as HTML.  Plain text is escaped; markup is sanitised by the validation of books."""
    if element.get("textformat") in ("00", "06", "07"):
        return escape("".join(_plain_text(element)).strip(), quote=False)
    return "".join(_markup(element)).strip()


def _publishing_detail(block: Any) -> dict[str, Any]:
    """Publisher and year; without a publisher the imprint is used."""
    names = [
        text_of(each, "PublisherName")
        for each in block.findall("Publisher")
        if text_of(each, "PublishingRole") in ("", "01")
    ]
    names += [text_of(each, "ImprintName") for each in block.findall("Imprint")]
    dates = (
        text_of(each, "Date")
        for each in block.findall("PublishingDate")
        if text_of(each, "PublishingDateRole") == "01"
    )
    years = (found[0] for each in dates if (found := _YEAR.match(each)))
    year = next(years, None)
    return {
        "publisher": next((name for name in names if name), None),
        "year": int(year) if year else None,
    }


_BLOCKS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "DescriptiveDetail": _descriptive_detail,
    "CollateralDetail": _collateral_detail,
    "PublishingDetail": _publishing_detail,
}


def _price(
    details: Sequence[Any], defaults: Mapping[str, str], currency: str, today: date
) -> tuple[int | None, str | None]:
    """The retail price of today in cents, or a remark on why it is unknown.

    Raises:
        InvalidRecord: several prices of the preferred type differ, or one is not an amount.
    """
    by_type: dict[str, list[str]] = {}
    for price in (each for detail in details for each in detail.findall("Price")):
        in_currency = text_of(price, "CurrencyCode") or defaults.get("DefaultCurrencyCode")
        kind = text_of(price, "PriceType") or defaults.get("DefaultPriceType", "")
        amount = text_of(price, "PriceAmount")
        usable = _is_general(price) and _is_valid_on(price, today)
        if amount and in_currency == currency and usable:
            by_type.setdefault(kind, []).append(amount)
    for kind in codes.PRICE_TYPES:
        if cents := {_cents(amount) for amount in by_type.get(kind, [])}:
            if len(cents) > 1:
                amounts = ", ".join(dict.fromkeys(by_type[kind]))
                reason = f"There are several prices in {currency}."
                raise InvalidRecord("PriceAmount", amounts, reason)
            return cents.pop(), None
    if by_type.keys() & codes.UNTAXED_PRICE_TYPES:
        return None, f"Its prices in {currency} exclude tax and were ignored."
    return None, f"It has no price in {currency}." if details else None


def _is_general(price: Any) -> bool:
    least = text_of(price, "MinimumOrderQuantity") or "1"
    return text_of(price, "PriceQualifier") in codes.GENERAL_QUALIFIERS and least == "1"


def _is_valid_on(price: Any, today: date) -> bool:
    """Whether the price is valid today; its dates are "from" (role 14) and "until" (role 15)."""
    now = today.strftime("%Y%m%d")
    for each in price.findall("PriceDate"):
        day = text_of(each, "Date")[:8]
        role = text_of(each, "PriceDateRole")
        if (role == "14" and day > now) or (role == "15" and day < now[: len(day)]):
            return False
    return True


def _cents(amount: str) -> int:
    if not (parts := _PRICE.fullmatch(amount)):
        raise InvalidRecord("PriceAmount", amount, "A price is a number like 12.90.")
    return int(parts[1]) * 100 + int((parts[2] or "").ljust(2, "0"))


def _sequence(element: Any) -> int:
    number = text_of(element, "SequenceNumber")
    return int(number[:9]) if number.isascii() and number.isdigit() else _LAST


def _plain_text(element: Any) -> Iterator[str]:
    return _walk(element, lambda text: text, lambda _, inner: inner)


def _markup(element: Any) -> Iterator[str]:
    """The content of an element as HTML; markup that the sender has escaped is unescaped."""
    if len(element) == 0 or all(not isinstance(each.tag, str) for each in element):
        # Escaped markup or plain text.
        return _plain_text(element)

    def tagged(tag: str, inner: list[str]) -> list[str]:
        return [f"<{tag}>", *inner, f"</{tag}>"] if tag != "br" else ["<br>"]

    return _walk(element, lambda text: escape(text, quote=False), tagged)


def _walk(
    element: Any, plain: Callable[[str], str], tagged: Callable[[str, list[str]], list[str]]
) -> Iterator[str]:
    """The text of an element, including entities that libxml2 has left unresolved.

    `element.text` alone would silently end at the first such entity.

    Raises:
        InvalidRecord: an entity is unknown in HTML.
    """
    yield plain(element.text or "")
    for each in element:
        if isinstance(each, etree._Entity):
            if (char := html5.get(f"{each.name};")) is None:
                raise InvalidRecord(element.tag, f"&{each.name};", "This entity is unknown.")
            yield plain(char)
        elif isinstance(each.tag, str):
            yield from tagged(each.tag, list(_walk(each, plain, tagged)))
            if each.tag in _BREAKS:
                yield "\n"
        yield plain(each.tail or "")
