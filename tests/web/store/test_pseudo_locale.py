"""No text of ours on any page of the store stands there without having gone through gettext."""

import re
from dataclasses import replace

import pyotp
import pytest
from jinja2 import Environment, PackageLoader

from bookstore import i18n, orders
from bookstore.catalogue import stock
from bookstore.catalogue.stock import Reason
from bookstore.database.engine import transaction
from bookstore.orders import processing
from bookstore.orders.states import State
from bookstore.users import addresses
from tests.factories import NOON
from tests.pseudo import LANGUAGE, NAME, Marked, unmarked, unmarked_in
from tests.web.conftest import PASSWORD
from tests.web.mailbox import token_to
from tests.web.store.pages import OWN, Browser
from tests.web.store.test_orders import Trace
from web.server.keys import ENGINE
from web.store.routes import PAGES

MINA = "mina@example.com"
HOME = {
    "name": "Мина",
    "line1": "Набережная 9",
    "postcode": "22767",
    "city": "Гамбург",
    "country": "DE",
}
FORM = OWN | {"Content-Type": "application/x-www-form-urlencoded"}
#: Answers that are no pages.
NO_PAGES = {
    "/robots.txt",
    "/sitemap.xml",
    "/sitemaps/{part:[0-9]{1,6}}.xml",
    "/opensearch.xml",
    "/static/{path:[a-z0-9./-]+}",
}
_GAP = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


@pytest.fixture
def settings(settings):
    return replace(settings, store_name="Лавка")


@pytest.fixture(autouse=True)
def marked():
    """The store speaks one more language."""
    with i18n.also(LANGUAGE, NAME, Marked()):
        yield


class Reader(Browser):
    """Reads every page that it gets, and remembers where it has been."""

    def __init__(self, client, been):
        super().__init__(client)
        self.been = been
        #: By address: what nobody can translate.
        self.bare = {}

    async def press(self, button, **typed):
        """The button with this text, whatever stands in its gaps."""
        like = re.sub(r"%\(\w+\)s|%s", ".*", button.replace("(", r"\(").replace(r"%\(", "%("))
        there = [it for form in self.page.forms for it in form.buttons]
        names = [it for it in there if re.fullmatch(f"⟦{like}⟧", it)]
        assert names, f"{self.path} has no {button!r}, but {there}: {self.text}"
        return await super().press(names[0], **typed)

    async def send(self, path, **sent):
        """What no button of this page sends."""
        sent = {"headers": OWN} | sent
        return await self._show(await self.client.post(path, **sent))

    async def _show(self, response):
        for step in (*response.history, response):
            self.been.add((step.method, _route(step.method, step.url.path)))
        await super()._show(response)
        if words := unmarked_in(self.html):
            self.bare[self.path] = words
        return self


def _route(method, path):
    for known, pattern, *_ in PAGES:
        like = _GAP.sub(lambda gap: f"(?:{gap[2] or '[^/]+'})", pattern)
        if known == method and re.fullmatch(like, path):
            return pattern
    return path


@pytest.fixture
async def read(visitor):
    """Makes readers; what they have seen is `read.been`, what was bare there `read.bare()`."""
    readers = []

    async def read(role=None, email=None):
        agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
        client = await visitor(role, email)
        client.session.headers.update(agent)
        reader = Reader(client, read.been)
        await reader.send("/language", data={"language": LANGUAGE, "next": "/books"})
        readers.append(reader)
        return reader

    read.been = set()
    read.bare = lambda: {path: it for each in readers for path, it in each.bare.items()}
    return read


@pytest.fixture
async def dune(stand):
    return await stand(
        title="Дюна",
        authors=["Фрэнк", {"name": "Лев", "role": "translator"}],
        description="Песок.",
        publisher="Мир",
        language="ru",
        format="paperback",
        pages=412,
        year=1965,
        price_cents=1290,
        stock=5,
    )


@pytest.fixture
async def emma(stand):
    return await stand(
        title="Эмма", authors=["Фрэнк"], stock=3, format="ebook", language="de", price_cents=990
    )


@pytest.fixture
def own(server):
    """Changes something behind the shoppers' backs."""
    return lambda: transaction(server.app[ENGINE])


async def order(reader, *books, **typed):
    for book in books:
        await reader.go(f"/books/{book.id}")
        await reader.press("Put in cart")
    await reader.go("/checkout")
    await reader.press("Order and pay %(total)s", **HOME | typed)
    return reader.path.split("/")[2].split("?")[0]


async def look_around(reader, dune):
    for path in (
        "/",
        "/books",
        "/books?q=песок&format=paperback&language=ru&price_from=1&price_to=99&in_stock=true",
        "/books?price_from=x",
        "/books?q=Дюма",
        "/books?q=щщщщщщ",
        "/books?sort=price&q=д",
        f"/books/{dune.id}?copies=3",
        f"/authors/{dune.authors[0].id}",
        "/suggestions?q=дю",
        "/suggestions?q=щщ",
        "/suggestions",
        "/feed.atom",
        "/imprint",
        "/terms",
        "/privacy",
        "/withdrawal",
        "/nowhere",
        "/theme",
        "/verify-email/x",
        "/cart",
        "/orders",
        "/sign-in/code",
    ):
        await reader.go(path)
    await reader.send("/cart", data=b"%ff", headers=FORM)
    await reader.send("/cart", json={})
    await reader.go("/")
    await reader.press("Dark")


async def fill_a_cart(reader, own, dune, emma):
    await reader.go(f"/books/{dune.id}")
    await reader.press("One more")
    await reader.press("Put in cart", quantity="9")
    assert "⟦Only 5 of this book are left.⟧" in reader.text
    await reader.press("Put in cart", quantity="2")
    await reader.go(f"/books/{emma.id}")
    await reader.press("Put in cart")
    async with own() as conn:
        await stock.move(conn, emma.id, -3, Reason.DAMAGED, now=NOON)
        await stock.move(conn, dune.id, -4, Reason.DAMAGED, now=NOON)
    await reader.go("/cart")
    await reader.go("/checkout")
    await reader.go("/cart")
    await reader.press("Take %(copies)s")
    await reader.press("Remove")
    await reader.press("Remove")


async def order_as_guest(reader, own, dune):
    await reader.go(f"/books/{dune.id}")
    await reader.press("Put in cart")
    await reader.go("/checkout")
    await reader.press("Order and pay %(total)s")
    await reader.press("Order and pay %(total)s", **HOME | {"email": "x", "postcode": ""})
    number = await order(reader, dune, email=MINA)
    path = reader.path
    await reader.go(path)
    async with own() as conn:
        placed = await orders.get(conn, number)
        await processing.process(conn, [placed.id], trace=Trace(), now=NOON)
    await reader.go(path)
    opened = reader.form("⟦Cancel the order⟧")
    async with own() as conn:
        await orders.move(conn, number, State.PACKED, actor="staff", now=NOON)
    await reader.go(path)
    reader.page.forms.append(opened)  # Of a page that was open all the time.
    await reader.press("Cancel the order")
    assert "⟦This order cannot be cancelled here any more." in reader.text
    for state in (State.SHIPPED, State.DELIVERED):
        async with own() as conn:
            await orders.move(conn, number, state, actor="staff", now=NOON)
        await reader.go(path)
    await reader.press("Order again")
    number = await order(reader, dune, email=MINA)
    await reader.press("Cancel the order", reason="")
    await reader.press("Put the books back in your cart")
    await reader.go("/orders")


async def become_a_user(reader, server):
    await reader.go("/register")
    await reader.press("Make the account", email="x", name="", password="x")
    await reader.press("Make the account", email="x", name="Мина", password="x")
    await reader.press("Make the account", email=MINA, name="Мина", password=PASSWORD)
    await reader.press("Send me the letter again")
    await reader.go(f"/verify-email/{await token_to(server, MINA, 'verify-email')}")
    await reader.press("Confirm the address")
    await reader.press("Save", name="\u3164")
    await reader.press("Save", name="Мина")
    await reader.go("/orders")


async def keep_addresses(reader, dune):
    await reader.go("/account/addresses")
    await reader.press("Add the address", **HOME | {"postcode": "", "line1": "x" * 201})
    await reader.press("Add the address", **HOME)
    await reader.press("Add the address", **HOME)
    await reader.press("Fill in first")
    await reader.go(reader.page.links["⟦Change⟧"])
    await reader.press("Save", city="")
    await reader.press("Save", city="Альтона")
    await reader.press("Remove")
    for _ in range(addresses.MOST + 1):
        await reader.send("/account/addresses", data=HOME)
    await reader.go("/account/addresses")
    await order(reader, dune, keep="yes")


async def mind_the_account(reader, other, server):
    await other.go("/sign-in")
    await other.press("Sign in", email=MINA, password=PASSWORD)
    for path in ("/account", "/account/letters", "/account/sessions", "/account/notifications"):
        await reader.go(path)
    await reader.press("I have read it")
    await reader.go("/account/letters")
    await reader.press("Save")
    await reader.go("/account/sessions")
    await reader.press("Sign out all others")
    await reader.send("/account/sessions/1-x")
    await reader.go("/account/email")
    await reader.press("Send the letter", email="x", password=PASSWORD)
    await reader.press("Send the letter", email="new@example.com", password="x")
    await reader.press("Send the letter", email="new@example.com", password=PASSWORD)
    token = await token_to(server, "new@example.com", "confirm-email")
    await reader.go(f"/verify-email/{token}")
    await reader.press("Use this address")
    await reader.go("/account/password")
    await reader.press("Change the password", current="x", password=PASSWORD)
    await reader.press("Change the password", current=PASSWORD, password="x")
    await reader.press("Change the password", current=PASSWORD, password=PASSWORD)
    await reader.go("/account/data")
    await reader.press("Erase my data", password=PASSWORD)
    await reader.press("Erase my data", password="x", sure="yes")
    await reader.press("Erase my data", password=PASSWORD, sure="yes")  # An order is open.


async def use_tokens_and_codes(reader):
    await reader.go("/account/tokens")
    await reader.press("Make the token", name="")
    await reader.press("Make the token", name="Кассa")
    await reader.go("/account/tokens")
    await reader.press("End")
    await reader.go("/account/second-factor")
    await reader.press("Set it up")
    await reader.press("Have it on", code="000000")
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", reader.html)[1].replace(" ", "")
    await reader.press("Have it on", code=pyotp.TOTP(secret).now())
    recovery = re.search(r"<code>([^<]+)</code>", reader.html)[1]
    await reader.go("/account/second-factor")
    await reader.go("/account")
    await reader.press("Sign out")
    await reader.go("/sign-in")
    await reader.press("Sign in", email="new@example.com", password="x")
    await reader.press("Sign in", email="new@example.com", password=PASSWORD)
    await reader.press("Sign in", code="000000")
    await reader.press("Sign in", code=recovery)
    await reader.go("/account/second-factor")
    await reader.press("Remove the second factor", password="x")
    await reader.press("Remove the second factor", password=PASSWORD)
    await reader.go("/account/confirm?next=/account")
    await reader.press("Go on", password="x")


async def forget_the_password(reader, server):
    await reader.go("/forgot-password")
    await reader.press("Send the letter", email="new@example.com")
    token = await token_to(server, "new@example.com", "reset-password")
    await reader.go(f"/reset-password/{token}")
    await reader.press("Set the password", password="x")
    await reader.press("Set the password", password=PASSWORD)


async def test_every_page_says_everything_through_gettext(read, server, own, dune, emma):
    guest = await read()
    await look_around(guest, dune)
    await fill_a_cart(guest, own, dune, emma)
    async with own() as conn:
        await stock.move(conn, dune.id, 20, Reason.RECEIVED, now=NOON)
    await order_as_guest(guest, own, dune)
    await become_a_user(guest, server)
    await keep_addresses(guest, dune)
    await mind_the_account(guest, await read(), server)
    await use_tokens_and_codes(guest)
    await forget_the_password(guest, server)

    assert read.bare() == {}
    pages = {(method, path) for method, path, *_ in PAGES if path not in NO_PAGES}
    assert pages - read.been == set()


def test_the_search_for_bare_texts_finds_them():
    page = '<h1>⟦One⟧ Two <code>three</code></h1><img alt="Four"><button title="⟦Five⟧">5</button>'

    assert unmarked_in(page) == ["Two", "Four"]
    assert unmarked("⟦Dear ⟦Six⟧⟧ a@b.example") == []


_TEMPLATES = Environment(loader=PackageLoader("web.store"), extensions=["jinja2.ext.i18n"])


@pytest.mark.parametrize("name", _TEMPLATES.list_templates(["html"]))
def test_a_template_has_no_text_outside_of_gettext(name):
    source, _, _ = _TEMPLATES.loader.get_source(_TEMPLATES, name)
    html, inside, word = [], False, ""
    for _, kind, value in _TEMPLATES.lex(source):
        if kind == "block_begin":
            word = ""
        elif kind == "name" and not word:
            word = value
            inside = word == "trans" or (inside and word != "endtrans")
        elif kind == "data" and not inside:
            html.append(value)

    assert unmarked_in("".join(html)) == []
