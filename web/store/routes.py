"""All routes of the store's pages, and who may access them."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from web.server.problems import ERROR_PAGE
from web.server.route_access import Access, AccessLevel
from web.store import (
    account,
    addresses,
    assets,
    author,
    book,
    books,
    cart,
    checkout,
    display_settings,
    emails,
    errors,
    home,
    legal_pages,
    notifications,
    orders,
    password_and_devices,
    privacy,
    rendering,
    resets,
    seo,
    sign_in,
    suggestions,
    tokens,
    totp,
)

ANYONE, SIGNED_IN, IN_PERSON = AccessLevel.ANYONE, AccessLevel.SIGNED_IN, AccessLevel.IN_PERSON

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
    ("GET", "/account/emails", notifications.show, SIGNED_IN),
    ("POST", "/account/emails", notifications.choose, SIGNED_IN),
    ("GET", "/account/letters", notifications.redirect_old_path, SIGNED_IN),
    ("POST", "/account/letters", notifications.redirect_old_path, SIGNED_IN),
    ("GET", "/account/notifications", notifications.show_all, SIGNED_IN),
    ("POST", "/account/notifications/{notification_id:[0-9]{1,18}}", notifications.read, SIGNED_IN),
    ("GET", "/account/data", privacy.show, IN_PERSON),
    ("POST", "/account/data", privacy.erase, IN_PERSON),
    ("GET", "/account/email", emails.show_change, IN_PERSON),
    ("POST", "/account/email", emails.change, IN_PERSON),
    ("POST", "/account/email/verification", emails.request_verification, IN_PERSON),
    ("GET", "/verify-email/{token}", emails.show_link, ANYONE),
    ("POST", "/verify-email/{token}", emails.confirm, ANYONE),
    ("GET", "/forgot-password", resets.show, ANYONE),
    ("POST", "/forgot-password", resets.send_link, ANYONE),
    ("GET", "/reset-password/{token}", resets.show_link, ANYONE),
    ("POST", "/reset-password/{token}", resets.reset, ANYONE),
    ("GET", "/account/confirm", password_and_devices.show_confirmation, IN_PERSON),
    ("POST", "/account/confirm", password_and_devices.confirm, IN_PERSON),
    ("GET", "/account/password", password_and_devices.show_password, IN_PERSON),
    ("POST", "/account/password", password_and_devices.change_password, IN_PERSON),
    ("GET", "/account/sessions", password_and_devices.show_sessions, IN_PERSON),
    ("POST", "/account/sessions", password_and_devices.end_other_sessions, IN_PERSON),
    ("POST", "/account/sessions/{session}", password_and_devices.end_session, IN_PERSON),
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
    ("POST", "/theme", display_settings.choose, ANYONE),
    ("POST", "/language", display_settings.choose_language, ANYONE),
    ("GET", "/robots.txt", seo.robots, ANYONE),
    ("GET", "/sitemap.xml", seo.sitemaps, ANYONE),
    ("GET", "/sitemaps/{part:[0-9]{1,6}}.xml", seo.sitemap, ANYONE),
    ("GET", "/feed.atom", seo.feed, ANYONE),
    ("GET", "/opensearch.xml", seo.search_description, ANYONE),
    ("GET", "/suggestions", suggestions.show, ANYONE),
    ("GET", "/{name:imprint|terms|privacy|withdrawal}", legal_pages.show, ANYONE),
    ("GET", "/static/{path:[a-z0-9./-]+}", assets.show_file, ANYONE),
]

#: Handlers that require a recent password check, because they create a new way to sign in.
CONFIRMED: set[Handler] = {tokens.create, totp.begin}


def prepare(app: web.Application) -> None:
    """Set up the application for the store's pages."""
    rendering.prepare(app)
    app[ERROR_PAGE] = errors.show_problem
