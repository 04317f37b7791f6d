"""Read the elements of an ONIX record: their text, their order, and records that are invalid."""

from collections.abc import Callable, Iterator
from html import escape
from html.entities import html5
from typing import Any

from lxml import etree

from bookstore.imports.entries import shorten

#: XHTML elements after which a line ends.
_BREAKS = {"p", "br", "li", "div", "ul", "ol", "dd", "dt"}
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
    return "" if found is None else plain(found)


def plain(element: Any) -> str:
    """The text of an element without markup and with single spaces."""
    return " ".join("".join(_plain_text(element)).split())


def sequence(element: Any) -> int:
    """The sequence number of an element, to sort by."""
    number = text_of(element, "SequenceNumber")
    return int(number[:9]) if number.isascii() and number.isdigit() else _LAST


def html(element: Any) -> str:
    """The text as HTML.  Plain text is escaped; markup is sanitised by the validation of books."""
    if element.get("textformat") in ("00", "06", "07"):
        return escape("".join(_plain_text(element)).strip(), quote=False)
    return "".join(_markup(element)).strip()


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
    element: Any, written: Callable[[str], str], tagged: Callable[[str, list[str]], list[str]]
) -> Iterator[str]:
    """The text of an element, including entities that libxml2 has left unresolved.

    `element.text` alone would silently end at the first such entity.

    Raises:
        InvalidRecord: an entity is unknown in HTML.
    """
    yield written(element.text or "")
    for each in element:
        if isinstance(each, etree._Entity):
            if (char := html5.get(f"{each.name};")) is None:
                raise InvalidRecord(element.tag, f"&{each.name};", "This entity is unknown.")
            yield written(char)
        elif isinstance(each.tag, str):
            yield from tagged(each.tag, list(_walk(each, written, tagged)))
            if each.tag in _BREAKS:
                yield "\n"
        yield written(each.tail or "")
