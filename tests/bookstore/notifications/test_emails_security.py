"""S-24: untrusted text cannot become a header, a second recipient or markup of an e-mail."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from html.parser import HTMLParser

import pytest

from bookstore.notifications import emails
from bookstore.notifications.emails import Email, EmailKind, StoreFacts
from bookstore.notifications.smtp import make_mailer

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
STORE = StoreFacts("Ampersand Books", "https://books.example", "Books <a@books.example>", str, str)
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
    email = Email(1, EmailKind.MESSAGE, "mira@example.com", **{"name": "Mira", **fields})
    return message_from_bytes(emails.render(email, STORE).content, policy=policy.SMTP)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["name", "subject", "body"])
def test_s24_untrusted_text_stays_text(field, text):
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
async def test_s24_a_hostile_message_goes_to_one_address_and_keeps_its_text(smtp_sink, text):
    body = f"First {text}\nlast"
    email = Email(
        1,
        EmailKind.MESSAGE,
        "mira@example.com",
        name=text,
        subject=text,
        body=body,
        created_at=NOON,
    )
    mailer = make_mailer(smtp_sink.url)
    try:
        await mailer.send(emails.render(email, STORE))
    finally:
        await mailer.close()

    [received] = smtp_sink.received
    assert received.recipients == ["mira@example.com"]
    assert len(received.message.get_all("To")) == 1
    assert received.message.defects == []
    for part in received.message.iter_parts():
        content = " ".join(part.get_content().split())
        assert "First" in content
        assert "last" in content
    plain = received.message.get_body(("plain",)).get_content()
    visible = "".join(char for char in text if char.isalnum())
    assert visible in "".join(char for char in plain if char.isalnum())
