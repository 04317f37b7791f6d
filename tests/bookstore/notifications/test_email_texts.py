"""E-mails use the language of their order, or the one that their user has selected."""

import re
from dataclasses import replace

import pytest

from bookstore import i18n
from bookstore.catalogue import stock
from bookstore.database.tables import orders
from bookstore.i18n import Language
from bookstore.notifications import emails, notifications
from bookstore.notifications.email_texts import EMAIL_TEXTS
from bookstore.notifications.emails import EmailKind, Item
from bookstore.orders import checkout
from bookstore.users import accounts
from tests.bookstore.notifications.email_data import (
    ADDRESS,
    ORDER_KINDS,
    STORE,
    email,
    order,
    parts,
    received,
)
from tests.factories import NOON, add_book, add_user
from tests.ordering import RATES, checkout_request, process
from tests.pseudo import LANGUAGE, NAME, Marked, unmarked, unmarked_in

GERMAN = Language("de")
#: The data of the order is in Cyrillic, so untranslated English texts are detected.
CYRILLIC = {
    "items": (Item("Дюна", ("Фрэнк",), 1, 1290), Item("Эмма", ("Джейн",), 2, 950)),
    "shipping_address": ADDRESS | {"name": "Мина", "line1": "Набережная 9", "city": "Гамбург"},
    "tracking": "0042",
    "reason": "Дюна",
    "payment_status": "paid",
}


@pytest.mark.parametrize("kind", [kind for kind in EmailKind if kind is not EmailKind.MESSAGE])
def test_every_text_of_an_email_is_translatable(kind):
    facts = {"order": order(**CYRILLIC)} if kind in ORDER_KINDS else {}
    store = replace(STORE, name="Лавка")
    with i18n.added_language(LANGUAGE, NAME, Marked()):
        written = email(kind, name="Мина", language=LANGUAGE, **facts)
        text, html = emails.plain(written, store), emails.html(written, store)
        subject = emails.subject(written)

    assert unmarked(text) + unmarked_in(html) + unmarked(subject) == []
    assert f'<html lang="{LANGUAGE}">' in html


def test_a_german_email_has_german_prices_dates_and_countries():
    message = received(email(EmailKind.ORDER_PLACED, language=GERMAN))
    text, html = parts(message)

    assert message["Subject"] == "Wir haben Ihre Bestellung 7Q4M-XK2P erhalten"
    text = " ".join(text.replace("\xa0", "~").split()).replace("~", "\xa0")
    assert "Guten Tag Mira Sørensen, vielen Dank." in text
    assert "Bestellung 7Q4M-XK2P (drei Bücher)" in text
    for expected in ("am 21. März 2026", "39,60\xa0€", "Versand, Deutschland", "(7\xa0%)"):
        assert expected in text, text
    assert '<html lang="de">' in html
    assert received(email(EmailKind.ORDER_PLACED))["Message-ID"] == message["Message-ID"]


@pytest.mark.parametrize("language", set(i18n.LANGUAGES) - {i18n.DEFAULT})
@pytest.mark.parametrize("kind", EMAIL_TEXTS)
def test_translations_keep_all_placeholders(language, kind):
    with i18n.using_language(language):
        translations = [i18n.translated(text) for text in EMAIL_TEXTS[kind]]

    assert all(
        text != english for text, english in zip(translations, EMAIL_TEXTS[kind], strict=True)
    )
    placeholders = [
        [sorted(re.findall(r"{\w+}", text)) for text in texts]
        for texts in (translations, EMAIL_TEXTS[kind])
    ]
    assert placeholders[0] == placeholders[1]


async def test_a_queued_email_keeps_its_language(conn):
    user_id = await add_user(conn, email="mira@example.com")
    await accounts.change_language(conn, user_id, GERMAN, now=NOON)
    queued = await notifications.queue(
        conn, EmailKind.PASSWORD_CHANGED, recipient="mira@example.com", user_id=user_id, now=NOON
    )
    before = (await notifications.load_emails(conn, [queued]))[queued]

    await accounts.change_language(conn, user_id, i18n.DEFAULT, now=NOON)
    after = (await notifications.load_emails(conn, [queued]))[queued]
    later = await notifications.queue(
        conn, EmailKind.PASSWORD_CHANGED, recipient="mira@example.com", user_id=user_id, now=NOON
    )

    assert emails.subject(before) == "Ihr Passwort wurde geändert"
    assert emails.render(after, STORE) == emails.render(before, STORE)
    assert (await notifications.get(conn, later)).subject == "Your password was changed"


async def test_emails_about_an_order_use_the_language_of_the_order(conn):
    user_id = await add_user(conn)
    dune = await add_book(conn, title="Dune", stock=2)
    request = await checkout_request(conn, {dune: 2}, user_id=user_id, language=GERMAN)
    (placed,) = await checkout.check_out(conn, [request], RATES, now=NOON)
    await stock.move(conn, dune, -1, stock.StockReason.DAMAGED, now=NOON)

    await process(conn, placed.order)

    found = (await notifications.of_user(conn, user_id)).items
    assert [it.kind for it in found] == [EmailKind.ORDER_REJECTED, EmailKind.ORDER_PLACED]
    assert "Dune: 2 bestellt, 1 auf Lager" in found[0].body
    assert found[1].subject.startswith("Wir haben Ihre Bestellung")
    assert (await conn.execute(orders.select())).one().language == GERMAN
