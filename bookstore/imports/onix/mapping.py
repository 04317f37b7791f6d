"""Map one ONIX product to the fields of a book.

The elements have reference names without namespaces here (`reader.py` renames them).  Each group
of elements has its own function.
"""

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

from bookstore.catalogue.validation import Contribution
from bookstore.imports.onix import code_lists as codes
from bookstore.imports.onix import limits, prices, rights, texts
from bookstore.imports.onix.elements import InvalidRecord, plain, sequence, text_of
from bookstore.imports.onix.limits import Shop

_YEAR = re.compile(r"[0-9]{4}")
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
    "on_sale_from": "PublishingDate",
    "language": "LanguageCode",
    "format": "ProductForm",
    "pages": "ExtentValue",
    "price_cents": "PriceAmount",
}


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


def read(
    product: Any, whole: bool, defaults: Mapping[str, str], shop: Shop
) -> tuple[dict[str, Any], list[str]]:
    """The fields that the record sets, and remarks for the report.

    A complete record sets every field; an update sets the fields of the blocks that it contains.
    Authors, price and categories are never cleared because they are missing.  Only facts that
    apply to the store are read (see `limits`).

    Raises:
        InvalidRecord: a value is invalid or ambiguous.
    """
    facts: dict[str, Any] = {}
    remarks = [
        f"Unknown code of a country or region: {it}." for it in limits.unknown_places(product)
    ]
    blocks = {
        name: etree.Element(name) if block is None and whole else block
        for name in ("DescriptiveDetail", "CollateralDetail", "PublishingDetail")
        for block in [product.find(name)]
    }
    if (block := blocks["DescriptiveDetail"]) is not None:
        described, more = _descriptive_detail(block, shop)
        facts |= described
        remarks += more
    if (block := blocks["CollateralDetail"]) is not None:
        facts["description"], more = texts.description(block, defaults, shop)
        remarks += more
    if (block := blocks["PublishingDetail"]) is not None:
        facts |= _publishing_detail(block)
    if block is not None or rights.has_dates(product, shop):
        facts["on_sale_from"], more = rights.on_sale_from(product, shop)
        remarks += more
    cents, more = prices.read(product, defaults, shop)
    if cents is not None:
        facts["price_cents"] = cents
    return facts, [*rights.remarks(product, shop), *remarks, *more]


def _descriptive_detail(block: Any, shop: Shop) -> tuple[dict[str, Any], list[str]]:
    language = _language(block)
    spoken = limits.language_tag(language or "")
    title, subtitle, remarks = texts.title(block, shop, spoken)
    facts: dict[str, Any] = {
        "title": title,
        "subtitle": subtitle,
        "format": _form(block),
        "language": language,
        "pages": _pages(block),
    }
    if contributions := _contributions(block):
        facts["authors"] = contributions
    if categories := _categories(block, shop):
        facts["categories"] = categories
    return {name: value for name, value in facts.items() if name != "title" or value}, remarks


def _contributions(block: Any) -> list[Contribution]:
    if block.find("NoContributor") is not None:
        return [Contribution("Anonymous")]
    found = []
    for each in sorted(block.findall("Contributor"), key=sequence):
        if name := _contributor_name(each):
            for code in map(plain, each.findall("ContributorRole")):
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


def _categories(block: Any, shop: Shop) -> list[str]:
    """The categories of the subjects, those of main subjects first."""
    subjects = block.findall("Subject")
    subjects.sort(key=lambda each: each.find("MainSubject") is None)
    names = (_category(each, shop) for each in subjects)
    return list(dict.fromkeys(name for name in names if name))


def _category(subject: Any, shop: Shop) -> str:
    scheme = text_of(subject, "SubjectSchemeIdentifier")
    if scheme in codes.NO_CATEGORY:
        return ""
    code = text_of(subject, "SubjectCode").upper()
    if category := _by_prefix(codes.CATEGORIES_BY_SCHEME.get(scheme, {}), code):
        return category
    # An unknown scheme: use the heading, and of a path its last part.
    headings = limits.in_best_language(subject.findall("SubjectHeadingText"), shop.languages)
    heading = plain(headings[0]) if headings else ""
    return re.split(r"[/:;>]", heading)[-1].strip()


def _by_prefix(meanings: Mapping[str, str], code: str) -> str | None:
    """The meaning of the longest prefix of the code that has one."""
    prefixes = (code[:length] for length in range(len(code), 0, -1))
    return next((meanings[prefix] for prefix in prefixes if prefix in meanings), None)


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
