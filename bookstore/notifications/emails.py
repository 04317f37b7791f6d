"""Letters: what we write to customers, as plain text and as HTML.

Whoever sends a letter twice sends the same one: its Message-ID, its date and every byte of
it follow from the facts in `Letter`.
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
from bookstore.notifications.email_texts import WORDS
from bookstore.notifications.mime import Mail, compose
from bookstore.pricing import Totals
from bookstore.stored_enum import StoredEnum
from config.settings import Settings


class Kind(StoredEnum):
    """What a letter is about.  There is none for packed: wrapping paper is no news."""

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
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of a letter
    PASSWORD_CHANGED = "password-changed"  # noqa: S105
    SECOND_FACTOR_ON = "second-factor-on"
    SECOND_FACTOR_OFF = "second-factor-off"


@dataclass(frozen=True, slots=True)
class Item:
    """One book of an order."""

    title: str
    authors: tuple[str, ...]
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What a letter says about an order."""

    number: str
    guest: bool
    payment_status: str
    currency: str
    items: tuple[Item, ...]
    totals: Totals
    tax_basis_points: int
    shipping_address: Mapping[str, str | None]
    #: Why it was rejected or cancelled: a line for each reason.
    reason: str | None
    tracking: str | None
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class Letter:
    """All that one letter says, but for what it says about the store.

    `subject` and `body` are the words of a message; other kinds have an `order`, or neither.
    """

    notification_id: int
    kind: Kind
    recipient: str
    name: str | None
    created_at: datetime
    #: In which it is written, whatever its reader prefers by now.
    language: Language = DEFAULT
    subject: str | None = None
    body: str | None = None
    order: OrderFacts | None = None
    #: From what the secret of its link is worked out (`links.seeds`); None without one.
    link_seed: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Store:
    """Who writes.

    `access_token` makes of an order's number what opens it to a guest, `link_token` of a letter's
    seed what its link ends with.
    """

    name: str
    base_url: str
    mail_from: str
    # Carries the secret key, which belongs into no log.
    access_token: Callable[[str], str] = field(repr=False)
    link_token: Callable[[str], str] = field(repr=False)
    #: The sign on the label beside the name.
    mark: str = "&"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store of this process."""
        return cls(
            settings.store_name,
            settings.base_url,
            settings.mail_from,
            partial(guest_tokens.access_token, settings.secret_key),
            partial(link_tokens.token, secret_key=settings.secret_key),
        )


#: Letters with a link of their own, and where it leads.
LINKED = {
    Kind.WELCOME: "/verify-email/",
    Kind.VERIFY_EMAIL: "/verify-email/",
    Kind.CONFIRM_EMAIL: "/verify-email/",
    Kind.RESET_PASSWORD: "/reset-password/",
}
#: Letters that say where the parcel goes, and those that say why there is none.
_SENT_TO = {Kind.ORDER_PLACED, Kind.ORDER_CONFIRMED, Kind.ORDER_SHIPPED}
_REFUSED = {Kind.ORDER_REJECTED, Kind.ORDER_CANCELLED}
#: Text is this many columns wide: what is quoted in an answer still fits into 72.
WIDTH = 66
#: A day as it is written out.
_DAY = {"en": "d MMMM y", "de": "d. MMMM y"}
#: In words up to ten.
_NUMBERS = (
    *(N_("no"), N_("one"), N_("two"), N_("three"), N_("four"), N_("five")),
    *(N_("six"), N_("seven"), N_("eight"), N_("nine"), N_("ten")),
)
PAID = {"paid", "refund_due", "refunded"}
#: Signs that turn the writing direction of all that follows.
_TURNS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: What a mail program makes a link of.  Such a name is an advertisement, or a trap.
_LINK = re.compile(r"[/@]|\w\.\w{2}")
#: Quoted names of mailboxes (RFC 5321, section 4.1.2) are not worth their dangers.
_LOCAL = re.compile(r"[^\s\"(),:;<>@\[\]\\]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+")


def message_id(letter: Letter, store: Store) -> str:
    """The same on every attempt, and by it a mailbox knows a copy of what it has already."""
    host = (urlsplit(store.base_url).hostname or "localhost").encode("idna").decode()
    if ":" in host:
        host = f"[IPv6:{host}]"
    return f"<n{letter.notification_id}.{letter.kind}.{_digest(letter)}@{host}>"


def subject(letter: Letter) -> str:
    """What the letter is about, in one line."""
    if letter.kind is Kind.MESSAGE:
        return _one_line(letter.subject or "")
    with i18n.speaking(letter.language):
        return _(WORDS[letter.kind].subject).format_map(_facts(letter))


def summary(letter: Letter) -> str:
    """The letter in a few sentences, for those who read it in their account."""
    if letter.kind is Kind.MESSAGE:
        return letter.body or ""
    with i18n.speaking(letter.language):
        text = _capitalised(_(WORDS[letter.kind].opening).format_map(_facts(letter)))
        return " ".join([text, *_reasons(letter), *_tracking(letter)])


def render(letter: Letter, store: Store) -> Mail:
    """The letter, ready to be sent.

    Raises:
        ValueError: nobody can be written to at this address.
    """
    recipient = _address(letter)
    with i18n.speaking(letter.language):
        content = _content(letter, store)
        return compose(
            message_id=message_id(letter, store),
            written_at=letter.created_at,
            sender=store.mail_from,
            recipient=recipient,
            subject=subject(letter),
            text=_templates.get_template("letter.txt").render(content),
            html=_templates.get_template("letter.html").render(content),
            boundary=f"=_{_digest(letter)}",
        )


def plain(letter: Letter, store: Store) -> str:
    """The letter as those read it who read no HTML."""
    with i18n.speaking(letter.language):
        return _templates.get_template("letter.txt").render(_content(letter, store))


def html(letter: Letter, store: Store) -> str:
    """The letter as mail programs show it."""
    with i18n.speaking(letter.language):
        return _templates.get_template("letter.html").render(_content(letter, store))


def _content(letter: Letter, store: Store) -> dict[str, object]:
    order = letter.order
    words = WORDS.get(letter.kind)
    greeting = _greeting(letter)
    opening = _(words.opening) if words else ""
    return {
        "language": letter.language,
        "store": store,
        "greeting": greeting,
        "heading": _(words.heading) if words else subject(letter),
        "opening": opening if greeting else _capitalised(opening),
        "facts": _facts(letter),
        "paragraphs": _paragraphs(letter.body or ""),
        "link": _link(letter, store),
        "link_label": _(words.link) if words else _("Go to your account"),
        "reasons": _reasons(letter),
        "tracking": _tracking(letter),
        "items": _items(order) if order else [],
        "sums": _sums(order) if order and letter.kind not in _REFUSED else [],
        "tax": _tax(order) if order else "",
        "address": _shipping_address(order) if order and letter.kind in _SENT_TO else [],
    }


def _facts(letter: Letter) -> dict[str, str]:
    """What the sentences of a letter have gaps for."""
    order = letter.order
    if order is None:
        return {}
    count = sum(item.quantity for item in order.items)
    return {
        "number": order.number,
        "books": ngettext("{number} book", "{number} books", count).format(number=_number(count)),
        "copies": _copies(count),
        "placed_on": _day(order.placed_at.date(), i18n.current()),
        "payment": (
            _("What you paid comes back to you.")
            if order.payment_status in PAID
            else _("There is nothing to pay.")
        ),
    }


def _copies(count: int) -> str:
    if count <= 2:
        return _("both copies") if count == 2 else _("the copy")
    return _("all {number} copies").format(number=_number(count))


@lru_cache(maxsize=32)
def _day(day: date, spoken: Language) -> str:
    return format_date(day, _DAY.get(spoken, "long"), locale=spoken)


def _greeting(letter: Letter) -> str:
    # Whoever writes a message greets in their own words.
    name = _one_line(letter.name or "") if letter.kind is not Kind.MESSAGE else ""
    return _("Dear {name}").format(name=name) if name and not _LINK.search(name) else ""


def _reasons(letter: Letter) -> list[str]:
    if letter.order is None or letter.kind not in _REFUSED:
        return []
    return [_one_line(line) for line in (letter.order.reason or "").splitlines() if line.strip()]


def _tracking(letter: Letter) -> list[str]:
    if letter.order is None or letter.kind is not Kind.ORDER_SHIPPED or not letter.order.tracking:
        return []
    number = _one_line(letter.order.tracking)
    return [_("Tracking number: {number}").format(number=number)]


def _paragraphs(body: str) -> list[list[str]]:
    """Staff's own words: an empty line begins a paragraph, other line breaks stay."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(body.strip().splitlines()))
    return [[_one_line(line) for line in part.split("\n")] for part in paragraphs if part]


def _link(letter: Letter, store: Store) -> str:
    base = store.base_url.rstrip("/")
    if letter.link_seed is not None:
        return f"{base}{LINKED[letter.kind]}{store.link_token(letter.link_seed)}"
    if letter.order is None:
        return f"{base}/account"
    link = f"{base}/orders/{quote(letter.order.number)}"
    if letter.order.guest:
        link += f"?access_token={quote(store.access_token(letter.order.number))}"
    return link


def _items(order: OrderFacts) -> list[tuple[str, str, str]]:
    """Of each book the title, who wrote it and how many, and what they cost together."""
    rows = []
    for item in order.items:
        by = [_one_line(", ".join(item.authors))] if item.authors else []
        each = f"{item.quantity} × {_money(item.unit_price_cents, order)}"
        rows.append(
            (
                _one_line(item.title),
                " · ".join([*by, each]),
                _money(item.quantity * item.unit_price_cents, order),
            )
        )
    return rows


def _sums(order: OrderFacts) -> list[tuple[str, str]]:
    """The lines under the books; the last one is the total."""
    totals = order.totals
    sums = []
    if totals.discount_cents:
        sums.append((_("Discount"), _money(-totals.discount_cents, order)))
    shipping = _money(totals.shipping_cents, order) if totals.shipping_cents else _("free")
    sums.append((", ".join([_("Delivery"), *_country(order)]), shipping))
    label = _("Total paid") if order.payment_status == "paid" else _("Total")
    return [*sums, (label, _money(totals.total_cents, order))]


def _tax(order: OrderFacts) -> str:
    tax, rate = (
        _money(order.totals.tax_cents, order),
        _rate(order.tax_basis_points, i18n.current()),
    )
    return _("Includes {tax} tax ({rate}).").format(tax=tax, rate=rate)


@lru_cache(maxsize=64)
def _rate(basis_points: int, spoken: Language) -> str:
    rate = Decimal(basis_points) / 10_000
    return format_percent(rate, locale=spoken, decimal_quantization=False)


def _shipping_address(order: OrderFacts) -> list[str]:
    address = {name: _one_line(value or "") for name, value in order.shipping_address.items()}
    town = f"{address.get('postcode', '')} {address.get('city', '')}".strip()
    lines = [address.get("name"), address.get("line1"), address.get("line2"), town]
    return [*(line for line in lines if line), *_country(order)]


def _country(order: OrderFacts) -> list[str]:
    code = _one_line(order.shipping_address.get("country") or "")
    return [_territories(i18n.current()).get(code, code)] if code else []


@lru_cache(maxsize=16)
def _territories(spoken: Language) -> Mapping[str, str]:
    return Locale(spoken).territories


def _address(letter: Letter) -> Address:
    local, _, domain = letter.recipient.rpartition("@")
    host = domain.encode("idna").decode()
    if _one_line(local) != local or not _LOCAL.fullmatch(local) or not _HOST.fullmatch(host):
        raise ValueError("this is no e-mail address")
    return Address(_one_line(letter.name or ""), local, host)


def _one_line(text: str) -> str:
    """Text by strangers: no line break of any alphabet, no sign that is not for reading."""
    line = " ".join(text.split())
    # Nearly always; no sign that is left out counts as printable.
    if line.isprintable():
        return line
    return "".join(
        sign
        for sign in line
        if unicodedata.category(sign) not in ("Cc", "Cs") and sign not in _TURNS
    )


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _number(count: int) -> str:
    return _(_NUMBERS[count]) if count < len(_NUMBERS) else str(count)


def _money(cents: int, order: OrderFacts) -> str:
    return _amount(cents, order.currency, i18n.current())


# Prices are few, and this costs more than all else on their lines.
@lru_cache(maxsize=4096)
def _amount(cents: int, currency: str, spoken: Language) -> str:
    text = format_currency(Decimal(cents).scaleb(-2), currency, locale=spoken)
    return text.replace("-", "−")


def _digest(letter: Letter) -> str:
    told = f"{letter.notification_id} {letter.kind} {letter.recipient} {letter.created_at}"
    return sha256(told.encode()).hexdigest()[:16]


def _wrapped(text: str, indent: str = "") -> str:
    if len(indent) + len(text) <= WIDTH and text.isprintable():
        return indent + text
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _led(label: str, amount: str) -> str:
    """A line as in a table of contents: dots lead from the label to its amount."""
    room = WIDTH - len(amount) - len(" ... ")
    lines = [label] if len(label) <= room else textwrap.wrap(label, room)
    dots = "." * (WIDTH - len(lines[-1]) - len(amount) - 2)
    return "\n".join([*lines[:-1], f"{lines[-1]} {dots} {amount}"])


def _filled(sentence: str, facts: Mapping[str, str]) -> Markup:
    """The sentence for HTML, the order's number in bold."""
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
# Put there by the extension.
_templates.install_gettext_callables(_, ngettext, newstyle=True)  # type: ignore[attr-defined]
_templates.filters |= {
    "filled": _filled,
    "led": _led,
    "wrapped": _wrapped,
}
