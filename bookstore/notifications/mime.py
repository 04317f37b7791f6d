"""The wire format of an e-mail (RFC 5322, RFC 2045).

Simple headers are written directly: the standard library parses and refolds each header of each
e-mail, which costs a worker more than everything else it does for an order.  The standard library
writes only the headers that are long, not plain ASCII, or look like encoded words.
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
MAX_LINE_LENGTH = 78
CRLF = "\r\n"


@dataclass(frozen=True, slots=True)
class OutgoingEmail:
    """An e-mail; its addresses are without names, and the lines of `content` end with CRLF."""

    message_id: str
    written_at: datetime
    sender: str
    recipient: str
    content: bytes

    @property
    def ascii_only(self) -> bool:
        """Whether every mail server accepts its addresses."""
        return (self.sender + self.recipient).isascii()

    @classmethod
    def of(cls, message: EmailMessage) -> Self:
        """The e-mail that the standard library made."""
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
) -> OutgoingEmail:
    """An automatic e-mail, as text and HTML; `boundary` begins with "=_"."""
    ascii_only = (_address(sender) + recipient.addr_spec).isascii()
    head = [
        ("Message-ID", message_id),
        ("Date", format_datetime(written_at)),
        ("From", sender),
        ("To", str(recipient)),
        ("Subject", subject),
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: prevents automatic replies.
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
    ]
    content = [
        *(_header(name, value, ascii_only=ascii_only) for name, value in head),
        *_part("plain", text, boundary),
        *_part("html", html, boundary),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return OutgoingEmail(
        message_id, written_at, _address(sender), recipient.addr_spec, b"".join(content)
    )


def _header(name: str, value: str, *, ascii_only: bool) -> bytes:
    line = f"{name}: {value}"
    # "=?" would be decoded as an encoded word (RFC 2047).
    if len(line) <= MAX_LINE_LENGTH and line.isascii() and line.isprintable() and "=?" not in line:
        return f"{line}\r\n".encode()
    return _folded(name, value, ascii_only=ascii_only)


# Cached, because all e-mails have the same sender.
@lru_cache(maxsize=128)
def _folded(name: str, value: str, *, ascii_only: bool) -> bytes:
    if name == "Subject" and ascii_only:
        # The policy would decode what looks like an encoded word, and it splits words of other
        # scripts.
        encoded = Header(value, "utf-8", MAX_LINE_LENGTH, name).encode(linesep=CRLF)
        return f"{name}: {encoded}{CRLF}".encode()
    policy = SMTP if ascii_only else SMTPUTF8
    _, header = policy.header_store_parse(name, value)
    return policy.fold_binary(name, header)


@lru_cache(maxsize=16)
def _address(sender: str) -> str:
    _, header = SMTP.header_store_parse("From", sender)
    address: str = header.addresses[0].addr_spec
    return address


def _part(kind: str, text: str, boundary: str) -> Iterable[bytes]:
    """Quoted-printable has only hexadecimal digits after "=", so the boundary cannot occur in
    it."""
    yield (
        f'\r\n--{boundary}\r\nContent-Type: text/{kind}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()
    yield b2a_qp(text.replace("\n", "\r\n").encode(), istext=True)
