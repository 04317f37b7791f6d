"""E-mails to customers, as plain text and as HTML.

Rendering is deterministic: the Message-ID, the date and every byte of an e-mail depend only on
the fields of `Email` and `StoreFacts`.  A retry therefore sends an identical message.
"""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from email.headerregistry import Address
from functools import lru_cache, partial
from hashlib import sha256
from typing import Self
from urllib.parse import quote, urlsplit

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_percent
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from bookstore import i18n
from bookstore.i18n import DEFAULT, N_, Language, _, ngettext
from bookstore.notifications import guest_tokens, link_tokens
from bookstore.notifications.email_texts import EMAIL_TEXTS
from bookstore.notifications.mime import OutgoingEmail, compose
from bookstore.pricing import Totals
from bookstore.regional import money, shop_time
from bookstore.stored_enum import StoredEnum
from config.settings import Settings


class EmailKind(StoredEnum):
    """The kinds of e-mail.  There is none for `packed`: customers need no e-mail about it."""

    WELCOME = "welcome"
    ORDER_PLACED = "order-placed"
    ORDER_CONFIRMED = "order-confirmed"
    ORDER_REJECTED = "order-rejected"
    ORDER_SHIPPED = "order-shipped"
    ORDER_DELIVERED = "order-delivered"
    ORDER_CANCELLED = "order-cancelled"
    MESSAGE = "message"
    VERIFY_EMAIL = "verify-email"
    CONFIRM_EMAIL = "confirm-email"
    EMAIL_CHANGING = "email-changing"
    EMAIL_CHANGED = "email-changed"
    EMAIL_KNOWN = "email-known"
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the kind of an e-mail
    PASSWORD_CHANGED = "password-changed"  # noqa: S105
    SECOND_FACTOR_ON = "second-factor-on"
    SECOND_FACTOR_OFF = "second-factor-off"
    TOKEN_CREATED = "token-created"  # noqa: S105
    NEW_DEVICE = "new-device"


@dataclass(frozen=True, slots=True)
class Item:
    """One book of an order."""

    title: str
    authors: tuple[str, ...]
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """The facts about an order that an e-mail shows."""

    number: str
    guest: bool
    payment_status: str
    currency: str
    items: tuple[Item, ...]
    totals: Totals
    tax_basis_points: int
    shipping_address: Mapping[str, str | None]
    #: Why the order was rejected or cancelled, one reason a line.
    reason: str | None
    tracking: str | None
    placed_at: datetime
    #: The order's stored terms cannot be read, so its totals are unknown.
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Email:
    """The content of one e-mail, except the facts about the store.

    Kind `MESSAGE` has the staff's `subject` and `body`.  Kinds about an order have `order`; the
    other kinds have none of the three.
    """

    notification_id: int
    kind: EmailKind
    recipient: str
    name: str | None
    created_at: datetime
    #: Fixed when the e-mail is queued: a later change of the user's language does not affect it.
    language: Language = DEFAULT
    subject: str | None = None
    body: str | None = None
    order: OrderFacts | None = None
    #: The seed of the token in its link (`link_tokens`); None for an e-mail without such a link.
    link_seed: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The facts about the store that e-mails show.

    `access_token` returns the token that lets a guest open an order, from the order's number.
    `link_token` returns the token at the end of an e-mail's link, from its seed.
    """

    name: str
    base_url: str
    mail_from: str
    # Both functions hold the secret key, which must not appear in logs.
    access_token: Callable[[str], str] = field(repr=False)
    link_token: Callable[[str], str] = field(repr=False)
    #: The character in the logo beside the name.
    mark: str = "&"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The facts from the settings of this process."""
        return cls(
            settings.store_name,
            settings.base_url,
            settings.mail_from,
            partial(guest_tokens.access_token, settings.secret_key),
            partial(link_tokens.token, secret_key=settings.secret_key),
        )


#: The kinds of e-mail whose link contains a token, and the path before the token.
LINK_PATHS = {
    EmailKind.WELCOME: "/verify-email/",
    EmailKind.VERIFY_EMAIL: "/verify-email/",
    EmailKind.CONFIRM_EMAIL: "/verify-email/",
    EmailKind.RESET_PASSWORD: "/reset-password/",
}
#: The kinds that show the shipping address, and those that show a reason.
_WITH_ADDRESS = {EmailKind.ORDER_PLACED, EmailKind.ORDER_CONFIRMED, EmailKind.ORDER_SHIPPED}
_WITH_REASON = {EmailKind.ORDER_REJECTED, EmailKind.ORDER_CANCELLED}
#: Columns of the plain text.  Quoted in a reply (with `> `), it still fits into 72.
WIDTH = 66
#: Date patterns (Unicode TR 35) by language.
_DAY = {"en": "d MMMM y", "de": "d. MMMM y"}
#: Numbers up to ten are written as words.
_NUMBERS = (
    *(N_("no"), N_("one"), N_("two"), N_("three"), N_("four"), N_("five")),
    *(N_("six"), N_("seven"), N_("eight"), N_("nine"), N_("ten")),
)
PAID = {"paid", "refund_due", "refunded"}
#: Characters that change the writing direction of the following text.
_DIRECTION_CHARS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Text that mail programs turn into a link.  A name like that is spam or phishing.
_LINK = re.compile(r"[/@]|\w\.\w{2}")
#: Quoted local parts (RFC 5321, section 4.1.2) are refused: they are rare, and risk injection.
_LOCAL = re.compile(r"[^\s\"(),:;<>@\[\]\\]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+")


def message_id(email: Email, store: StoreFacts) -> str:
    """The Message-ID.  It is the same on every attempt, so mailboxes can detect duplicates."""
    host = (urlsplit(store.base_url).hostname or "localhost").encode("idna").decode()
    if ":" in host:
        host = f"[IPv6:{host}]"
    return f"<n{email.notification_id}.{email.kind}.{_digest(email)}@{host}>"


def subject(email: Email) -> str:
    """The subject, in one line."""
    if email.kind is EmailKind.MESSAGE:
        return _one_line(email.subject or "")
    if not email.kind.is_known:
        # Only a newer release has the text.  Show the kind in words, such as "Order returned".
        return _one_line(email.subject or email.kind.replace("-", " ").capitalize())
    with i18n.using_language(email.language):
        return _(EMAIL_TEXTS[email.kind].subject).format_map(_facts(email))


def summary(email: Email) -> str:
    """The content in a few sentences, for the notifications on the account's page."""
    if email.kind is EmailKind.MESSAGE or not email.kind.is_known:
        return email.body or ""
    with i18n.using_language(email.language):
        text = _capitalised(_(EMAIL_TEXTS[email.kind].opening).format_map(_facts(email)))
        return " ".join([text, *_reasons(email), *_tracking(email)])


def render(email: Email, store: StoreFacts) -> OutgoingEmail:
    """The e-mail, ready to send.

    Raises:
        ValueError: the recipient is not a valid e-mail address, or the order is damaged.
    """
    if email.order is not None and email.order.damaged:
        raise ValueError("the terms of the order are damaged")
    recipient = _address(email)
    with i18n.using_language(email.language):
        content = _content(email, store)
        return compose(
            message_id=message_id(email, store),
            written_at=email.created_at,
            sender=store.mail_from,
            recipient=recipient,
            subject=subject(email),
            text=_templates.get_template("email.txt").render(content),
            html=_templates.get_template("email.html").render(content),
            boundary=f"=_{_digest(email)}",
        )


def plain(email: Email, store: StoreFacts) -> str:
    """The plain-text part."""
    with i18n.using_language(email.language):
        return _templates.get_template("email.txt").render(_content(email, store))


def html(email: Email, store: StoreFacts) -> str:
    """The HTML part."""
    with i18n.using_language(email.language):
        return _templates.get_template("email.html").render(_content(email, store))


def _content(email: Email, store: StoreFacts) -> dict[str, object]:
    order = email.order
    texts = EMAIL_TEXTS.get(email.kind)
    greeting = _greeting(email)
    opening = _(texts.opening) if texts else ""
    return {
        "language": email.language,
        "store": store,
        "greeting": greeting,
        "heading": _(texts.heading) if texts else subject(email),
        "opening": opening if greeting else _capitalised(opening),
        "facts": _facts(email),
        "paragraphs": _paragraphs(email.body or ""),
        "link": _link(email, store),
        "link_label": _(texts.link) if texts else _("Go to your account"),
        "reasons": _reasons(email),
        "tracking": _tracking(email),
        "items": _items(order) if order else [],
        "totals": _total_lines(order) if order and email.kind not in _WITH_REASON else [],
        "tax": _tax(order) if order else "",
        "address": _shipping_address(order) if order and email.kind in _WITH_ADDRESS else [],
    }


def _facts(email: Email) -> dict[str, str]:
    """The values of the placeholders in the texts."""
    order = email.order
    if order is None:
        return {}
    count = sum(item.quantity for item in order.items)
    return {
        "number": order.number,
        "books": ngettext("{number} book", "{number} books", count).format(number=_number(count)),
        "placed_on": _day(shop_time.day_of(order.placed_at), i18n.current()),
        "payment": (
            _("We will refund what you paid.")
            if order.payment_status in PAID
            else _("You do not have to pay anything.")
        ),
    }


@lru_cache(maxsize=32)
def _day(day: date, language: Language) -> str:
    return format_date(day, _DAY.get(language, "long"), locale=language)


def _greeting(email: Email) -> str:
    # A message by staff has its own greeting.
    name = _one_line(email.name or "") if email.kind is not EmailKind.MESSAGE else ""
    return _("Dear {name}").format(name=name) if name and not _LINK.search(name) else ""


def _reasons(email: Email) -> list[str]:
    if email.order is None or email.kind not in _WITH_REASON:
        return []
    return [_one_line(line) for line in (email.order.reason or "").splitlines() if line.strip()]


def _tracking(email: Email) -> list[str]:
    if email.order is None or email.kind is not EmailKind.ORDER_SHIPPED or not email.order.tracking:
        return []
    number = _one_line(email.order.tracking)
    return [_("Tracking number: {number}").format(number=number)]


def _paragraphs(body: str) -> list[list[str]]:
    """The paragraphs of a message by staff.  Empty lines separate them; other line breaks stay."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(body.strip().splitlines()))
    return [[_one_line(line) for line in part.split("\n")] for part in paragraphs if part]


def _link(email: Email, store: StoreFacts) -> str:
    base = store.base_url.rstrip("/")
    if email.link_seed is not None:
        return f"{base}{LINK_PATHS[email.kind]}{store.link_token(email.link_seed)}"
    if email.order is None:
        return f"{base}/account"
    link = f"{base}/orders/{quote(email.order.number)}"
    if email.order.guest:
        link += f"?access_token={quote(store.access_token(email.order.number))}"
    return link


def _items(order: OrderFacts) -> list[tuple[str, str, str]]:
    """For each book: title, authors and quantity, and the line's total."""
    rows = []
    for item in order.items:
        by = [_one_line(", ".join(item.authors))] if item.authors else []
        each = f"{item.quantity} × {_money(item.unit_price_cents, order)}"
        total = _money(item.quantity * item.unit_price_cents, order)
        rows.append((_one_line(item.title), " · ".join([*by, each]), total))
    return rows


def _total_lines(order: OrderFacts) -> list[tuple[str, str]]:
    """Labels and amounts below the books.  The last one is the total."""
    totals = order.totals
    lines = []
    if totals.discount_cents:
        lines.append((_("Discount"), _money(-totals.discount_cents, order)))
    shipping = _money(totals.shipping_cents, order) if totals.shipping_cents else _("free")
    lines.append((", ".join([_("Shipping"), *_country(order)]), shipping))
    label = _("Total paid") if order.payment_status == "paid" else _("Total")
    return [*lines, (label, _money(totals.total_cents, order))]


def _tax(order: OrderFacts) -> str:
    tax = _money(order.totals.tax_cents, order)
    rate = _rate(order.tax_basis_points, i18n.current())
    return _("Includes {tax} tax ({rate}).").format(tax=tax, rate=rate)


@lru_cache(maxsize=64)
def _rate(basis_points: int, language: Language) -> str:
    rate = Decimal(basis_points) / 10_000
    return format_percent(rate, locale=language, decimal_quantization=False)


_ADDRESS_PARTS = frozenset({"name", "line1", "line2", "postcode", "city"})


def _shipping_address(order: OrderFacts) -> list[str]:
    address = {
        name: _one_line(value or "")
        for name, value in order.shipping_address.items()
        if name in _ADDRESS_PARTS
    }
    town = f"{address.get('postcode', '')} {address.get('city', '')}".strip()
    lines = [address.get("name"), address.get("line1"), address.get("line2"), town]
    return [*(line for line in lines if line), *_country(order)]


def _country(order: OrderFacts) -> list[str]:
    code = _one_line(order.shipping_address.get("country") or "")
    return [_territories(i18n.current()).get(code, code)] if code else []


@lru_cache(maxsize=16)
def _territories(language: Language) -> Mapping[str, str]:
    return Locale(language).territories


def _address(email: Email) -> Address:
    local, _, domain = email.recipient.rpartition("@")
    host = domain.encode("idna").decode()
    if _one_line(local) != local or not _LOCAL.fullmatch(local) or not _HOST.fullmatch(host):
        raise ValueError("not a valid e-mail address")
    return Address(_one_line(email.name or ""), local, host)


def _one_line(text: str) -> str:
    """Untrusted text on one line, without control characters, line breaks or direction marks."""
    line = " ".join(text.split())
    # The usual case.  None of the characters removed below is printable.
    if line.isprintable():
        return line
    return "".join(
        char
        for char in line
        if unicodedata.category(char) not in ("Cc", "Cs") and char not in _DIRECTION_CHARS
    )


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _number(count: int) -> str:
    return _(_NUMBERS[count]) if count < len(_NUMBERS) else str(count)


def _money(cents: int, order: OrderFacts) -> str:
    return _amount(cents, order.currency, i18n.current())


# Cached: formatting an amount is the slowest step of a line, and few distinct prices occur.
@lru_cache(maxsize=4096)
def _amount(cents: int, currency: str, language: Language) -> str:
    text = format_currency(money.amount(cents, currency), currency, locale=language)
    return text.replace("-", "−")


def _digest(email: Email) -> str:
    identity = f"{email.notification_id} {email.kind} {email.recipient} {email.created_at}"
    return sha256(identity.encode()).hexdigest()[:16]


def _wrapped(text: str, indent: str = "") -> str:
    if len(indent) + len(text) <= WIDTH and text.isprintable():
        return indent + text
    width = WIDTH - len(indent)
    filled = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent(filled, indent)


def _dot_leaders(label: str, amount: str) -> str:
    """A line with dot leaders between the label and its amount."""
    room = WIDTH - len(amount) - len(" ... ")
    lines = [label] if len(label) <= room else textwrap.wrap(label, room)
    dots = "." * (WIDTH - len(lines[-1]) - len(amount) - 2)
    return "\n".join([*lines[:-1], f"{lines[-1]} {dots} {amount}"])


def _with_facts(sentence: str, facts: Mapping[str, str]) -> Markup:
    """The sentence as HTML with its placeholders replaced and the order's number in bold."""
    number = Markup('<strong style="white-space:nowrap">{}</strong>').format(facts.get("number"))
    return escape(sentence).format_map({**facts, "number": number})


_templates = Environment(
    loader=PackageLoader("bookstore"),
    auto_reload=False,
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.i18n"],
)
# The i18n extension adds this method at runtime.
_templates.install_gettext_callables(_, ngettext, newstyle=True)  # type: ignore[attr-defined]
_templates.filters |= {"with_facts": _with_facts, "dot_leaders": _dot_leaders, "wrapped": _wrapped}
