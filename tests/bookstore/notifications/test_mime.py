from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from bookstore.notifications.mime import LINE, Mail, compose
from tests.factories import NOON


def mail(**facts: Any) -> Mail:
    given: dict[str, Any] = {
        "message_id": "<n7@books.example>",
        "written_at": NOON,
        "sender": "Ampersand Books <shop@books.example>",
        "recipient": Address("Mira Bell", "mira", "example.com"),
        "subject": "We have your order",
        "text": "One line\n",
        "html": "<p>One line</p>\n",
        "boundary": "=_7",
    }
    return compose(**{**given, **facts})


def parsed(written: Mail) -> EmailMessage:
    message: EmailMessage = message_from_bytes(written.content, policy=default)
    assert not message.defects
    assert not any(message[name].defects for name in message)
    return message


def body(message: EmailMessage, kind: str) -> str:
    part: Any = message.get_body((kind,))
    assert not part.defects
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


SUBJECTS = [
    "We have your order",
    "Wir haben Ihre Bücher",
    "A subject that goes on " * 8,
    "=?utf-8?q?Pay_here?=",
    "雪国 " * 40,
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subjects_of_all_kinds_arrive_as_they_are_and_in_short_lines(subject: str) -> None:
    written = mail(subject=subject)

    assert parsed(written)["Subject"].strip() == subject.strip()
    assert max(map(len, written.content.split(b"\r\n"))) <= LINE
    assert written.content.isascii()


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
def test_text_arrives_as_it_was_written(text: str) -> None:
    message = parsed(mail(text=text, html=f"<p>{text}</p>"))

    # What belongs to the boundary is not the text's.
    assert body(message, "plain") == text
    assert body(message, "html") == f"<p>{text}</p>"


@pytest.mark.parametrize("name", ["Mira Bell", 'Bell, "Mi" (Dr.)', "Mira Sørensen", ""])
def test_names_arrive_and_are_no_address(name: str) -> None:
    written = mail(recipient=Address(name, "mira", "example.com"))

    (address,) = parsed(written)["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "mira@example.com")
    assert written.recipient == "mira@example.com"
    assert written.ascii_only


def test_an_address_beyond_ascii_is_written_as_it_is() -> None:
    written = mail(recipient=Address("Søren", "søren", "example.com"))

    assert not written.ascii_only
    assert "søren@example.com".encode() in written.content


def test_what_the_standard_library_wrote_is_taken_as_it_is() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "Books <shop@books.example>", "mira@example.com"
    message["Date"], message["Message-ID"] = NOON, "<n1@books.example>"
    message.set_content("One line\n")

    taken = Mail.of(message)

    assert (taken.sender, taken.recipient) == ("shop@books.example", "mira@example.com")
    assert (taken.written_at, taken.message_id) == (NOON, "<n1@books.example>")
    assert taken.content.endswith(b"\r\n\r\nOne line\r\n")
