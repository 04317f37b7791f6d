"""Every route of the dashboard, with the permission that it requires."""

from collections.abc import Container

from aiohttp import web
from aiohttp.typedefs import Handler

from admin import (
    assets,
    audit,
    authors,
    book_cover,
    book_form,
    book_list,
    bulk_books,
    bulk_preview,
    categories,
    exports,
    home,
    imports,
    legal_texts,
    notifications,
    order_detail,
    order_list,
    quick_search,
    stock,
    tasks,
    user_detail,
    user_list,
)
from admin.lists import Route, list_routes
from bookstore.users.permissions import DELICATE, Permission
from web.server.route_access import Access, AccessLevel

_AUTHOR = "/authors/{author_id:[0-9]{1,18}}"
_BOOK = "/books/{book_id:[0-9]{1,18}}"
_CATEGORY = "/categories/{slug}"
_EXPORT = "/exports/{job_id:[0-9]{1,18}}"
_IMPORT = "/imports/{job_id:[0-9]{1,18}}"
_EMAIL = "/notifications/{notification_id:[0-9]{1,18}}"
_EMAILS_PLAN = "/notifications/bulk/{plan_id:[0-9]{1,18}}"
_ORDER = "/orders/{number}"
_ORDERS_PLAN = "/orders/bulk/{plan_id:[0-9]{1,18}}"
_BOOKS_PLAN = "/books/bulk/{plan_id:[0-9]{1,18}}"
_TASK = "/queues/{task_id:[0-9]{1,18}}"
_TEXT = "/texts/{name}/{language}"
_USER = "/users/{user_id:[0-9]{1,18}}"


ROUTES: list[Route] = [
    ("GET", "", home.show, Permission.OPEN_DASHBOARD),
    ("GET", "/search", quick_search.search, Permission.OPEN_DASHBOARD),
    *list_routes(order_list.LIST),
    ("POST", "/orders", order_list.move_many, Permission.CHANGE_ORDERS),
    ("GET", _ORDERS_PLAN, bulk_preview.show, Permission.CHANGE_ORDERS),
    ("POST", _ORDERS_PLAN, bulk_preview.apply, Permission.CHANGE_ORDERS),
    ("GET", f"{_ORDERS_PLAN}/stream", bulk_preview.stream, Permission.CHANGE_ORDERS),
    ("GET", "/orders/slips", order_list.packing_slips, Permission.SEE_ORDERS),
    ("GET", _ORDER, order_detail.show, Permission.SEE_ORDERS),
    ("POST", f"{_ORDER}/transitions", order_detail.move, Permission.CHANGE_ORDERS),
    ("POST", f"{_ORDER}/notes", order_detail.add_note, Permission.CHANGE_ORDERS),
    ("POST", f"{_ORDER}/payment", order_detail.change_payment, Permission.CHANGE_PAYMENT),
    *list_routes(book_list.LIST),
    ("GET", "/books/new", book_form.show_new, Permission.CHANGE_BOOKS),
    ("POST", "/books/new", book_form.create, Permission.CHANGE_BOOKS),
    ("POST", "/books/bulk", bulk_books.plan, Permission.CHANGE_BOOKS),
    ("GET", _BOOKS_PLAN, bulk_books.show, Permission.CHANGE_BOOKS),
    ("POST", _BOOKS_PLAN, bulk_books.apply, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOKS_PLAN}/undo", bulk_books.undo, Permission.CHANGE_BOOKS),
    ("GET", f"{_BOOKS_PLAN}/stream", bulk_preview.stream, Permission.CHANGE_BOOKS),
    ("GET", _BOOK, book_form.show, Permission.CHANGE_BOOKS),
    ("POST", _BOOK, book_form.change, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOK}/withdraw", book_list.withdraw, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOK}/restore", book_list.restore, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOK}/cover", book_cover.put, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOK}/cover/remove", book_cover.remove, Permission.CHANGE_BOOKS),
    ("POST", f"{_BOOK}/price", book_list.change_price, Permission.CHANGE_PRICES),
    ("POST", f"{_BOOK}/count", book_list.count_stock, Permission.CHANGE_STOCK),
    *list_routes(stock.LIST),
    ("POST", f"{_BOOK}/stock", stock.move, Permission.CHANGE_STOCK),
    ("POST", f"{_BOOK}/low-stock", stock.set_low_stock, Permission.CHANGE_STOCK),
    *list_routes(categories.LIST),
    ("POST", "/categories", categories.create, Permission.CHANGE_CATEGORIES),
    ("GET", _CATEGORY, categories.LIST.show, Permission.CHANGE_CATEGORIES),
    ("POST", _CATEGORY, categories.change, Permission.CHANGE_CATEGORIES),
    ("POST", f"{_CATEGORY}/move", categories.move, Permission.CHANGE_CATEGORIES),
    ("POST", f"{_CATEGORY}/delete", categories.remove, Permission.CHANGE_CATEGORIES),
    *list_routes(authors.LIST),
    ("GET", _AUTHOR, authors.show, Permission.CHANGE_BOOKS),
    ("POST", _AUTHOR, authors.rename, Permission.CHANGE_BOOKS),
    *list_routes(imports.LIST),
    ("POST", "/imports", imports.send, Permission.IMPORT_BOOKS),
    ("GET", "/imports/new", imports.show_new, Permission.IMPORT_BOOKS),
    ("POST", "/imports/start", imports.start, Permission.IMPORT_BOOKS),
    *list_routes(imports.REJECTED_ROWS),
    ("POST", f"{_IMPORT}/cancel", imports.cancel, Permission.IMPORT_BOOKS),
    *list_routes(user_list.LIST),
    ("GET", _USER, user_detail.show, Permission.SEE_USERS),
    ("POST", f"{_USER}/role", user_detail.change_role, Permission.CHANGE_USERS),
    ("POST", f"{_USER}/disabled", user_detail.change_disabled, Permission.CHANGE_USERS),
    ("POST", f"{_USER}/sessions", user_detail.end_sessions, Permission.CHANGE_USERS),
    ("POST", f"{_USER}/second-factor", user_detail.remove_second_factor, Permission.CHANGE_USERS),
    ("GET", f"{_USER}/export.json", user_detail.export, Permission.CHANGE_USERS),
    ("POST", f"{_USER}/erase", user_detail.erase, Permission.CHANGE_USERS),
    ("POST", f"{_USER}/message", user_detail.send_message, Permission.SEND_NOTIFICATIONS),
    *list_routes(notifications.LIST, notifications.show_all),
    ("POST", "/notifications/resend", notifications.resend_many, Permission.SEND_NOTIFICATIONS),
    ("GET", _EMAILS_PLAN, bulk_preview.show, Permission.SEND_NOTIFICATIONS),
    ("POST", _EMAILS_PLAN, bulk_preview.apply, Permission.SEND_NOTIFICATIONS),
    ("GET", f"{_EMAILS_PLAN}/stream", bulk_preview.stream, Permission.SEND_NOTIFICATIONS),
    ("POST", "/notifications/test", notifications.send_test, Permission.SEND_NOTIFICATIONS),
    ("GET", f"{_EMAIL}/body", notifications.show_body, Permission.SEE_NOTIFICATIONS),
    ("POST", f"{_EMAIL}/resend", notifications.resend, Permission.SEND_NOTIFICATIONS),
    *list_routes(tasks.LIST, tasks.show),
    ("POST", "/queues/replay", tasks.replay_all, Permission.CHANGE_TASKS),
    ("POST", f"{_TASK}/replay", tasks.replay, Permission.CHANGE_TASKS),
    ("POST", f"{_TASK}/discard", tasks.discard, Permission.CHANGE_TASKS),
    ("GET", "/texts", legal_texts.show_all, Permission.CHANGE_TEXTS),
    ("GET", _TEXT, legal_texts.show, Permission.CHANGE_TEXTS),
    ("POST", _TEXT, legal_texts.save, Permission.CHANGE_TEXTS),
    *list_routes(audit.LIST),
    # The handlers check the permission of the exported list.
    ("GET", _EXPORT, exports.show, Permission.OPEN_DASHBOARD),
    ("GET", f"{_EXPORT}/file", exports.download, Permission.OPEN_DASHBOARD),
    ("GET", f"{_EXPORT}/stream", exports.stream, Permission.OPEN_DASHBOARD),
    ("POST", f"{_EXPORT}/cancel", exports.cancel, Permission.OPEN_DASHBOARD),
    ("GET", "/static/{name:[a-z.-]+}", assets.show, AccessLevel.ANYONE),
]

#: The page of a form, where it is not the page at the parent path.
_FORM_PAGES = {
    f"{_BOOK}/price": "/books",
    f"{_BOOK}/count": "/books",
    f"{_BOOK}/low-stock": f"{_BOOK}/stock",
}


def add_routes(
    app: web.Application,
) -> tuple[dict[web.AbstractRoute, Access], set[web.AbstractRoute]]:
    """Add the routes.

    Returns the access rule of each route, and the routes that require a recent password.
    """
    confirmed: set[web.AbstractRoute] = set()
    access: dict[web.AbstractRoute, Access] = {}
    pages: dict[str, web.AbstractRoute] = {}
    for method, path, handler, permission in ROUTES:
        # HEAD is GET without a body.
        for name in ["GET", "HEAD"] if method == "GET" else [method]:
            route = app.router.add_route(name, path, handler)
            access[route] = permission
            if permission in DELICATE:
                confirmed.add(route)
            if name == "GET":
                pages[path] = route
    for method, path, _, permission in ROUTES:
        if method == "POST" and path not in pages:
            redirect = _redirect_to(pages[_form_page(path, pages)])
            for name in ("GET", "HEAD"):
                access[app.router.add_route(name, path, redirect)] = permission
    return access, confirmed


def _form_page(form: str, pages: Container[str]) -> str:
    """The path of the page that shows the form with this path."""
    path = _FORM_PAGES.get(form, form)
    while path not in pages:
        path = path.rpartition("/")[0]
    return path


def _redirect_to(page: web.AbstractRoute) -> Handler:
    """A handler that redirects to a page.

    After a failed form the browser shows the form's URL, which users may reload or bookmark.
    """

    async def redirect(request: web.Request) -> web.StreamResponse:
        parts = request.match_info if isinstance(page.resource, web.DynamicResource) else {}
        raise web.HTTPSeeOther(page.url_for(**parts))

    return redirect
