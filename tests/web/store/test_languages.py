"""German pages and e-mails, and the completeness of the German catalogue."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from bookstore import i18n
from tests.web.mailbox import emails_to
from tests.web.store.checkout_form import HOME

ROOT = Path(__file__).parents[3]
GERMAN = {"Accept-Language": "fr;q=0.9, de-AT;q=0.8, en;q=0.7"}
PLACEHOLDER = re.compile(r"%\(\w+\)s|%[sd]|<[^>]*>")


def extracted_messages():
    """All messages of the store's pages."""
    method_map = [("**.py", "python"), ("templates/**.html", "jinja2")]
    keywords = {"_": None, "N_": None, "ngettext": (1, 2)}
    for _, _, message, _, _ in extract_from_dir(
        ROOT / "web" / "store", method_map, keywords=keywords
    ):
        yield message


def catalogue(language):
    path = ROOT / "bookstore" / "locale" / language / "LC_MESSAGES" / "bookstore.po"
    return read_po(BytesIO(path.read_bytes()), locale=language)


def translations(language):
    """Each message of the store's pages and its translations; empty if there is none."""
    translated = catalogue(language)
    for message in sorted(set(extracted_messages()), key=str):
        found = translated.get(message)
        texts = (message,) if isinstance(message, str) else message
        strings = found.string if found else ""
        strings = (strings,) if isinstance(strings, str) else strings
        yield texts, tuple(it for it in strings if it)


@pytest.mark.parametrize("language", set(i18n.LANGUAGES) - {i18n.DEFAULT})
def test_at_most_five_percent_are_untranslated(language):
    found = list(translations(language))

    new = [texts for texts, strings in found if not strings]

    # New messages may be in English until they are translated.
    assert len(new) <= len(found) // 20, new


@pytest.mark.parametrize("language", set(i18n.LANGUAGES) - {i18n.DEFAULT})
def test_translations_keep_placeholders_and_tags(language):
    wrong = [
        text
        for texts, strings in translations(language)
        for text, string in zip(texts, strings, strict=False)
        if sorted(PLACEHOLDER.findall(string)) != sorted(PLACEHOLDER.findall(text))
    ]

    assert wrong == []


async def test_a_german_browser_gets_german_pages(client, dune):
    answer = await client.get(f"/books/{dune.id}", headers=GERMAN)
    page = await answer.text()

    assert '<html lang="de"' in page
    assert "In den Warenkorb" in page
    assert "12,90\xa0€" in page
    assert "Accept-Language" in answer.headers["Vary"]
    english = await (await client.get(f"/books/{dune.id}")).text()
    assert "Add to cart" in english
    assert "€12.90" in english
    again = await (await client.get(f"/books/{dune.id}", headers=GERMAN)).text()
    assert again == page


async def test_the_selected_language_takes_precedence_over_the_browser(browser, dune):
    await browser.go("/")

    await browser.press("Deutsch")

    assert browser.title == "Neu diese Woche"
    await browser.go(f"/books/{dune.id}")
    await browser.press("In den Warenkorb")
    assert "Das Buch wurde in den Warenkorb gelegt." in browser.text
    await browser.go("/withdrawal")
    assert "binnen 14 Tagen" in browser.text
    await browser.press("English")
    assert browser.title == "Right of withdrawal"


async def test_emails_are_in_the_language_of_the_page(server, browser, dune):
    await browser.go("/")
    await browser.press("Deutsch")
    await browser.go("/register")
    await browser.press(
        "Konto erstellen", email="mina@example.com", name="Mina", password="seven wells deep"
    )
    await browser.go(f"/books/{dune.id}")
    await browser.press("In den Warenkorb")
    await browser.go("/checkout")
    [pay] = [it for form in browser.page.forms for it in form.buttons if "€" in it]
    address = {"name": "Mina", "line1": "Kai 1", "postcode": "20095", "city": "Hamburg"}
    await browser.press(pay, **address, country="DE")
    await browser.press("English")
    await browser.go("/account")
    await browser.press("Send the confirmation e-mail again")

    written = await emails_to(server, "mina@example.com")
    assert [(kind, text.splitlines()[2]) for kind, text in written] == [
        ("welcome", "Willkommen in Ihrem Konto"),
        ("order-placed", "Wir haben Ihre Bestellung erhalten"),
        ("verify-email", "Is this address yours?"),
    ]


async def test_the_accept_language_of_api_requests_applies_to_emails(server, client, dune):
    api, headers = "/api/v1", {"Idempotency-Key": "1", **GERMAN}
    await client.post(f"{api}/cart/items", json={"book_id": dune.id, "quantity": 1})
    body = {"email": "emma@example.com", "shipping_address": HOME}
    answer = await client.post(f"{api}/orders", json=body, headers=headers)
    account = {"email": "emma@example.com", "name": "Emma", "password": "seven wells deep"}
    await client.post(f"{api}/users", json=account, headers=GERMAN)
    await client.post(f"{api}/cart/items", json={"book_id": dune.id, "quantity": 1})
    # Without the header, the language of the account applies.
    await client.post(
        f"{api}/orders", json={"shipping_address": HOME}, headers={"Idempotency-Key": "2"}
    )

    assert answer.status == 202
    written = await emails_to(server, "emma@example.com")
    assert [kind for kind, _ in written] == ["order-placed", "welcome", "order-placed"]
    assert all("Guten Tag" in text for _, text in written)


async def test_the_api_answers_in_english(client):
    answer = await client.get("/api/v1/books/999", headers=GERMAN)

    assert "could not be found" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("DE-at", "de"),
        ("en-GB, de", "en"),
        ("fr, es", "en"),
        ("de;q=0, en", "en"),
        ("de;q=x", "en"),
        ("*", "en"),
        ("", "en"),
        (",;=,," * 200, "en"),
    ],
)
async def test_the_accept_language_header_selects_the_language(client, header, language):
    page = await (await client.get("/sign-in", headers={"Accept-Language": header})).text()

    assert f'<html lang="{language}"' in page
