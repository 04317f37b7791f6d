from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from bookstore.notifications.mime import MAX_LINE_LENGTH, OutgoingEmail, compose
from tests.factories import NOON


def make_email(**facts: Any) -> OutgoingEmail:
    arguments: dict[str, Any] = {
        "message_id": "<n7@books.example>",
        "written_at": NOON,
        "sender": "Ampersand Books <shop@books.example>",
        "recipient": Address("Mira Bell", "mira", "example.com"),
        "subject": "We have received your order",
        "text": "One line\n",
        "html": "<p>One line</p>\n",
        "boundary": "=_7",
    }
    return compose(**{**arguments, **facts})


def parsed(email: OutgoingEmail) -> EmailMessage:
    message: EmailMessage = message_from_bytes(email.content, policy=default)
    assert not message.defects
    assert not any(message[name].defects for name in message)
    return message


def body(message: EmailMessage, kind: str) -> str:
    part: Any = message.get_body((kind,))
    assert not part.defects
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


SUBJECTS = [
    "We have received your order",
    "Wir haben Ihre Bücher",
    "A subject that goes on " * 8,
    "=?utf-8?q?Pay_here?=",
    "雪国 " * 40,
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_subjects_arrive_unchanged_and_in_short_lines(subject: str) -> None:
    email = make_email(subject=subject)

    assert parsed(email)["Subject"].strip() == subject.strip()
    assert max(map(len, email.content.split(b"\r\n"))) <= MAX_LINE_LENGTH
    assert email.content.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "One line\n",
        "Two\n\nparagraphs\n",
        ".\n..\n",
        "From here on\n",
        "Trailing blank \nand tab\t\n",
        "=_7 and --=_7\n--=_7--\n",
        "Größe, 雪国 and 1 = 1\n",
        "long " * 300 + "\n",
        "no end of line",
    ],
)
def test_text_arrives_unchanged(text: str) -> None:
    message = parsed(make_email(text=text, html=f"<p>{text}</p>"))

    # The line break before the boundary does not belong to the text.
    assert body(message, "plain") == text
    assert body(message, "html") == f"<p>{text}</p>"


@pytest.mark.parametrize("name", ["Mira Bell", 'Bell, "Mi" (Dr.)', "Mira Sørensen", ""])
def test_names_arrive_unchanged_and_separate_from_the_address(name: str) -> None:
    email = make_email(recipient=Address(name, "mira", "example.com"))

    (address,) = parsed(email)["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "mira@example.com")
    assert email.recipient == "mira@example.com"
    assert email.ascii_only


def test_a_non_ascii_address_is_not_encoded() -> None:
    email = make_email(recipient=Address("Søren", "søren", "example.com"))

    assert not email.ascii_only
    assert "søren@example.com".encode() in email.content


def test_an_email_from_the_standard_library_is_used_unchanged() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "Books <shop@books.example>", "mira@example.com"
    message["Date"], message["Message-ID"] = NOON, "<n1@books.example>"
    message.set_content("One line\n")

    email = OutgoingEmail.of(message)

    assert (email.sender, email.recipient) == ("shop@books.example", "mira@example.com")
    assert (email.written_at, email.message_id) == (NOON, "<n1@books.example>")
    assert email.content.endswith(b"\r\n\r\nOne line\r\n")
