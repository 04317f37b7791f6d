"""E-mails of a store, with the data of an order."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from bookstore.notifications import emails
from bookstore.notifications.emails import Email, EmailKind, Item, OrderFacts, StoreFacts
from bookstore.pricing import Rates, totals
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
STORE = StoreFacts(
    "Ampersand Books",
    "https://books.example",
    "Ampersand Books <shop@books.example>",
    str.lower,
    str.upper,
)
ORDER_KINDS = [kind for kind in EmailKind if kind.startswith("order-")]


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


def email(kind: EmailKind = EmailKind.ORDER_CONFIRMED, **facts: Any) -> Email:
    given: dict[str, Any] = {
        "notification_id": 7,
        "kind": kind,
        "recipient": "mira@example.com",
        "name": "Mira Sørensen",
        "created_at": NOON,
        "order": order() if kind in ORDER_KINDS else None,
    }
    if kind is EmailKind.MESSAGE:
        given |= {"subject": "Your question", "body": "Dear Mira,\n\nwe have it.\nOn table 3."}
    return Email(**{**given, **facts})


def received(written: Email, store: StoreFacts = STORE) -> EmailMessage:
    """The e-mail as the recipient's program parses it."""
    return message_from_bytes(emails.render(written, store).content, policy=default)


def parts(message: EmailMessage) -> tuple[str, str]:
    """The plain-text and the HTML part of an e-mail."""
    parsed: Any = message
    plain, html = (parsed.get_body((kind,)).get_content() for kind in ("plain", "html"))
    return plain.replace("\r\n", "\n"), html.replace("\r\n", "\n")
