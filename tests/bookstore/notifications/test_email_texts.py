"""Letters are in the language in which their order was placed, or that their user reads."""

import re
from dataclasses import replace

import pytest

from bookstore import i18n
from bookstore.catalogue import stock
from bookstore.database.tables import orders
from bookstore.i18n import Language
from bookstore.notifications import emails, notifications
from bookstore.notifications.email_texts import WORDS
from bookstore.notifications.emails import Item, Kind
from bookstore.orders import checkout
from bookstore.users import accounts
from tests.bookstore.notifications.test_emails import (
    ADDRESS,
    ORDER_KINDS,
    STORE,
    arrived,
    letter,
    order,
    parts,
)
from tests.bookstore.orders.test_orders import RATES, process, wish
from tests.factories import NOON, add_book, add_user
from tests.pseudo import LANGUAGE, NAME, Marked, unmarked, unmarked_in

GERMAN = Language("de")
#: What its order says stands in an alphabet of its own.
CYRILLIC = {
    "items": (Item("Дюна", ("Фрэнк",), 1, 1290), Item("Эмма", ("Джейн",), 2, 950)),
    "shipping_address": ADDRESS | {"name": "Мина", "line1": "Набережная 9", "city": "Гамбург"},
    "tracking": "0042",
    "reason": "Дюна",
    "payment_status": "paid",
}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.MESSAGE])
def test_every_letter_says_everything_through_gettext(kind):
    facts = {"order": order(**CYRILLIC)} if kind in ORDER_KINDS else {}
    store = replace(STORE, name="Лавка")
    with i18n.also(LANGUAGE, NAME, Marked()):
        written = letter(kind, name="Мина", language=LANGUAGE, **facts)
        text, html = emails.plain(written, store), emails.html(written, store)
        subject = emails.subject(written)

    assert unmarked(text) + unmarked_in(html) + unmarked(subject) == []
    assert f'<html lang="{LANGUAGE}">' in html


def test_a_german_letter_has_prices_days_and_countries_as_germans_write_them():
    message = arrived(letter(Kind.ORDER_PLACED, language=GERMAN))
    text, html = parts(message)

    assert message["Subject"] == "Ihre Bestellung 7Q4M-XK2P ist bei uns"
    assert "Guten Tag Mira Sørensen,\n\nvielen Dank. Bestellung 7Q4M-XK2P über drei Bücher" in text
    for words in ("seit dem\n21. März 2026", "39,60\xa0€", "Versand, Deutschland", "(7\xa0%)"):
        assert words in text, text
    assert '<html lang="de">' in html
    assert arrived(letter(Kind.ORDER_PLACED))["Message-ID"] == message["Message-ID"]


@pytest.mark.parametrize("language", set(i18n.LANGUAGES) - {i18n.DEFAULT})
@pytest.mark.parametrize("kind", WORDS)
def test_letters_lose_no_fact_in_translation(language, kind):
    with i18n.speaking(language):
        said = [i18n.said(text) for text in WORDS[kind]]

    assert all(text != english for text, english in zip(said, WORDS[kind], strict=True))
    gaps = [[sorted(re.findall(r"{\w+}", text)) for text in texts] for texts in (said, WORDS[kind])]
    assert gaps[0] == gaps[1]


async def test_a_letter_that_waits_stays_the_letter_that_it_was(conn):
    user_id = await add_user(conn, email="mira@example.com")
    await accounts.change_language(conn, user_id, GERMAN, now=NOON)
    queued = await notifications.queue(
        conn, Kind.PASSWORD_CHANGED, recipient="mira@example.com", user_id=user_id, now=NOON
    )
    before = (await notifications.letters_of(conn, [queued]))[queued]

    await accounts.change_language(conn, user_id, i18n.DEFAULT, now=NOON)
    after = (await notifications.letters_of(conn, [queued]))[queued]
    later = await notifications.queue(
        conn, Kind.PASSWORD_CHANGED, recipient="mira@example.com", user_id=user_id, now=NOON
    )

    assert emails.subject(before) == "Ihr Passwort wurde geändert"
    assert emails.render(after, STORE) == emails.render(before, STORE)
    assert (await notifications.get(conn, later)).subject == "Your password was changed"


async def test_an_order_is_written_about_in_its_own_language(conn):
    user_id = await add_user(conn)
    dune = await add_book(conn, title="Dune", stock=2)
    wanted = await wish(conn, {dune: 2}, user_id=user_id, language=GERMAN)
    (placed,) = await checkout.check_out(conn, [wanted], RATES, now=NOON)
    await stock.move(conn, dune, -1, stock.Reason.DAMAGED, now=NOON)

    await process(conn, placed.order)

    told = (await notifications.of_user(conn, user_id)).items
    assert [it.kind for it in told] == [Kind.ORDER_REJECTED, Kind.ORDER_PLACED]
    assert "Dune: 2 gewünscht, 1 da" in told[0].body
    assert told[1].subject.startswith("Ihre Bestellung")
    assert (await conn.execute(orders.select())).one().language == GERMAN
