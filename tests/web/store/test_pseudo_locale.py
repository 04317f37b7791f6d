"""Every text on every page of the store can be translated."""

import re
from dataclasses import replace

import pyotp
import pytest
from jinja2 import Environment, PackageLoader

from bookstore import i18n, orders
from bookstore.catalogue import stock
from bookstore.catalogue.stock import StockReason
from bookstore.database.engine import transaction
from bookstore.orders import processing
from bookstore.orders.states import State
from bookstore.users import addresses
from tests.factories import NOON, Trace
from tests.pseudo import LANGUAGE, NAME, Marked, unmarked, unmarked_in
from tests.web.conftest import PASSWORD
from tests.web.mailbox import token_to
from tests.web.store.pages import OWN, Browser
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
#: Routes whose responses are not pages.
NO_PAGES = {
    "/robots.txt",
    "/sitemap.xml",
    "/sitemaps/{part:[0-9]{1,6}}.xml",
    "/opensearch.xml",
    "/static/{path:[a-z0-9./-]+}",
    "/account/letters",
}
_GAP = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


@pytest.fixture
def settings(settings):
    return replace(settings, store_name="Лавка")


@pytest.fixture(autouse=True)
def marked():
    """Add the pseudo-locale to the languages of the store."""
    with i18n.added_language(LANGUAGE, NAME, Marked()):
        yield


class Reader(Browser):
    """A browser that checks each page for untranslated text and records the routes it visits."""

    def __init__(self, client, visited):
        super().__init__(client)
        self.visited = visited
        #: Untranslated words by path.
        self.untranslated = {}

    async def press(self, button, **typed):
        """Press the button with this text, whatever the values of its placeholders."""
        like = re.sub(r"%\(\w+\)s|%s", ".*", button.replace("(", r"\(").replace(r"%\(", "%("))
        there = [it for form in self.page.forms for it in form.buttons]
        names = [it for it in there if re.fullmatch(f"⟦{like}⟧", it)]
        assert names, f"{self.path} has no {button!r}, but {there}: {self.text}"
        return await super().press(names[0], **typed)

    async def send(self, path, **sent):
        """Send a POST request that no button of the page sends."""
        sent = {"headers": OWN} | sent
        return await self._show(await self.client.post(path, **sent))

    async def _show(self, response):
        for step in (*response.history, response):
            self.visited.add((step.method, _route(step.method, step.url.path)))
        await super()._show(response)
        if words := unmarked_in(self.html):
            self.untranslated[self.path] = words
        return self


def _route(method, path):
    for known, pattern, *_ in PAGES:
        like = _GAP.sub(lambda gap: f"(?:{gap[2] or '[^/]+'})", pattern)
        if known == method and re.fullmatch(like, path):
            return pattern
    return path


@pytest.fixture
async def read(visitor):
    """Makes readers; `read.visited` has their routes, `read.untranslated()` untranslated words."""
    readers = []

    async def read(role=None, email=None):
        agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
        client = await visitor(role, email)
        client.session.headers.update(agent)
        reader = Reader(client, read.visited)
        await reader.send("/language", data={"language": LANGUAGE, "next": "/books"})
        readers.append(reader)
        return reader

    read.visited = set()
    read.untranslated = lambda: {
        path: it for each in readers for path, it in each.untranslated.items()
    }
    return read


@pytest.fixture
async def dune(new_book):
    return await new_book(
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
async def emma(new_book):
    return await new_book(
        title="Эмма", authors=["Фрэнк"], stock=3, format="ebook", language="de", price_cents=990
    )


@pytest.fixture
def own(server):
    """Opens a transaction to change data outside the browser."""
    return lambda: transaction(server.app[ENGINE])


async def order(reader, *books, **typed):
    for book in books:
        await reader.go(f"/books/{book.id}")
        await reader.press("Add to cart")
    await reader.go("/checkout")
    await reader.press("Order and pay %(total)s", **HOME | typed)
    return reader.path.split("/")[2].split("?")[0]


async def visit_pages(reader, dune):
    for path in (
        "/",
        "/books",
        "/books?q=песок&format=paperback&language=ru&price_from=1&price_to=99&in_stock=true",
        "/books?price_from=x",
        "/books?q=Дюма",
        "/books?q=щщщщщщ",
        "/books?sort=price&q=д",
        f"/books/{dune.id}?quantity=3",
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
    await reader.press("Increase quantity")
    await reader.press("Add to cart", quantity="9")
    assert "⟦Only 5 of this book are in stock.⟧" in reader.text
    await reader.press("Add to cart", quantity="2")
    await reader.go(f"/books/{emma.id}")
    await reader.press("Add to cart")
    async with own() as conn:
        await stock.move(conn, emma.id, -3, StockReason.DAMAGED, now=NOON)
        await stock.move(conn, dune.id, -4, StockReason.DAMAGED, now=NOON)
    await reader.go("/cart")
    await reader.go("/checkout")
    await reader.go("/cart")
    await reader.press("Change quantity to %(quantity)s")
    await reader.press("Remove")
    await reader.press("Remove")


async def order_as_guest(reader, own, dune):
    await reader.go(f"/books/{dune.id}")
    await reader.press("Add to cart")
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
    opened = reader.form("⟦Cancel order⟧")
    async with own() as conn:
        await orders.move(conn, number, State.PACKED, actor="staff", now=NOON)
    await reader.go(path)
    reader.page.forms.append(opened)  # The form of a page that was opened before.
    await reader.press("Cancel order")
    assert "⟦This order can no longer be cancelled here." in reader.text
    for state in (State.SHIPPED, State.DELIVERED):
        async with own() as conn:
            await orders.move(conn, number, state, actor="staff", now=NOON)
        await reader.go(path)
    await reader.press("Order again")
    number = await order(reader, dune, email=MINA)
    await reader.press("Cancel order", reason="")
    await reader.press("Add the books to your cart again")
    await reader.go("/orders")


async def register(reader, server):
    await reader.go("/register")
    await reader.press("Create account", email="x", name="", password="x")
    await reader.press("Create account", email="x", name="Мина", password="x")
    await reader.press("Create account", email=MINA, name="Мина", password=PASSWORD)
    await reader.press("Send the confirmation e-mail again")
    await reader.go(f"/verify-email/{await token_to(server, MINA, 'verify-email')}")
    await reader.press("Confirm address")
    await reader.press("Save", name="\u3164")
    await reader.press("Save", name="Мина")
    await reader.go("/orders")


async def save_addresses(reader, dune):
    await reader.go("/account/addresses")
    await reader.press("Add address", **HOME | {"postcode": "", "line1": "x" * 201})
    await reader.press("Add address", **HOME)
    await reader.press("Add address", **HOME)
    await reader.press("Use as default")
    await reader.go(reader.page.links["⟦Edit⟧"])
    await reader.press("Save", city="")
    await reader.press("Save", city="Альтона")
    await reader.press("Remove")
    for _ in range(addresses.MAX_ADDRESSES + 1):
        await reader.send("/account/addresses", data=HOME)
    await reader.go("/account/addresses")
    await order(reader, dune, keep="yes")


async def use_the_account(reader, other, server):
    await other.go("/sign-in")
    await other.press("Sign in", email=MINA, password=PASSWORD)
    for path in ("/account", "/account/emails", "/account/sessions", "/account/notifications"):
        await reader.go(path)
    await reader.press("Mark as read")
    await reader.go("/account/emails")
    await reader.press("Save")
    await reader.go("/account/sessions")
    await reader.press("Sign out all others")
    await reader.send("/account/sessions/1-x")
    await reader.go("/account/email")
    await reader.press("Send e-mail", email="x", password=PASSWORD)
    await reader.press("Send e-mail", email="new@example.com", password="x")
    await reader.press("Send e-mail", email="new@example.com", password=PASSWORD)
    token = await token_to(server, "new@example.com", "confirm-email")
    await reader.go(f"/verify-email/{token}")
    await reader.press("Use this address")
    await reader.go("/account/password")
    await reader.press("Change password", current="x", password=PASSWORD)
    await reader.press("Change password", current=PASSWORD, password="x")
    await reader.press("Change password", current=PASSWORD, password=PASSWORD)
    await reader.go("/account/data")
    await reader.press("Erase my data", password=PASSWORD)
    await reader.press("Erase my data", password="x", sure="yes")
    await reader.press("Erase my data", password=PASSWORD, sure="yes")  # An order is open.


async def use_tokens_and_codes(reader):
    await reader.go("/account/tokens")
    await reader.press("Create token", name="")
    await reader.press("Create token", name="Кассa")
    await reader.go("/account/tokens")
    await reader.press("Revoke")
    await reader.go("/account/second-factor")
    await reader.press("Set up")
    await reader.press("Turn on", code="000000")
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", reader.html)[1].replace(" ", "")
    await reader.press("Turn on", code=pyotp.TOTP(secret).now())
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
    await reader.press("Continue", password="x")


async def reset_the_password(reader, server):
    await reader.go("/forgot-password")
    await reader.press("Send e-mail", email="new@example.com")
    token = await token_to(server, "new@example.com", "reset-password")
    await reader.go(f"/reset-password/{token}")
    await reader.press("Set password", password="x")
    await reader.press("Set password", password=PASSWORD)


async def test_every_text_of_every_page_is_translatable(read, server, own, dune, emma):
    guest = await read()
    await visit_pages(guest, dune)
    await fill_a_cart(guest, own, dune, emma)
    async with own() as conn:
        await stock.move(conn, dune.id, 20, StockReason.RECEIVED, now=NOON)
    await order_as_guest(guest, own, dune)
    await register(guest, server)
    await save_addresses(guest, dune)
    await use_the_account(guest, await read(), server)
    await use_tokens_and_codes(guest)
    await reset_the_password(guest, server)

    assert read.untranslated() == {}
    pages = {(method, path) for method, path, *_ in PAGES if path not in NO_PAGES}
    assert pages - read.visited == set()


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
