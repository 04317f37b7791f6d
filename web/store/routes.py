"""Every address of the shopper's pages, and who may come in."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from web.access import Access, Open
from web.keys import ERROR_PAGE
from web.store import (
    account,
    addresses,
    around,
    author,
    book,
    books,
    cart,
    checkout,
    emails,
    errors,
    files,
    home,
    letters,
    orders,
    page,
    privacy,
    resets,
    security,
    sign_in,
    suggestions,
    texts,
    theme,
    tokens,
    totp,
)

ANYONE, SIGNED_IN, IN_PERSON = Open.ANYONE, Open.SIGNED_IN, Open.IN_PERSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BOOK = "{book_id:[0-9]{1,18}}"
_ADDRESS = "{address_id:[0-9]{1,18}}"

PAGES: list[tuple[str, str, Handler, Access]] = [
    ("GET", "/", home.show, ANYONE),
    ("GET", "/books", books.show, ANYONE),
    ("GET", f"/books/{_BOOK}", book.show, ANYONE),
    ("GET", "/authors/{author_id:[0-9]{1,18}}", author.show, ANYONE),
    ("GET", "/cart", cart.show, ANYONE),
    ("POST", "/cart", cart.add, ANYONE),
    ("POST", f"/cart/{_BOOK}", cart.change, ANYONE),
    ("GET", "/checkout", checkout.show, ANYONE),
    ("POST", "/checkout", checkout.place, ANYONE),
    ("GET", "/orders", orders.show_all, ANYONE),
    ("GET", "/orders/{number}", orders.show, ANYONE),
    ("POST", "/orders/{number}/cancel", orders.cancel, ANYONE),
    ("POST", "/orders/{number}/reorder", orders.reorder, ANYONE),
    ("GET", "/account", account.show, SIGNED_IN),
    ("POST", "/account", account.change, SIGNED_IN),
    ("GET", "/account/addresses", addresses.show_all, SIGNED_IN),
    ("POST", "/account/addresses", addresses.add, SIGNED_IN),
    ("GET", f"/account/addresses/{_ADDRESS}", addresses.show, SIGNED_IN),
    ("POST", f"/account/addresses/{_ADDRESS}", addresses.change, SIGNED_IN),
    ("GET", "/account/letters", letters.show, SIGNED_IN),
    ("POST", "/account/letters", letters.choose, SIGNED_IN),
    ("GET", "/account/notifications", letters.show_all, SIGNED_IN),
    ("POST", "/account/notifications/{notification_id:[0-9]{1,18}}", letters.read, SIGNED_IN),
    ("GET", "/account/data", privacy.show, IN_PERSON),
    ("POST", "/account/data", privacy.erase, IN_PERSON),
    ("GET", "/account/email", emails.show_change, IN_PERSON),
    ("POST", "/account/email", emails.change, IN_PERSON),
    ("POST", "/account/email/verification", emails.ask_to_verify, IN_PERSON),
    ("GET", "/verify-email/{token}", emails.show_link, ANYONE),
    ("POST", "/verify-email/{token}", emails.confirm, ANYONE),
    ("GET", "/forgot-password", resets.show, ANYONE),
    ("POST", "/forgot-password", resets.ask, ANYONE),
    ("GET", "/reset-password/{token}", resets.show_link, ANYONE),
    ("POST", "/reset-password/{token}", resets.reset, ANYONE),
    ("GET", "/account/confirm", security.show_confirmation, IN_PERSON),
    ("POST", "/account/confirm", security.confirm, IN_PERSON),
    ("GET", "/account/password", security.show_password, IN_PERSON),
    ("POST", "/account/password", security.change_password, IN_PERSON),
    ("GET", "/account/sessions", security.show_sessions, IN_PERSON),
    ("POST", "/account/sessions", security.end_other_sessions, IN_PERSON),
    ("POST", "/account/sessions/{session}", security.end_session, IN_PERSON),
    ("GET", "/account/tokens", tokens.show, IN_PERSON),
    ("POST", "/account/tokens", tokens.create, IN_PERSON),
    ("POST", "/account/tokens/{token_id:[0-9]{1,18}}", tokens.end, IN_PERSON),
    ("GET", "/account/second-factor", totp.show, IN_PERSON),
    ("POST", "/account/second-factor", totp.begin, IN_PERSON),
    ("POST", "/account/second-factor/code", totp.enable, IN_PERSON),
    ("POST", "/account/second-factor/remove", totp.remove, IN_PERSON),
    ("GET", "/sign-in", sign_in.show, ANYONE),
    ("POST", "/sign-in", sign_in.sign_in, ANYONE),
    ("GET", "/sign-in/code", sign_in.show_code, ANYONE),
    ("POST", "/sign-in/code", sign_in.give_code, ANYONE),
    ("GET", "/register", sign_in.show_registration, ANYONE),
    ("POST", "/register", sign_in.register, ANYONE),
    ("POST", "/sign-out", sign_in.sign_out, ANYONE),
    ("POST", "/theme", theme.choose, ANYONE),
    ("POST", "/language", theme.choose_language, ANYONE),
    ("GET", "/robots.txt", around.robots, ANYONE),
    ("GET", "/sitemap.xml", around.sitemaps, ANYONE),
    ("GET", "/sitemaps/{part:[0-9]{1,6}}.xml", around.sitemap, ANYONE),
    ("GET", "/feed.atom", around.feed, ANYONE),
    ("GET", "/opensearch.xml", around.search_description, ANYONE),
    ("GET", "/suggestions", suggestions.show, ANYONE),
    ("GET", "/{name:imprint|terms|privacy|withdrawal}", texts.show, ANYONE),
    ("GET", "/static/{path:[a-z0-9./-]+}", files.show_file, ANYONE),
]


def prepare(app: web.Application) -> None:
    """Give the application what its pages need."""
    page.prepare(app)
    app[ERROR_PAGE] = errors.show_problem
