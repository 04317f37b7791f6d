"""Every address of the shopper's pages, and who may come in."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from web.access import Access, Open
from web.keys import ERROR_PAGE
from web.store import (
    account,
    around,
    book,
    books,
    cart,
    checkout,
    errors,
    files,
    home,
    orders,
    page,
    sign_in,
    theme,
)

ANYONE, SIGNED_IN = Open.ANYONE, Open.SIGNED_IN

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BOOK = "{book_id:[0-9]{1,18}}"

PAGES: list[tuple[str, str, Handler, Access]] = [
    ("GET", "/", home.show, ANYONE),
    ("GET", "/books", books.show, ANYONE),
    ("GET", f"/books/{_BOOK}", book.show, ANYONE),
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
    ("GET", "/sign-in", sign_in.show, ANYONE),
    ("POST", "/sign-in", sign_in.sign_in, ANYONE),
    ("GET", "/sign-in/code", sign_in.show_code, ANYONE),
    ("POST", "/sign-in/code", sign_in.give_code, ANYONE),
    ("GET", "/register", sign_in.show_registration, ANYONE),
    ("POST", "/register", sign_in.register, ANYONE),
    ("POST", "/sign-out", sign_in.sign_out, ANYONE),
    ("POST", "/theme", theme.choose, ANYONE),
    ("GET", "/robots.txt", around.robots, ANYONE),
    ("GET", "/static/{path:[a-z0-9./-]+}", files.show_file, ANYONE),
]


def prepare(app: web.Application) -> None:
    """Give the application what its pages need."""
    page.prepare(app)
    app[ERROR_PAGE] = errors.show_problem
