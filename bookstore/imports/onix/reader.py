"""ONIX for Books 3.0 and 3.1: records of publishers and wholesalers, read one by one.

Both styles of tags are understood, short and long, in any encoding that names itself.  The
file is decoded here and handed to libxml2 as UTF-8 under a document type of ours, which
loads nothing: so an `&eacute;` is an é whatever the sender's document type says, and none
that brings entities of its own is let in.  (EDItEUR, ONIX for Books, Specification 3.1)

What a record says becomes the fields of a draft.  The supplier's stock is not ours and is
left aside; the price is the one that customers pay today in the currency of the store.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, BinaryIO

from lxml import etree

from bookstore.errors import Invalid
from bookstore.imports.entries import Refusal, shown
from bookstore.imports.onix import mapping
from bookstore.imports.onix.code_lists import ACTIONS, LONG_NAMES, TESTS, WITHDRAWN_STATUSES, Action
from bookstore.imports.onix.mapping import Unfit, text_of

_CHUNK = 1 << 16
#: What a record may weigh; the longest real ones, with every blurb there is, have some 100 kB.
_LONGEST_RECORD = 4 << 20
#: The declaration and the document type end within this much of the file.
_HEAD = 1 << 16
_DECLARATION = re.compile(r"\s*<\?xml[^>]*?\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
#: What may stand before a document type (XML 1.0, production 22); in a text it is text.
_BEFORE_DOCTYPE = re.compile(r"(?:\s|<!--.*?-->|<\?.*?\?>)*", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE[^>\[]*(\[.*?\]\s*)?>", re.DOTALL)
_ROOT = re.compile(r"<(?:\w+:)?ONIXmessage\b", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: It names a document type that is never loaded, so libxml2 keeps entities that it does not
#: know as such, instead of refusing the file.
_OUR_DOCTYPE = '<!DOCTYPE ONIXMessage SYSTEM "none">'
_UNDERSTOOD = ("3.0", "3.1")


@dataclass(frozen=True, slots=True)
class Record:
    """What a record wants done about the book with this ISBN, as the sender spells it.

    `facts` holds the fields that the record speaks about, named as in a Draft, None where it
    takes a value away; `authors` are Contributions, `categories` names.  Records come in the
    order of the file, and of two about one book the later is right.
    """

    line: int
    reference: str
    action: Action
    isbn: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: What the reader decided or left aside, a sentence each, for the report.
    notes: tuple[str, ...] = ()


def looks_like(head: bytes) -> bool:
    """Whether a file that begins like this is an ONIX message, of any release."""
    # Whatever its encoding is, or is said to be: UTF-16 has zeros between letters of Latin.
    return _ROOT.search(head.replace(b"\0", b"").decode("latin-1")) is not None


def records(stream: BinaryIO, *, currency: str, today: date) -> Iterator[Record | Refusal]:
    """The records of a message, or why one cannot be taken, in the order of the file.

    Needs no more memory than the largest record does.  `today` decides between prices that
    hold for a time.

    Raises:
        Invalid: this is no ONIX 3 message; nothing was read.  What turns out to be broken
            later is a Refusal, the last.
    """
    message = _Message(stream)
    for product, line in message.products():
        try:
            yield _record(product, line, message.defaults, currency, today)
        except Unfit as error:
            yield Refusal(line, error.column, error.value, str(error))
    if message.broken:
        yield message.broken


class _Message:
    """The products of a file, one in memory at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._pieces = _decoded(stream)
        self._parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_pis=True,
        )
        #: Currency and type of prices that do not say theirs.
        self.defaults: dict[str, str] = {}
        self.broken: Refusal | None = None
        self._root: Any = None

    def products(self) -> Iterator[tuple[Any, int]]:
        """Each product and the line it begins in; `broken` says where reading had to end."""
        weight = 0
        try:
            for piece in self._pieces:
                weight += len(piece)
                try:
                    self._parser.feed(piece)
                finally:
                    # Also what came before the fault in the same piece.
                    for element in self._ended():
                        weight = 0
                        yield element, element.sourceline or 0
                if weight > _LONGEST_RECORD:
                    raise _Broken("a record is longer than 4 MB.")
            self._parser.close()
        except etree.XMLSyntaxError as error:
            self._end_with(_plain(error), error.lineno or 0)
        except _Broken as error:
            self._end_with(str(error), 0)

    def _ended(self) -> Iterator[Any]:
        for event, element in self._parser.read_events():
            if event == "start":
                if self._root is None:
                    self._root = element
                    _check_root(element)
                continue
            name = _localise(element)
            if name == "Header":
                for default in ("DefaultCurrencyCode", "DefaultPriceType"):
                    if (found := element.find(default)) is not None:
                        self.defaults[default] = text_of(found)
            if name == "Product" and element.getparent() is self._root:
                yield element
                _forget(element)

    def _end_with(self, reason: str, line: int) -> None:
        if self._root is None:
            raise Invalid("file", f"This is no ONIX message: {reason}")
        self.broken = Refusal(line, None, "", f"Nothing after this could be read: {reason}")


class _Broken(Exception):
    """The rest of the file cannot be read."""


def _record(
    product: Any, line: int, defaults: Mapping[str, str], currency: str, today: date
) -> Record:
    reference = text_of(product.find("RecordReference"))
    code = text_of(product.find("NotificationType"))
    if code in TESTS:
        raise Unfit("NotificationType", code, "This is a test record.")
    if code not in ACTIONS:
        raise Unfit("NotificationType", code, "A record says with 01 to 05 what it is for.")
    action, isbn = ACTIONS[code], mapping.isbn_of(product)
    if action is Action.WITHDRAW:
        return Record(line, reference, action, isbn)
    status = mapping.status_of(product)
    if status in WITHDRAWN_STATUSES:
        note = f"Withdrawn: {WITHDRAWN_STATUSES[status]}."
        return Record(line, reference, Action.WITHDRAW, isbn, notes=(note,))
    facts, notes = mapping.read(
        product, whole=action is Action.REPLACE, defaults=defaults, currency=currency, today=today
    )
    return Record(line, reference, action, isbn, facts, tuple(notes))


def _check_root(root: Any) -> None:
    name, space = etree.QName(root).localname, etree.QName(root).namespace or ""
    if name.lower() != "onixmessage":
        raise Invalid("file", f"This is XML, but no ONIX message: it begins with <{shown(name)}>.")
    release = root.get("release") or next((r for r in _UNDERSTOOD if f"/{r}/" in space), "2.1")
    if release not in _UNDERSTOOD:
        raise Invalid("file", f"This is ONIX {release}; the store reads 3.0 and 3.1.")


def _localise(element: Any) -> str:
    """Give the element its long name without a namespace, which is then its tag."""
    name = etree.QName(element).localname
    name = LONG_NAMES.get(name) or LONG_NAMES.get(name.lower(), name)
    element.tag = name
    return name


def _forget(element: Any) -> None:
    """Let go of a record that was read, and of what stood before it."""
    element.clear()
    parent = element.getparent()
    while element.getprevious() is not None:
        del parent[0]


def _decoded(stream: BinaryIO) -> Iterator[bytes]:
    """The file as UTF-8, its declaration and document type replaced by ours, line by line."""
    head = stream.read(_HEAD)
    encoding = _encoding(head)
    try:
        # Also of those that Python knows, some are no encodings of text.
        head.decode(encoding, errors="ignore")
        decoder = codecs.getincrementaldecoder(encoding)()
        yield _opened(decoder.decode(head)).encode()
        while chunk := stream.read(_CHUNK):
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except LookupError:
        raise Invalid("file", f"This file says it is in {encoding}; nobody knows that.") from None
    except UnicodeError:
        raise _Broken(f"it says that it is in {encoding}, and is not.") from None


def _encoding(head: bytes) -> str:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if head.startswith(b"<\x00"):
        return "utf-16-le"
    if head.startswith(b"\x00<"):
        return "utf-16-be"
    named = _ENCODING.match(head.lstrip())
    encoding = named[1].decode().lower() if named else "utf-8"
    # Who says Latin-1 means the code page of Windows (WHATWG, Encoding Standard).
    return "cp1252" if encoding in ("iso-8859-1", "latin-1", "us-ascii") else encoding


def _opened(head: str) -> str:
    declared = _DECLARATION.match(head)
    before, rest = (declared[0], head[declared.end() :]) if declared else ("", head)
    before_it = _BEFORE_DOCTYPE.match(rest)
    begins = before_it.end() if before_it else 0
    if theirs := _DOCTYPE.match(rest, begins):
        if theirs[1] and "<!ENTITY" in theirs[1]:
            raise Invalid("file", "This file declares entities of its own, which may be a trap.")
        rest = rest[: theirs.start()] + "\n" * theirs[0].count("\n") + rest[theirs.end() :]
    elif rest.startswith("<!DOCTYPE", begins):
        raise Invalid("file", "The document type of this file does not come to an end.")
    return "\n" * before.count("\n") + _OUR_DOCTYPE + rest


def _plain(error: etree.XMLSyntaxError) -> str:
    message = (error.msg or "it is not well-formed").split(", line ")[0]
    return f"the XML is broken in line {error.lineno} ({message})."
