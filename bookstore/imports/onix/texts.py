"""Titles and descriptions, chosen among several types, languages, readers and times."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bookstore.imports.onix import code_lists as codes
from bookstore.imports.onix import limits
from bookstore.imports.onix.elements import html, plain, sequence, text_of
from bookstore.imports.onix.limits import Shop

_NAME_TAGS = ("TitleText", "TitleWithoutPrefix")


class _Text(NamedTuple):
    """A text that shoppers of the store may read, in the order of preference."""

    language_rank: int
    type_rank: int
    sequence: int
    #: Its place in the record.
    position: int
    language: str | None
    element: Any


def description(
    block: Any, defaults: Mapping[str, str], shop: Shop
) -> tuple[str | None, list[str]]:
    """The description as HTML, None when there is none for shoppers, and remarks.

    A text applies if its audience, its territory and its dates include a shopper of today.  Of
    these the one in the store's first language is used, and of several the long description.
    """
    left_out: list[str] = []
    found: list[_Text] = []
    for content in block.findall("TextContent"):
        kind = text_of(content, "TextType")
        if kind not in codes.DESCRIPTION_TYPES:
            continue
        if reason := _reason_to_hide(content, shop):
            left_out.append(reason)
            continue
        for element in content.findall("Text"):
            language = limits.language_of(element, defaults.get("DefaultLanguageOfText", ""))
            rank = limits.language_rank(language, shop.languages)
            order = codes.DESCRIPTION_TYPES.index(kind), sequence(content), len(found)
            found.append(_Text(rank, *order, language, element))
    remarks = [f"A description is not shown: {reason}." for reason in dict.fromkeys(left_out)]
    for text in sorted(found):
        if written := html(text.element):
            return written, remarks + _language_remarks(text, found)
    return None, remarks


def _reason_to_hide(content: Any, shop: Shop) -> str:
    """Why shoppers must not read this text today; blank if they may."""
    audiences = [plain(each) for each in content.findall("ContentAudience")]
    if audiences and codes.SHOPPERS.isdisjoint(audiences):
        return f"audience {', '.join(audiences)}"
    if not limits.reach(content, shop):
        return f"territory {limits.described(content) or 'unknown'}"
    period = limits.validity(content, "ContentDate", codes.TEXT_DATE_LIMITS)
    if period is None:
        return "unknown date"
    if not period.first <= shop.today <= period.last:
        return f"it is for {period.first.isoformat()} to {period.last.isoformat()}"
    return ""


def _language_remarks(used: _Text, found: Sequence[_Text]) -> list[str]:
    others = dict.fromkeys(text.language or "unknown" for text in found)
    others.pop(used.language or "unknown")
    if not others:
        return []
    return [f"The description in {used.language or 'unknown'} is used, not {', '.join(others)}."]


def title(block: Any, shop: Shop, spoken: str | None) -> tuple[str, str | None, list[str]]:
    """Title and subtitle, and remarks; an untitled volume gets the title of its collection.

    `spoken` is the language of the book: its title in this language is preferred.
    """
    details = block.findall("TitleDetail")
    by_type: dict[str, list[Any]] = {}
    for each in details:
        by_type.setdefault(text_of(each, "TitleType"), []).append(each)
    kind = next((kind for kind in codes.TITLE_TYPES if kind in by_type), None)
    if kind is None:
        types = ", ".join(sorted(filter(None, by_type)))
        return "", None, [f"Its titles have other types than 01 and 00: {types}."] if types else []
    remarks = ["The title has no stated type (00)."] if kind == "00" else []
    languages = [*([spoken.partition("-")[0]] if spoken else []), *shop.languages]
    detail = min(by_type[kind], key=lambda each: _rank(each, languages))
    name, subtitle = _composed(detail, languages)
    return name, subtitle, remarks


def _composed(detail: Any, languages: Sequence[str]) -> tuple[str, str | None]:
    elements = sorted(detail.findall("TitleElement"), key=sequence)
    own = [each for each in elements if text_of(each, "TitleElementLevel") == "01"]
    others = [each for each in elements if each not in own]
    # A title in several languages has an element for each.
    best = min((_rank(each, languages) for each in own), default=0)
    own = [each for each in own if _rank(each, languages) == best or _is_untitled(each)]
    name = next(filter(None, map(_name, [*own, *others])), "")
    parts = [text_of(each, "PartNumber") for each in own]
    subtitle = next(filter(None, (text_of(each, "Subtitle") for each in own)), None)
    return ", ".join(part for part in [name, *parts] if part) if name else "", subtitle


def _rank(element: Any, languages: Sequence[str]) -> int:
    """How much the language of the first title in this element is preferred; 0 is most."""
    first = next(_texts(element), None)
    language = None if first is None else limits.language_of(first)
    return limits.language_rank(language, languages)


def _is_untitled(element: Any) -> bool:
    return next(_texts(element), None) is None


def _texts(element: Any) -> Iterator[Any]:
    return element.iter(*_NAME_TAGS)  # type: ignore[no-any-return]


def _name(element: Any) -> str:
    if text := text_of(element, "TitleText"):
        return text
    prefix = text_of(element, "TitlePrefix")
    rest = text_of(element, "TitleWithoutPrefix")
    # A prefix with an apostrophe, such as "L'", is joined without a space.
    gap = "" if prefix.endswith(("'", "’")) else " "
    return f"{prefix}{gap}{rest}".strip() if rest else ""
