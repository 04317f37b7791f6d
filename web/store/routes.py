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
    privacy,
    rendering,
    resets,
    seo,
    sign_in,
    suggestions,
    tokens,
    totp,
)
from web.store import password_and_devices as security

ANYONE, SIGNED_IN, IN_PERSON = AccessLevel.ANYONE, AccessLevel.SIGNED_IN, AccessLevel.IN_PERSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BOOK = "{book_id:[0-9]{1,18}}"
_ADDRESS = "{address_id:[0-9]{1,18}}"
_NOTIFICATION = "{notification_id:[0-9]{1,18}}"

#: The pages: the path, who may access it, and the handlers of GET and POST.
_PAGES: list[tuple[str, Access, Handler | None, Handler | None]] = [
    ("/", ANYONE, home.show, None),
    ("/books", ANYONE, books.show, None),
    (f"/books/{_BOOK}", ANYONE, book.show, None),
    ("/authors/{author_id:[0-9]{1,18}}", ANYONE, author.show, None),
    ("/cart", ANYONE, cart.show, cart.add),
    (f"/cart/{_BOOK}", ANYONE, None, cart.change),
    ("/checkout", ANYONE, checkout.show, checkout.place),
    ("/orders", ANYONE, orders.show_all, None),
    ("/orders/{number}", ANYONE, orders.show, None),
    ("/orders/{number}/cancel", ANYONE, None, orders.cancel),
    ("/orders/{number}/reorder", ANYONE, None, orders.reorder),
    ("/account", SIGNED_IN, account.show, account.change),
    ("/account/addresses", SIGNED_IN, addresses.show_all, addresses.add),
    (f"/account/addresses/{_ADDRESS}", SIGNED_IN, addresses.show, addresses.change),
    ("/account/emails", SIGNED_IN, notifications.show, notifications.choose),
    ("/account/letters", SIGNED_IN, notifications.redirect_old, notifications.redirect_old),
    ("/account/notifications", SIGNED_IN, notifications.show_all, None),
    (f"/account/notifications/{_NOTIFICATION}", SIGNED_IN, None, notifications.mark_read),
    ("/account/data", IN_PERSON, privacy.show, privacy.erase),
    ("/account/email", IN_PERSON, emails.show_change, emails.change),
    ("/account/email/verification", IN_PERSON, None, emails.request_verification),
    ("/verify-email/{token}", ANYONE, emails.show_link, emails.confirm),
    ("/forgot-password", ANYONE, resets.show, resets.send_link),
    ("/reset-password/{token}", ANYONE, resets.show_link, resets.reset),
    ("/account/confirm", IN_PERSON, security.show_confirmation, security.confirm),
    ("/account/password", IN_PERSON, security.show_password, security.change_password),
    ("/account/sessions", IN_PERSON, security.show_sessions, security.end_other_sessions),
    ("/account/sessions/{session}", IN_PERSON, None, security.end_session),
    ("/account/tokens", IN_PERSON, tokens.show, tokens.create),
    ("/account/tokens/{token_id:[0-9]{1,18}}", IN_PERSON, None, tokens.end),
    ("/account/second-factor", IN_PERSON, totp.show, totp.begin),
    ("/account/second-factor/code", IN_PERSON, None, totp.enable),
    ("/account/second-factor/remove", IN_PERSON, None, totp.remove),
    ("/sign-in", ANYONE, sign_in.show, sign_in.sign_in),
    ("/sign-in/code", ANYONE, sign_in.show_code, sign_in.give_code),
    ("/register", ANYONE, sign_in.show_registration, sign_in.register),
    ("/sign-out", ANYONE, None, sign_in.sign_out),
    ("/theme", ANYONE, None, display_settings.choose),
    ("/language", ANYONE, None, display_settings.choose_language),
    ("/robots.txt", ANYONE, seo.robots, None),
    ("/sitemap.xml", ANYONE, seo.sitemaps, None),
    ("/sitemaps/{part:[0-9]{1,6}}.xml", ANYONE, seo.sitemap, None),
    ("/feed.atom", ANYONE, seo.feed, None),
    ("/opensearch.xml", ANYONE, seo.search_description, None),
    ("/suggestions", ANYONE, suggestions.show, None),
    ("/{name:imprint|terms|privacy|withdrawal}", ANYONE, legal_pages.show, None),
    ("/static/{path:[a-z0-9./-]+}", ANYONE, assets.show_file, None),
]
#: The routes: method, path, handler and access.
PAGES: list[tuple[str, str, Handler, Access]] = [
    (method, path, handler, access)
    for path, access, *handlers in _PAGES
    for method, handler in zip(("GET", "POST"), handlers, strict=True)
    if handler is not None
]

#: Handlers that require a recent password check, because they create a new way to sign in.
CONFIRMED: set[Handler] = {tokens.create, totp.begin}


def prepare(app: web.Application) -> None:
    """Set up the application for the store's pages."""
    rendering.prepare(app)
    app[ERROR_PAGE] = errors.show_problem
