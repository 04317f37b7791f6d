from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from bookstore.notifications import emails, guest_tokens
from bookstore.notifications.emails import Email, EmailKind, Item, StoreFacts
from config.settings import read_settings
from tests.bookstore.notifications.email_data import (
    ADDRESS,
    BOOKS,
    ORDER_KINDS,
    STORE,
    email,
    order,
    parts,
    received,
)
from tests.factories import NOON

#: All kinds of line breaks, including those that only some programs recognise.
BREAKS = ["\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"]


def text(written: Email) -> str:
    return parts(received(written))[0]


def html(written: Email) -> str:
    return parts(received(written))[1]


class Tags(HTMLParser):
    """The names of all tags, and the targets of all links."""

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
        (EmailKind.WELCOME, "Welcome to your account"),
        (EmailKind.ORDER_PLACED, "We have received your order 7Q4M-XK2P"),
        (EmailKind.ORDER_CONFIRMED, "Order confirmation 7Q4M-XK2P"),
        (EmailKind.ORDER_REJECTED, "We could not fulfil your order 7Q4M-XK2P"),
        (EmailKind.ORDER_SHIPPED, "Your order 7Q4M-XK2P has been shipped"),
        (EmailKind.ORDER_DELIVERED, "Your order 7Q4M-XK2P has been delivered"),
        (EmailKind.ORDER_CANCELLED, "Your order 7Q4M-XK2P has been cancelled"),
        (EmailKind.MESSAGE, "Your question"),
    ],
)
def test_the_subject_names_the_event_and_the_order(kind: EmailKind, subject: str) -> None:
    assert received(email(kind))["Subject"] == subject


@pytest.mark.parametrize("kind", EmailKind)
def test_an_email_has_all_required_headers(kind: EmailKind) -> None:
    message = received(email(kind))

    assert message["From"] == "Ampersand Books <shop@books.example>"
    assert message["To"] == "Mira Sørensen <mira@example.com>"
    assert message["Date"].datetime == NOON
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize("kind", EmailKind)
def test_text_fits_into_66_columns(kind: EmailKind) -> None:
    facts: dict[str, Any] = {}
    if kind in ORDER_KINDS:
        item = Item("A very long title " * 9, ("Somebody With A Long Name",) * 5, 12, 99_999)
        facts["order"] = order((item, *BOOKS), reason="It is sold out. " * 9, tracking="1 " * 60)

    lines = text(email(kind, **facts)).splitlines()

    assert max(len(line) for line in lines if "https:" not in line) <= 66


@pytest.mark.parametrize("kind", EmailKind)
def test_html_has_one_link_and_no_images(kind: EmailKind) -> None:
    tags = Tags(html(email(kind)))

    assert len(tags.links) == 1
    assert not {"img", "script", "link", "style", "iframe"} & set(tags.names)


def test_dot_leaders_connect_a_book_and_its_price() -> None:
    lines = text(email()).splitlines()

    assert f"Great Expectations {'.' * 40} €12.90" in lines
    assert "  Mikhail Bulgakov · 2 × €11.90" in lines
    assert f"Shipping, Germany {'.' * 42} €2.90" in lines
    assert f"Total {'.' * 53} €39.60" in lines
    assert "Includes €2.59 tax (7%)." in lines


def test_text_and_html_contain_the_same_amounts() -> None:
    page = html(email())

    assert all(amount in page for amount in ("€12.90", "€23.80", "€2.90", "€39.60", "€2.59"))


@pytest.mark.parametrize(
    ("quantities", "books"), [([1], "one book"), ([1, 1], "two books"), ([2, 9], "11 books")]
)
def test_numbers_up_to_ten_are_words(quantities: list[int], books: str) -> None:
    items = tuple(Item("Dune", (), quantity, 100) for quantity in quantities)

    content = " ".join(text(email(order=order(items))).split())
    assert f"we have reserved {books} for you" in content


def test_free_shipping_is_shown_as_free() -> None:
    dear = order((Item("Dune", (), 1, 9000),))

    assert "Shipping, Germany" in text(email(order=dear))
    assert " free\n" in text(email(order=dear))


def test_an_email_about_a_paid_order_shows_the_total_paid() -> None:
    assert "Total paid ..." in text(email(order=order(payment_status="paid")))


def test_an_email_about_a_rejected_order_has_a_reason_for_each_book() -> None:
    reason = "Dune: one asked for, none is left.\nCandide: three asked for, two are left."
    rejected = email(EmailKind.ORDER_REJECTED, order=order(reason=reason))

    assert (
        "Reason\n  Dune: one asked for, none is left.\n  Candide: three asked for, two are left.\n"
        in text(rejected)
    )
    assert "<li>Candide: three asked for, two are left.</li>" in html(rejected)
    assert "You do not have to pay anything." in text(rejected).replace("\n", " ")
    assert "Total" not in text(rejected)


def test_an_email_about_a_paid_and_cancelled_order_announces_the_refund() -> None:
    cancelled = email(EmailKind.ORDER_CANCELLED, order=order(payment_status="refund_due"))

    assert "We will refund what you paid." in " ".join(text(cancelled).split())


def test_an_email_about_a_shipped_order_has_the_tracking_number() -> None:
    shipped = email(EmailKind.ORDER_SHIPPED, order=order(tracking="DHL 0034"))

    assert "Tracking number: DHL 0034" in text(shipped)
    assert "Tracking number: DHL 0034" in html(shipped)


def test_the_link_of_a_guest_opens_the_order() -> None:
    guest, customer = email(order=order(guest=True)), email(order=order())

    assert Tags(html(guest)).links == [
        "https://books.example/orders/7Q4M-XK2P?access_token=7q4m-xk2p"
    ]
    assert Tags(html(customer)).links == ["https://books.example/orders/7Q4M-XK2P"]


def test_the_access_token_in_a_link_is_valid_for_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKSTORE_SECRET_KEY", "secret")

    store = StoreFacts.of(read_settings())

    assert guest_tokens.is_valid(store.access_token("7Q4M-XK2P"), "secret", "7Q4M-XK2P")
    assert "secret" not in repr(store)


def test_a_message_by_staff_keeps_its_text_and_line_breaks() -> None:
    message = email(EmailKind.MESSAGE)

    assert "\n\nDear Mira,\n\nwe have it.\nOn table 3.\n" in text(message)
    assert ">we have it.<br>On table 3.</p>" in html(message)
    assert text(message).count("Dear") == 1


def test_rendering_twice_gives_identical_bytes() -> None:
    first, second = emails.render(email(), STORE), emails.render(email(), STORE)

    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        email(notification_id=8),
        email(kind=EmailKind.ORDER_SHIPPED),
        email(recipient="mira@example.org"),
    ],
)
def test_a_different_email_has_a_different_message_id(other: Email) -> None:
    assert emails.message_id(other, STORE) != emails.message_id(email(), STORE)


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
def test_the_message_id_header_is_complete(base_url: str, host: str) -> None:
    rendered = emails.render(email(), replace(STORE, base_url=base_url))

    head = rendered.content.split(b"\r\n\r\n")[0].decode()
    assert f"Message-ID: {emails.message_id(email(), replace(STORE, base_url=base_url))}" in head
    assert rendered.message_id.endswith(f"@{host}>")


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    "hostile",
    [
        lambda evil: email(name=evil),
        lambda evil: email(EmailKind.MESSAGE, subject=evil),
        lambda evil: email(order=order(shipping_address={**ADDRESS, "name": evil, "city": evil})),
        lambda evil: email(order=order((Item(evil, (evil,), 1, 100),))),
        lambda evil: email(EmailKind.ORDER_SHIPPED, order=order(tracking=evil)),
    ],
)
def test_a_line_break_of_any_kind_adds_no_header_and_no_line(
    hostile: Callable[[str], Email], line_break: str
) -> None:
    parsed = received(hostile(f"Eve{line_break}Bcc: all@example.com"))

    assert [address.addr_spec for address in parsed["To"].addresses] == ["mira@example.com"]
    assert "Bcc" not in parsed
    assert not any(line.strip().startswith("Bcc:") for line in parts(parsed)[0].splitlines())


@pytest.mark.parametrize("name", ['Eve" <eve@example.com>, "', "a, b@example.com", "(", "=?utf-8?"])
def test_a_name_adds_no_recipient(name: str) -> None:
    parsed = received(email(name=name))

    assert [address.addr_spec for address in parsed["To"].addresses] == ["mira@example.com"]


def test_untrusted_markup_is_escaped() -> None:
    evil = "<script>alert(1)</script><a href='https://evil.example'>"
    facts_of_order = order(
        (Item(evil, (evil,), 1, 100),), shipping_address={**ADDRESS, "name": evil}
    )
    page = html(email(EmailKind.ORDER_PLACED, name=evil, order=facts_of_order))
    message = html(email(EmailKind.MESSAGE, subject=evil, body=evil))

    assert "script" not in Tags(page).names + Tags(message).names
    assert len(Tags(page).links) == len(Tags(message).links) == 1
    assert "&lt;script&gt;" in page


def test_braces_and_percent_signs_are_not_interpreted() -> None:
    odd = "{number} %s {{ store }} {0!r}"
    facts_of_order = order((Item(odd, (), 1, 100),))

    assert f"Dear {odd}," in text(email(name=odd, order=facts_of_order))
    assert f"Dear {odd}, your order" in html(email(name=odd, order=facts_of_order))


@pytest.mark.parametrize(
    "name", ["Win at evil.example", "https://evil.example", "eve@evil", "", " "]
)
def test_a_name_that_contains_a_link_is_not_greeted(name: str) -> None:
    assert "Dear" not in text(email(EmailKind.WELCOME, name=name))
    assert "\nYou now have an account" in text(email(EmailKind.WELCOME, name=name))


def test_direction_marks_are_removed() -> None:
    assert "Dear evE," in text(email(name="\u202eevE\u2066\x00"))


@pytest.mark.parametrize(
    "recipient",
    ["nobody", "@example.com", "a@b\r\nBcc: c@d", "a@b.c>,<d@e.f", "a b@", "a@b.c\u2028", " a@b.c"],
)
def test_an_invalid_recipient_is_refused(recipient: str) -> None:
    with pytest.raises(ValueError):
        emails.render(email(recipient=recipient), STORE)


def test_an_international_domain_is_encoded_as_ascii() -> None:
    rendered = emails.render(email(recipient="mira@bücher.example"), STORE)

    assert rendered.recipient == "mira@xn--bcher-kva.example"


@pytest.mark.parametrize("kind", EmailKind)
def test_a_summary_is_short_and_complete(kind: EmailKind) -> None:
    summary = emails.summary(email(kind))

    assert summary[0].isupper()
    assert "{" not in summary
    assert len(summary) < 400


def test_shipping_has_no_country_if_the_address_has_none() -> None:
    facts_of_order = order(shipping_address={"name": "Mira", "city": "Hamburg"})

    assert "\nShipping ..." in text(email(order=facts_of_order))
    assert "Shipping address\n  Mira\n  Hamburg\n\n" in text(email(order=facts_of_order))
