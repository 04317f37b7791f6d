from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest

from bookstore.notifications import emails, guest_tokens
from bookstore.notifications.emails import Item, Kind, Letter, OrderFacts, Store
from bookstore.pricing import Rates, totals
from config.settings import read_settings
from tests.factories import NOON

ADDRESS = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "line2": None,
    "city": "Hamburg",
    "postcode": "22767",
    "country": "DE",
    "phone": None,
}
BOOKS = (
    Item("Great Expectations", ("Charles Dickens",), 1, 1290),
    Item("The Master and Margarita", ("Mikhail Bulgakov",), 2, 1190),
)
STORE = Store(
    "Ampersand Books",
    "https://books.example",
    "Ampersand Books <shop@books.example>",
    str.lower,
    str.upper,
)
ORDER_KINDS = [kind for kind in Kind if kind.startswith("order-")]
#: Line breaks of all kinds, among them those that only some programs see.
BREAKS = ["\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"]


def order(items: tuple[Item, ...] = BOOKS, **facts: Any) -> OrderFacts:
    given: dict[str, Any] = {
        "number": "7Q4M-XK2P",
        "guest": False,
        "payment_status": "unpaid",
        "currency": "EUR",
        "items": items,
        "totals": totals(
            [(item.quantity, item.unit_price_cents) for item in items], Rates("EUR", 290, 4000, 700)
        ),
        "tax_basis_points": 700,
        "shipping_address": ADDRESS,
        "reason": None,
        "tracking": None,
        "placed_at": NOON,
    }
    return OrderFacts(**{**given, **facts})


def letter(kind: Kind = Kind.ORDER_CONFIRMED, **facts: Any) -> Letter:
    given: dict[str, Any] = {
        "notification_id": 7,
        "kind": kind,
        "recipient": "mira@example.com",
        "name": "Mira Sørensen",
        "created_at": NOON,
        "order": order() if kind in ORDER_KINDS else None,
    }
    if kind is Kind.MESSAGE:
        given |= {"subject": "Your question", "body": "Dear Mira,\n\nwe have it.\nOn shelf 3."}
    return Letter(**{**given, **facts})


def arrived(written: Letter, store: Store = STORE) -> EmailMessage:
    """The letter after it went over the wire."""
    return message_from_bytes(emails.render(written, store).content, policy=default)


def parts(message: EmailMessage) -> tuple[str, str]:
    """The text and the HTML of a letter."""
    parsed: Any = message
    plain, html = (parsed.get_body((kind,)).get_content() for kind in ("plain", "html"))
    return plain.replace("\r\n", "\n"), html.replace("\r\n", "\n")


def text(written: Letter) -> str:
    return parts(arrived(written))[0]


def html(written: Letter) -> str:
    return parts(arrived(written))[1]


class Tags(HTMLParser):
    """All tags of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (Kind.WELCOME, "Your account is open"),
        (Kind.ORDER_PLACED, "We have your order 7Q4M-XK2P"),
        (Kind.ORDER_CONFIRMED, "Your books are set aside: order 7Q4M-XK2P"),
        (Kind.ORDER_REJECTED, "We could not fill your order 7Q4M-XK2P"),
        (Kind.ORDER_SHIPPED, "Your parcel is on its way: order 7Q4M-XK2P"),
        (Kind.ORDER_DELIVERED, "Your parcel has arrived: order 7Q4M-XK2P"),
        (Kind.ORDER_CANCELLED, "Your order 7Q4M-XK2P is cancelled"),
        (Kind.MESSAGE, "Your question"),
    ],
)
def test_the_subject_says_what_happened_to_which_order(kind: Kind, subject: str) -> None:
    assert arrived(letter(kind))["Subject"] == subject


@pytest.mark.parametrize("kind", Kind)
def test_a_letter_has_what_its_headers_need(kind: Kind) -> None:
    message = arrived(letter(kind))

    assert message["From"] == "Ampersand Books <shop@books.example>"
    assert message["To"] == "Mira Sørensen <mira@example.com>"
    assert message["Date"].datetime == NOON
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize("kind", Kind)
def test_text_fits_into_66_columns(kind: Kind) -> None:
    facts: dict[str, Any] = {}
    if kind in ORDER_KINDS:
        item = Item("A very long title " * 9, ("Somebody With A Long Name",) * 5, 12, 99_999)
        facts["order"] = order((item, *BOOKS), reason="It is sold out. " * 9, tracking="1 " * 60)

    lines = text(letter(kind, **facts)).splitlines()

    assert max(len(line) for line in lines if "https:" not in line) <= 66


@pytest.mark.parametrize("kind", Kind)
def test_html_has_one_link_and_no_pictures(kind: Kind) -> None:
    tags = Tags(html(letter(kind)))

    assert len(tags.links) == 1
    assert not {"img", "script", "link", "style", "iframe"} & set(tags.names)


def test_dots_lead_from_a_book_to_its_price() -> None:
    lines = text(letter()).splitlines()

    assert f"Great Expectations {'.' * 40} €12.90" in lines
    assert "  Mikhail Bulgakov · 2 × €11.90" in lines
    assert f"Delivery, Germany {'.' * 42} €2.90" in lines
    assert f"Total {'.' * 53} €39.60" in lines
    assert "Includes €2.59 tax (7%)." in lines


def test_text_and_html_say_the_same_sums() -> None:
    page = html(letter())

    assert all(amount in page for amount in ("€12.90", "€23.80", "€2.90", "€39.60", "€2.59"))


@pytest.mark.parametrize(
    ("quantities", "copies"),
    [([1], "the copy"), ([1, 1], "both copies"), ([2, 9], "all 11 copies")],
)
def test_a_letter_counts_copies_as_people_do(quantities: list[int], copies: str) -> None:
    items = tuple(Item("Dune", (), quantity, 100) for quantity in quantities)

    assert f"we have {copies} of order" in text(letter(order=order(items)))


def test_free_delivery_is_said() -> None:
    dear = order((Item("Dune", (), 1, 9000),))

    assert "Delivery, Germany" in text(letter(order=dear))
    assert " free\n" in text(letter(order=dear))


def test_a_letter_about_a_paid_order_says_so() -> None:
    assert "Total paid ..." in text(letter(order=order(payment_status="paid")))


def test_a_rejected_order_says_why_for_each_book() -> None:
    reason = "Dune: one asked for, none is left.\nCandide: three asked for, two are left."
    rejected = letter(Kind.ORDER_REJECTED, order=order(reason=reason))

    assert (
        "Why\n  Dune: one asked for, none is left.\n  Candide: three asked for, two are left.\n"
        in text(rejected)
    )
    assert "<li>Candide: three asked for, two are left.</li>" in html(rejected)
    assert "There is nothing to pay." in text(rejected).replace("\n", " ")
    assert "Total" not in text(rejected)


def test_who_paid_for_a_cancelled_order_reads_that_the_money_comes_back() -> None:
    cancelled = letter(Kind.ORDER_CANCELLED, order=order(payment_status="refund_due"))

    assert "What you paid comes back to you." in " ".join(text(cancelled).split())


def test_a_shipped_order_has_its_tracking_number() -> None:
    shipped = letter(Kind.ORDER_SHIPPED, order=order(tracking="DHL 0034"))

    assert "Tracking number: DHL 0034" in text(shipped)
    assert "Tracking number: DHL 0034" in html(shipped)


def test_the_link_of_a_guest_opens_the_order() -> None:
    guest, customer = letter(order=order(guest=True)), letter(order=order())

    assert Tags(html(guest)).links == [
        "https://books.example/orders/7Q4M-XK2P?access_token=7q4m-xk2p"
    ]
    assert Tags(html(customer)).links == ["https://books.example/orders/7Q4M-XK2P"]


def test_the_token_in_a_letter_is_the_one_that_orders_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKSTORE_SECRET_KEY", "secret")

    store = Store.of(read_settings())

    assert guest_tokens.opens(store.access_token("7Q4M-XK2P"), "secret", "7Q4M-XK2P")
    assert "secret" not in repr(store)


def test_staff_write_in_their_own_words_and_lines() -> None:
    message = letter(Kind.MESSAGE)

    assert "\n\nDear Mira,\n\nwe have it.\nOn shelf 3.\n" in text(message)
    assert ">we have it.<br>On shelf 3.</p>" in html(message)
    assert text(message).count("Dear") == 1


def test_the_same_letter_is_the_same_to_the_byte() -> None:
    first, second = emails.render(letter(), STORE), emails.render(letter(), STORE)

    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        letter(notification_id=8),
        letter(kind=Kind.ORDER_SHIPPED),
        letter(recipient="mira@example.org"),
    ],
)
def test_another_letter_has_another_message_id(other: Letter) -> None:
    assert emails.message_id(other, STORE) != emails.message_id(letter(), STORE)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://books.example", "books.example"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://[::1]:8080", "[IPv6:::1]"),
        ("https://bücher.example", "xn--bcher-kva.example"),
        (f"https://{'long.' * 20}example", f"{'long.' * 20}example"),
    ],
)
def test_a_message_id_survives_the_wire(base_url: str, host: str) -> None:
    mail = emails.render(letter(), replace(STORE, base_url=base_url))

    head = mail.content.split(b"\r\n\r\n")[0].decode()
    assert f"Message-ID: {emails.message_id(letter(), replace(STORE, base_url=base_url))}" in head
    assert mail.message_id.endswith(f"@{host}>")


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    "hostile",
    [
        lambda evil: letter(name=evil),
        lambda evil: letter(Kind.MESSAGE, subject=evil),
        lambda evil: letter(order=order(shipping_address={**ADDRESS, "name": evil, "city": evil})),
        lambda evil: letter(order=order((Item(evil, (evil,), 1, 100),))),
        lambda evil: letter(Kind.ORDER_SHIPPED, order=order(tracking=evil)),
    ],
)
def test_a_line_break_of_any_kind_adds_no_header_and_no_line(
    hostile: Callable[[str], Letter], line_break: str
) -> None:
    parsed = arrived(hostile(f"Eve{line_break}Bcc: all@example.com"))

    assert [address.addr_spec for address in parsed["To"].addresses] == ["mira@example.com"]
    assert "Bcc" not in parsed
    assert not any(line.strip().startswith("Bcc:") for line in parts(parsed)[0].splitlines())


@pytest.mark.parametrize("name", ['Eve" <eve@example.com>, "', "a, b@example.com", "(", "=?utf-8?"])
def test_a_name_adds_no_recipient(name: str) -> None:
    parsed = arrived(letter(name=name))

    assert [address.addr_spec for address in parsed["To"].addresses] == ["mira@example.com"]


def test_markup_by_strangers_stays_text() -> None:
    evil = "<script>alert(1)</script><a href='https://evil.example'>"
    told = order((Item(evil, (evil,), 1, 100),), shipping_address={**ADDRESS, "name": evil})
    page = html(letter(Kind.ORDER_PLACED, name=evil, order=told))
    words = html(letter(Kind.MESSAGE, subject=evil, body=evil))

    assert "script" not in Tags(page).names + Tags(words).names
    assert len(Tags(page).links) == len(Tags(words).links) == 1
    assert "&lt;script&gt;" in page


def test_braces_and_percent_signs_stay_as_they_are() -> None:
    odd = "{number} %s {{ store }} {0!r}"
    told = order((Item(odd, (), 1, 100),))

    assert f"Dear {odd}," in text(letter(name=odd, order=told))
    assert f"Dear {odd}, we have" in html(letter(name=odd, order=told))


@pytest.mark.parametrize(
    "name", ["Win at evil.example", "https://evil.example", "eve@evil", "", " "]
)
def test_nobody_advertises_in_a_greeting(name: str) -> None:
    assert "Dear" not in text(letter(Kind.WELCOME, name=name))
    assert "\nThis address has an account" in text(letter(Kind.WELCOME, name=name))


def test_signs_that_turn_the_writing_direction_go() -> None:
    assert "Dear evE," in text(letter(name="\u202eevE\u2066\x00"))


@pytest.mark.parametrize(
    "recipient",
    ["nobody", "@example.com", "a@b\r\nBcc: c@d", "a@b.c>,<d@e.f", "a b@", "a@b.c\u2028", " a@b.c"],
)
def test_what_is_no_address_is_not_written_to(recipient: str) -> None:
    with pytest.raises(ValueError):
        emails.render(letter(recipient=recipient), STORE)


def test_a_domain_in_another_alphabet_is_written_in_ascii() -> None:
    mail = emails.render(letter(recipient="mira@bücher.example"), STORE)

    assert mail.recipient == "mira@xn--bcher-kva.example"


@pytest.mark.parametrize("kind", Kind)
def test_a_summary_fits_into_an_account(kind: Kind) -> None:
    summary = emails.summary(letter(kind))

    assert summary[0].isupper()
    assert "{" not in summary
    assert len(summary) < 400


def test_without_a_country_delivery_is_just_delivery() -> None:
    told = order(shipping_address={"name": "Mira", "city": "Hamburg"})

    assert "\nDelivery ..." in text(letter(order=told))
    assert "Goes to\n  Mira\n  Hamburg\n\n" in text(letter(order=told))
