"""S-24: nobody's words become a header, a second recipient or markup of a letter."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from html.parser import HTMLParser

import pytest

from bookstore.notifications import emails
from bookstore.notifications.emails import Kind, Letter, Store
from bookstore.notifications.smtp import make_mailer

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
STORE = Store("Ampersand Books", "https://books.example", "Books <a@books.example>", str, str)
HOSTILE = [
    "Mira\r\nBcc: evil@example.org",
    "Mira\nTo: evil@example.org",
    "Mira\rSubject: Won",
    "Mira\x00Bcc: evil@example.org",
    "Mira\u2028Bcc: evil@example.org",
    "Mira\x0b\x0c\x85Bcc: evil@example.org",
    "Mira\r\n\r\n<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><a href="https://evil.example">here</a>',
    "Mira, evil@example.org",
    "Mira <evil@example.org>",
    "=?utf-8?q?Bcc:_evil@example.org?=",
    "\u202egnp.exe",
    "{{7*7}} {0.__class__} %s%n ${7*7}",
    "x" * 5000,
]


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers = set(), set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        named = dict(attributes)
        self.links |= {named[name] for name in ("href", "src") if named.get(name)}
        self.handlers += [name for name in named if name.startswith("on")]


def sent(**fields):
    letter = Letter(1, Kind.MESSAGE, "mira@example.com", **{"name": "Mira", **fields})
    return message_from_bytes(emails.render(letter, STORE).content, policy=policy.SMTP)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["name", "subject", "body"])
def test_s24_words_stay_words(field, text):
    fields = {"subject": "News", "body": "Hello.", "created_at": NOON, field: text}

    message = sent(**fields)

    assert message.get_all("To") is not None
    assert [address.addr_spec for address in message["To"].addresses] == ["mira@example.com"]
    assert message["Bcc"] is None
    assert message["Cc"] is None
    assert len(message.get_all("Subject")) == 1
    assert "\n" not in message["Subject"]
    assert message.defects == []
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    html = Elements()
    html.feed(message.get_body(("html",)).get_content())
    assert html.handlers == []
    assert not html.tags & {"script", "img", "iframe", "form"}
    assert all(link.startswith("https://books.example") for link in html.links)


@pytest.mark.parametrize("text", [text for text in HOSTILE if len(text) < 100])
async def test_s24_a_hostile_letter_goes_to_one_address_and_arrives_as_it_was_meant(
    smtp_sink, text
):
    body = f"First {text}\nlast"
    letter = Letter(
        1, Kind.MESSAGE, "mira@example.com", name=text, subject=text, body=body, created_at=NOON
    )
    mail = make_mailer(smtp_sink.url)
    try:
        await mail.send(emails.render(letter, STORE))
    finally:
        await mail.close()

    [received] = smtp_sink.received
    assert received.recipients == ["mira@example.com"]
    assert len(received.letter.get_all("To")) == 1
    assert received.letter.defects == []
    for part in received.letter.iter_parts():
        said = " ".join(part.get_content().split())
        assert "First" in said
        assert "last" in said
    plain = received.letter.get_body(("plain",)).get_content()
    visible = "".join(letter for letter in text if letter.isalnum())
    assert visible in "".join(letter for letter in plain if letter.isalnum())
