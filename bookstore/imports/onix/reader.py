"""Read ONIX for Books 3.0 and 3.1: product records of publishers and wholesalers, one by one.

Short tags and reference names are supported, in any declared encoding.  The file is decoded here
and passed to libxml2 as UTF-8 with a document type of our own that loads nothing.  `&eacute;` is
therefore an é whatever the sender's document type defines, and a file that declares entities is
refused.  (EDItEUR, ONIX for Books, Specification 3.1)

A record is mapped to the fields of a book.  The supplier's stock is ignored.  Prices, texts, dates
and rights count only if they apply to the store's country today (`limits.py`).
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from lxml import etree

from bookstore.errors import Invalid
from bookstore.imports import encodings
from bookstore.imports.entries import BookEntry, EntryAction, Refusal, shorten
from bookstore.imports.onix import code_lists, mapping, rights
from bookstore.imports.onix.elements import InvalidRecord, text_of
from bookstore.imports.onix.limits import Shop

_CHUNK = 1 << 16
#: Bytes.  The largest real records, with all their descriptions, have about 100 kB.
_MAX_RECORD_BYTES = 4 << 20
#: Bytes within which the XML declaration and the document type have to end.
_HEAD = 1 << 16
_DECLARATION = re.compile(r"\s*<\?xml[^>]*?\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
#: Allowed before a document type (XML 1.0, production 22).  Anchored, so that a document type
#: within a text is not matched.
_BEFORE_DOCTYPE = re.compile(r"(?:\s|<!--.*?-->|<\?.*?\?>)*", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE[^>\[]*(\[.*?\]\s*)?>", re.DOTALL)
_ROOT = re.compile(r"<(?:\w+:)?ONIXmessage\b", re.IGNORECASE)
#: Names an external document type that is never loaded.  libxml2 then keeps unknown entities
#: unresolved instead of refusing the file.
_OUR_DOCTYPE = '<!DOCTYPE ONIXMessage SYSTEM "none">'
_DEFAULTS = ("DefaultCurrencyCode", "DefaultPriceType", "DefaultLanguageOfText")
_SUPPORTED_RELEASES = ("3.0", "3.1")


def is_onix(head: bytes) -> bool:
    """Whether a file with this beginning is an ONIX message of any release."""
    # Independent of the encoding: in UTF-16, Latin letters have zeros between them.
    return _ROOT.search(head.replace(b"\0", b"").decode("latin-1")) is not None


def read_records(stream: BinaryIO, shop: Shop) -> Iterator[BookEntry | Refusal]:
    """The records of a message, or why a record is refused, in the order of the file.

    Only one record is in memory at a time.  An entry has a remark for each
    decision of the reader and each ignored value.

    Raises:
        Invalid: the file is not an ONIX 3 message; nothing has been yielded.  An error later in
            the file is yielded as the last Refusal instead.
    """
    message = _ProductReader(stream)
    for product, line in message.products():
        try:
            yield _entry(product, line, message.defaults, shop)
        except InvalidRecord as error:
            yield Refusal(line, error.column, error.value, str(error))
    if message.broken:
        yield message.broken


class _ProductReader:
    """The products of a file, one in memory at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._chunks = _decode(stream)
        self._parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_pis=True,
        )
        #: Currency and type of prices, and language of texts, without their own.
        self.defaults: dict[str, str] = {}
        self.broken: Refusal | None = None
        self._root: Any = None

    def products(self) -> Iterator[tuple[Any, int]]:
        """Each product with its first line; `broken` is set when reading stopped at an error."""
        size = 0
        try:
            for chunk in self._chunks:
                size += len(chunk)
                try:
                    self._parser.feed(chunk)
                finally:
                    # Also yields the products before an error in the same chunk.
                    for element in self._ended():
                        size = 0
                        yield element, element.sourceline or 0
                if size > _MAX_RECORD_BYTES:
                    raise _BrokenMessage("a record is longer than 4 MB.")
            self._parser.close()
        except etree.XMLSyntaxError as error:
            self._end_with(_describe(error), error.lineno or 0)
        except _BrokenMessage as error:
            self._end_with(str(error), 0)

    def _ended(self) -> Iterator[Any]:
        for event, element in self._parser.read_events():
            if event == "start":
                if self._root is None:
                    self._root = element
                    _check_root(element)
                continue
            name = _use_long_name(element)
            if name == "Header":
                for default in _DEFAULTS:
                    if element.find(default) is not None:
                        self.defaults[default] = text_of(element, default)
            if name == "Product" and element.getparent() is self._root:
                yield element
                _release(element)

    def _end_with(self, reason: str, line: int) -> None:
        if self._root is None:
            raise Invalid("file", f"This is not an ONIX message: {reason}")
        self.broken = Refusal(line, None, "", f"Nothing after this point could be read: {reason}")


class _BrokenMessage(Exception):
    """The rest of the file cannot be read."""


def _entry(product: Any, line: int, defaults: Mapping[str, str], shop: Shop) -> BookEntry:
    code = text_of(product, "NotificationType")
    if code in code_lists.TEST_TYPES:
        raise InvalidRecord("NotificationType", code, "This is a test record.")
    if code not in code_lists.ACTIONS:
        reason = "The notification type has to be 01 to 05 or 12 to 14."
        raise InvalidRecord("NotificationType", code, reason)
    action = code_lists.ACTIONS[code]
    facts: dict[str, Any] = {"isbn13": mapping.isbn_of(product)}
    remarks: list[str] = []
    if action is not EntryAction.WITHDRAW:
        if reason := rights.withdrawal(product, shop):
            action = EntryAction.WITHDRAW
            remarks.append(f"Withdrawn: {reason}.")
        else:
            whole = action is EntryAction.UPSERT
            fields, remarks = mapping.read(product, whole, defaults, shop)
            facts |= fields
    return BookEntry(
        line=line,
        facts=facts,
        action=action,
        roles=True,
        columns=mapping.ELEMENTS,
        values={name: str(value) for name, value in facts.items() if value is not None},
        remarks=remarks,
    )


def _check_root(root: Any) -> None:
    name, space = etree.QName(root).localname, etree.QName(root).namespace or ""
    if name.lower() != "onixmessage":
        reason = f"This is XML but not an ONIX message: it begins with <{shorten(name)}>."
        raise Invalid("file", reason)
    in_space = next((each for each in _SUPPORTED_RELEASES if f"/{each}/" in space), "2.1")
    release = root.get("release") or in_space
    if release not in _SUPPORTED_RELEASES:
        raise Invalid("file", f"This is ONIX {release}; the store reads 3.0 and 3.1.")


def _use_long_name(element: Any) -> str:
    """Rename the element to its reference name without a namespace, and return that name."""
    name = etree.QName(element).localname
    long_names = code_lists.LONG_NAMES
    element.tag = long_names.get(name) or long_names.get(name.lower(), name)
    return str(element.tag)


def _release(element: Any) -> None:
    """Free the memory of a processed record and of everything before it."""
    element.clear()
    parent = element.getparent()
    while element.getprevious() is not None:
        del parent[0]


def _decode(stream: BinaryIO) -> Iterator[bytes]:
    """The file as UTF-8 with our document type; the line numbers stay the same."""
    head = stream.read(_HEAD)
    encoding = _encoding(head)
    try:
        # Some codecs of Python, such as hex, are not text encodings.
        head.decode(encoding, errors="ignore")
        decoder = codecs.getincrementaldecoder(encoding)()
        yield _replace_prolog(decoder.decode(head)).encode()
        while chunk := stream.read(_CHUNK):
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except LookupError:
        raise Invalid("file", f"This file declares the unknown encoding {encoding}.") from None
    except UnicodeError:
        raise _BrokenMessage(f"it declares the encoding {encoding} but is not in it.") from None


def _encoding(head: bytes) -> str:
    if found := encodings.of_xml(head):
        return found
    named = _ENCODING.match(head.lstrip())
    encoding = named[1].decode().lower() if named else "utf-8"
    # Latin-1 is read as Windows-1252, as the WHATWG Encoding Standard requires.
    return "cp1252" if encoding in ("iso-8859-1", "latin-1", "us-ascii") else encoding


def _replace_prolog(head: str) -> str:
    declared = _DECLARATION.match(head)
    before, rest = (declared[0], head[declared.end() :]) if declared else ("", head)
    before_it = _BEFORE_DOCTYPE.match(rest)
    begins = before_it.end() if before_it else 0
    if doctype := _DOCTYPE.match(rest, begins):
        if doctype[1] and "<!ENTITY" in doctype[1]:
            raise Invalid("file", "This file declares its own entities, which is not allowed.")
        rest = rest[: doctype.start()] + "\n" * doctype[0].count("\n") + rest[doctype.end() :]
    elif rest.startswith("<!DOCTYPE", begins):
        raise Invalid("file", "The document type declaration of this file is not closed.")
    return "\n" * before.count("\n") + _OUR_DOCTYPE + rest


def _describe(error: etree.XMLSyntaxError) -> str:
    message = (error.msg or "it is not well-formed").split(", line ")[0]
    return f"the XML is broken in line {error.lineno} ({message})."
