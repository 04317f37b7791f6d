"""A letter as it goes over the wire (RFC 5322, RFC 2045).

Set by hand: the standard library parses and refolds each header of each letter, which costs a
worker more than all else that it does about an order.  Headers that are not plain are left to it.
"""

from binascii import b2a_qp
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import lru_cache
from typing import Self

#: Longer lines are folded (RFC 5322, section 2.1.1).
LINE = 78
CRLF = "\r\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter, its addresses without names; `content` has CRLF at the ends of its lines."""

    message_id: str
    written_at: datetime
    sender: str
    recipient: str
    content: bytes

    @property
    def ascii_only(self) -> bool:
        """Whether every mail server takes its addresses."""
        return (self.sender + self.recipient).isascii()

    @classmethod
    def of(cls, message: EmailMessage) -> Self:
        """The same letter, as the standard library made it."""
        sender, recipient = (message[name].addresses[0].addr_spec for name in ("From", "To"))
        return cls(
            message["Message-ID"],
            message["Date"].datetime,
            sender,
            recipient,
            message.as_bytes(policy=SMTP if (sender + recipient).isascii() else SMTPUTF8),
        )


def compose(
    *,
    message_id: str,
    written_at: datetime,
    sender: str,
    recipient: Address,
    subject: str,
    text: str,
    html: str,
    boundary: str,
) -> Mail:
    """A letter that a machine wrote, as text and HTML; `boundary` begins with "=_"."""
    ascii_only = (_address(sender) + recipient.addr_spec).isascii()
    head = [
        ("Message-ID", message_id),
        ("Date", format_datetime(written_at)),
        ("From", sender),
        ("To", str(recipient)),
        ("Subject", subject),
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: no answer from a machine, please.
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
    ]
    content = [
        *(_header(name, value, ascii_only=ascii_only) for name, value in head),
        *_part("plain", text, boundary),
        *_part("html", html, boundary),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return Mail(message_id, written_at, _address(sender), recipient.addr_spec, b"".join(content))


def _header(name: str, value: str, *, ascii_only: bool) -> bytes:
    line = f"{name}: {value}"
    # A word that looks as if it were encoded would be taken for what it encodes (RFC 2047).
    if len(line) <= LINE and line.isascii() and line.isprintable() and "=?" not in line:
        return f"{line}\r\n".encode()
    return _folded(name, value, ascii_only=ascii_only)


# The sender is the same on all letters.
@lru_cache(maxsize=128)
def _folded(name: str, value: str, *, ascii_only: bool) -> bytes:
    if name == "Subject" and ascii_only:
        # The policy would decode what looks encoded, and breaks words of other alphabets.
        return f"{name}: {Header(value, 'utf-8', LINE, name).encode(linesep=CRLF)}{CRLF}".encode()
    policy = SMTP if ascii_only else SMTPUTF8
    _, header = policy.header_store_parse(name, value)
    return policy.fold_binary(name, header)


@lru_cache(maxsize=16)
def _address(sender: str) -> str:
    _, header = SMTP.header_store_parse("From", sender)
    address: str = header.addresses[0].addr_spec
    return address


def _part(kind: str, text: str, boundary: str) -> Iterable[bytes]:
    """In quoted-printable "=" is followed by digits, so the boundary is nowhere in it."""
    yield (
        f'\r\n--{boundary}\r\nContent-Type: text/{kind}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()
    yield b2a_qp(text.replace("\n", "\r\n").encode(), istext=True)
