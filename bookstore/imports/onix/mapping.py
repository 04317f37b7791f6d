"""What one ONIX product says, in the fields of a draft.

Its elements have their long names and no namespaces when they come here (`onix.py`).  What
is about the same thing is read together, a function for each group of elements.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from html.entities import html5
from typing import Any

from lxml import etree

from bookstore.catalogue.validation import Contribution
from bookstore.imports.entries import shown
from bookstore.imports.onix import code_lists as codes

_PRICE = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2})0*)?")
_YEAR = re.compile(r"[0-9]{4}")
#: Elements of XHTML whose end is the end of a line or a word.
_BREAKS = {"p", "br", "li", "div", "ul", "ol", "dd", "dt"}
#: What sorts after everything that has a number.
_LAST = 1 << 30


class Unfit(Exception):
    """A record that cannot be taken: `column` is the element at fault, `value` what it says."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.value = shown(value)


def text_of(element: Any) -> str:
    """The words in an element, without its markup; blank for None."""
    return "" if element is None else " ".join("".join(_words(element)).split())


def isbn_of(product: Any) -> str:
    """The ISBN of the product, as it is spelled there.

    Raises:
        Unfit: no identifier says one.
    """
    found = {
        text_of(each.find("ProductIDType")): text_of(each.find("IDValue"))
        for each in reversed(product.findall("ProductIdentifier"))
    }
    for kind in codes.ISBN_TYPES:
        if found.get(kind):
            return found[kind]
    raise Unfit("ProductIdentifier", " ".join(found.values()), "The record names no ISBN.")


def status_of(product: Any) -> str:
    """The code of the publishing status (list 64), blank when it is not said."""
    return text_of(product.find("PublishingDetail/PublishingStatus"))


def read(
    product: Any, *, whole: bool, defaults: Mapping[str, str], currency: str, today: date
) -> tuple[dict[str, Any], list[str]]:
    """The fields that the record speaks about, and notes for the report.

    A whole record speaks about everything, others about the blocks that they have.  Three
    things are never taken away by silence: the authors, the price and the categories.

    Raises:
        Unfit: it says something that cannot be, or that could mean two things.
    """
    facts: dict[str, Any] = {}
    notes: list[str] = []
    block = product.find("DescriptiveDetail")
    if whole or block is not None:
        facts |= _described(_or_empty(block))
    block = product.find("CollateralDetail")
    if whole or block is not None:
        facts["description"] = _description(_or_empty(block))
    block = product.find("PublishingDetail")
    if whole or block is not None:
        facts |= _published(_or_empty(block))
        if status := codes.STATUSES.get(status_of(product)):
            notes.append(f"Publishing status: {status}.")
    details = product.findall("ProductSupply/SupplyDetail")
    availabilities = dict.fromkeys(text_of(each.find("ProductAvailability")) for each in details)
    notes += [
        f"Availability at the supplier: {codes.AVAILABILITIES[code]}."
        for code in availabilities
        if code in codes.AVAILABILITIES
    ]
    cents, note = _price(details, defaults, currency, today)
    if cents is not None:
        facts["price_cents"] = cents
    notes += [note] if note else []
    return facts, notes


def _or_empty(block: Any) -> Any:
    return etree.Element("nothing") if block is None else block


def _described(block: Any) -> dict[str, Any]:
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
    if shelves := _shelves(block):
        facts["categories"] = shelves
    return {name: value for name, value in facts.items() if name != "title" or value}


def _title(block: Any) -> tuple[str, str | None]:
    """Title and subtitle of the product itself; a bare volume has the title of its collection."""
    details = block.findall("TitleDetail")
    detail = next((each for each in details if text_of(each.find("TitleType")) == "01"), None)
    if detail is None:
        return "", None
    elements = sorted(detail.findall("TitleElement"), key=_sequence)
    own = [each for each in elements if text_of(each.find("TitleElementLevel")) == "01"]
    others = [each for each in elements if each not in own]
    name = next((name for each in own if (name := _name(each))), "")
    if not name:
        name = next((name for each in others if (name := _name(each))), "")
    parts = [text_of(each.find("PartNumber")) for each in own]
    subtitle = next((text for each in own if (text := text_of(each.find("Subtitle")))), None)
    return ", ".join(part for part in [name, *parts] if part) if name else "", subtitle


def _name(element: Any) -> str:
    if text := text_of(element.find("TitleText")):
        return text
    prefix = text_of(element.find("TitlePrefix"))
    rest = text_of(element.find("TitleWithoutPrefix"))
    # "L'" and its like stand close to what they belong to.
    gap = "" if prefix.endswith(("'", "’")) else " "
    return f"{prefix}{gap}{rest}".strip() if rest else ""


def _contributions(block: Any) -> list[Contribution]:
    if block.find("NoContributor") is not None:
        return [Contribution("Anonymous")]
    found = []
    for each in sorted(block.findall("Contributor"), key=_sequence):
        if name := _contributor_name(each):
            for code in map(text_of, each.findall("ContributorRole")):
                roles = codes.ROLES.get(code, codes.OTHER_ROLE)
                found += [Contribution(name, role) for role in roles]
    return found


def _contributor_name(element: Any) -> str:
    if name := text_of(element.find("PersonName")):
        return name
    before = [text_of(element.find(tag)) for tag in ("NamesBeforeKey", "PrefixToKey")]
    key = text_of(element.find("KeyNames"))
    after = [text_of(element.find(tag)) for tag in ("NamesAfterKey", "SuffixToKey")]
    inverted = text_of(element.find("PersonNameInverted"))
    if key and (any(before) or any(after) or not inverted):
        return " ".join(part for part in [*before, key, *after] if part)
    if inverted:
        last, _, first = inverted.partition(",")
        return f"{first.strip()} {last.strip()}".strip()
    if name := text_of(element.find("CorporateName")):
        return name
    return codes.UNNAMED.get(text_of(element.find("UnnamedPersons")), "")


def _form(block: Any) -> str | None:
    code = text_of(block.find("ProductForm"))
    if code.startswith(codes.TRADE_ONLY):
        raise Unfit("ProductForm", code, "This is material for shops, nothing to be sold.")
    fitting = (code[:length] for length in (2, 1))
    return next((codes.FORMS[start] for start in fitting if start in codes.FORMS), None)


def _language(block: Any) -> str | None:
    """The language of the text (role 01)."""
    for each in block.findall("Language"):
        if text_of(each.find("LanguageRole")) == "01":
            return text_of(each.find("LanguageCode")) or None
    return None


def _pages(block: Any) -> int | None:
    counts = {
        text_of(each.find("ExtentType")): text_of(each.find("ExtentValue"))
        for each in block.findall("Extent")
        if text_of(each.find("ExtentUnit")) == codes.PAGES
    }
    for kind in codes.EXTENTS:
        if counts.get(kind, "").isascii() and counts.get(kind, "").isdigit():
            return int(counts[kind][:9]) or None
    return None


def _shelves(block: Any) -> list[str]:
    """The categories of its subjects, those of the main ones first."""
    subjects = block.findall("Subject")
    subjects.sort(key=lambda each: each.find("MainSubject") is None)
    shelves = (_shelf(each) for each in subjects)
    return list(dict.fromkeys(shelf for shelf in shelves if shelf))


def _shelf(subject: Any) -> str:
    scheme = text_of(subject.find("SubjectSchemeIdentifier"))
    if scheme in codes.NO_CATEGORY:
        return ""
    code = text_of(subject.find("SubjectCode")).upper()
    known = codes.SHELVES.get(scheme, {})
    for length in range(len(code), 0, -1):
        if code[:length] in known:
            return known[code[:length]]
    # A scheme of the sender's own: the words, the last of a path.
    heading = text_of(subject.find("SubjectHeadingText"))
    return re.split(r"[/:;>]", heading)[-1].strip()


def _description(block: Any) -> str | None:
    texts = {
        text_of(each.find("TextType")): each.find("Text")
        for each in reversed(block.findall("TextContent"))
    }
    for kind in codes.TEXTS:
        if texts.get(kind) is not None and (html := _html(texts[kind])):
            return html
    return None


def _html(element: Any) -> str:
    """The text as HTML.  Untagged text is escaped; the rest is sanitised with all drafts."""
    if element.get("textformat") in ("00", "06", "07"):
        return escape("".join(_words(element)).strip(), quote=False)
    return "".join(_markup(element)).strip()


def _published(block: Any) -> dict[str, Any]:
    """Publisher and year; a record without a publisher names its imprint."""
    names = [
        text_of(each.find("PublisherName"))
        for each in block.findall("Publisher")
        if text_of(each.find("PublishingRole")) in ("", "01")
    ]
    names += [text_of(each.find("ImprintName")) for each in block.findall("Imprint")]
    dates = (
        text_of(each.find("Date"))
        for each in block.findall("PublishingDate")
        if text_of(each.find("PublishingDateRole")) == "01"
    )
    years = (found[0] for each in dates if (found := _YEAR.match(each)))
    year = next(years, None)
    return {
        "publisher": next((name for name in names if name), None),
        "year": int(year) if year else None,
    }


def _price(
    details: Sequence[Any], defaults: Mapping[str, str], currency: str, today: date
) -> tuple[int | None, str | None]:
    """What a customer pays today, in cents, or a note on why that is not known.

    Raises:
        Unfit: two prices of the best kind differ, or one is no amount of money.
    """
    by_type: dict[str, list[str]] = {}
    for price in (each for detail in details for each in detail.findall("Price")):
        said = text_of(price.find("CurrencyCode")) or defaults.get("DefaultCurrencyCode", "")
        kind = text_of(price.find("PriceType")) or defaults.get("DefaultPriceType", "")
        amount = text_of(price.find("PriceAmount"))
        if said == currency and amount and _for_anybody(price) and _holds(price, today):
            by_type.setdefault(kind, []).append(amount)
    for kind in codes.PRICE_TYPES:
        if cents := {_cents(amount) for amount in by_type.get(kind, [])}:
            if len(cents) > 1:
                amounts = ", ".join(dict.fromkeys(by_type[kind]))
                raise Unfit("PriceAmount", amounts, f"There are several prices in {currency}.")
            return cents.pop(), None
    if by_type.keys() & codes.UNTAXED_PRICE_TYPES:
        return None, f"Its prices in {currency} are without tax and were left aside."
    return None, f"It has no price in {currency}." if details else None


def _for_anybody(price: Any) -> bool:
    least = text_of(price.find("MinimumOrderQuantity")) or "1"
    return text_of(price.find("PriceQualifier")) in codes.ANYBODY and least == "1"


def _holds(price: Any, today: date) -> bool:
    """Whether the price is that of today: from (14) and until (15) are dates of their own."""
    now = today.strftime("%Y%m%d")
    for each in price.findall("PriceDate"):
        day = text_of(each.find("Date"))[:8]
        role = text_of(each.find("PriceDateRole"))
        if (role == "14" and day > now) or (role == "15" and day < now[: len(day)]):
            return False
    return True


def _cents(amount: str) -> int:
    if not (parts := _PRICE.fullmatch(amount)):
        raise Unfit("PriceAmount", amount, "A price is a number like 12.90.")
    return int(parts[1]) * 100 + int((parts[2] or "").ljust(2, "0"))


def _sequence(element: Any) -> int:
    number = text_of(element.find("SequenceNumber"))
    return int(number[:9]) if number.isascii() and number.isdigit() else _LAST


def _words(element: Any) -> Iterator[str]:
    return _pieces(element, lambda text: text, lambda _, inner: inner)


def _markup(element: Any) -> Iterator[str]:
    """The inside of an element as HTML; what was escaped once more than needed is not."""
    if len(element) == 0 or all(not isinstance(each.tag, str) for each in element):
        # Markup that the sender has escaped, or none at all.
        return _words(element)

    def tagged(tag: str, inner: list[str]) -> list[str]:
        return [f"<{tag}>", *inner, f"</{tag}>"] if tag != "br" else ["<br>"]

    return _pieces(element, lambda text: escape(text, quote=False), tagged)


def _pieces(
    element: Any, plain: Callable[[str], str], tagged: Callable[[str, list[str]], list[str]]
) -> Iterator[str]:
    """The text in an element, entities that libxml2 has kept as such included.

    `element.text` alone would end at the first of these, without an error.

    Raises:
        Unfit: an entity has no name that HTML knows.
    """
    yield plain(element.text or "")
    for each in element:
        if isinstance(each, etree._Entity):
            if (sign := html5.get(f"{each.name};")) is None:
                raise Unfit(element.tag, f"&{each.name};", "Nobody knows what this stands for.")
            yield plain(sign)
        elif isinstance(each.tag, str):
            yield from tagged(each.tag, list(_pieces(each, plain, tagged)))
            if each.tag in _BREAKS:
                yield "\n"
        yield plain(each.tail or "")
