"""The routes of the API and the access that each requires."""

from typing import NamedTuple

from bookstore.users.permissions import Permission
from web.api import (
    accounts,
    addresses,
    admin,
    authors,
    books,
    carts,
    categories,
    covers,
    editions,
    emails,
    exports,
    imports,
    notifications,
    orders,
    preferences,
    privacy,
    resets,
    stock,
    tokens,
    totp,
    users,
)
from web.api.operations import Handler
from web.server.route_access import Access, AccessLevel

ANYONE, SIGNED_IN, IN_PERSON = AccessLevel.ANYONE, AccessLevel.SIGNED_IN, AccessLevel.IN_PERSON
API = "/api/v1"
#: Ids with up to 18 digits fit the integer columns.  Other paths match no route.
USER = "{user_id:[0-9]{1,18}}"
BOOK = "{book_id:[0-9]{1,18}}"
TASK = "{task_id:[0-9]{1,18}}"
NOTIFICATION = "{notification_id:[0-9]{1,18}}"
ADDRESS = "{address_id:[0-9]{1,18}}"
JOB = "{job_id:[0-9]{1,18}}"
ORDER = "{number}"


class Route(NamedTuple):
    method: str
    path: str
    handler: Handler
    access: Access


OPERATIONS = [
    Route("POST", "/users", users.register, ANYONE),
    Route("GET", "/users/me", users.show_profile, SIGNED_IN),
    Route("PATCH", "/users/me", users.change_profile, SIGNED_IN),
    Route("DELETE", "/users/me", privacy.erase_account, IN_PERSON),
    Route("GET", "/users/me/export", privacy.export_data, IN_PERSON),
    Route("PUT", "/users/me/password", accounts.change_password, IN_PERSON),
    Route("PUT", "/users/me/email", emails.change_email, IN_PERSON),
    Route("POST", "/users/me/email-verification", emails.send_email_verification, SIGNED_IN),
    Route("PUT", "/email-verifications/{token}", emails.verify_email, ANYONE),
    Route("POST", "/password-resets", resets.request_password_reset, ANYONE),
    Route("PUT", "/password-resets/{token}", resets.reset_password, ANYONE),
    Route("GET", "/users/me/sessions", accounts.list_sessions, IN_PERSON),
    Route("DELETE", "/users/me/sessions/{session}", accounts.end_session, IN_PERSON),
    Route("GET", "/users/me/tokens", tokens.list_tokens, IN_PERSON),
    Route("POST", "/users/me/tokens", tokens.create_token, IN_PERSON),
    Route("DELETE", "/users/me/tokens/{token_id:[0-9]{1,18}}", tokens.end_token, IN_PERSON),
    Route("POST", "/users/me/totp", totp.begin_totp, IN_PERSON),
    Route("PUT", "/users/me/totp", totp.enable_totp, IN_PERSON),
    Route("DELETE", "/users/me/totp", totp.remove_totp, IN_PERSON),
    Route("GET", "/users/me/addresses", addresses.list_addresses, SIGNED_IN),
    Route("POST", "/users/me/addresses", addresses.add_address, SIGNED_IN),
    Route("PATCH", f"/users/me/addresses/{ADDRESS}", addresses.change_address, SIGNED_IN),
    Route("DELETE", f"/users/me/addresses/{ADDRESS}", addresses.remove_address, SIGNED_IN),
    Route("GET", "/users/me/preferences", preferences.show_preferences, SIGNED_IN),
    Route("PATCH", "/users/me/preferences", preferences.change_preferences, SIGNED_IN),
    Route("GET", "/users", accounts.list_users, Permission.SEE_USERS),
    Route("GET", f"/users/{USER}", accounts.show_user, Permission.SEE_USERS),
    Route("PATCH", f"/users/{USER}", accounts.change_user, Permission.CHANGE_USERS),
    Route("GET", "/session", users.show_session, ANYONE),
    Route("POST", "/session", users.sign_in, ANYONE),
    Route("DELETE", "/session", users.sign_out, ANYONE),
    Route("GET", "/books", books.list_books, ANYONE),
    Route("POST", "/books", books.create_book, Permission.CHANGE_BOOKS),
    Route("GET", "/books/isbn/{isbn}", books.show_book_by_isbn, ANYONE),
    Route("GET", f"/books/{BOOK}", books.show_book, ANYONE),
    Route("PATCH", f"/books/{BOOK}", books.change_book, Permission.CHANGE_BOOKS),
    Route("DELETE", f"/books/{BOOK}", books.withdraw_book, Permission.CHANGE_BOOKS),
    Route("GET", f"/books/{BOOK}/editions", editions.list_editions, ANYONE),
    Route("PUT", f"/books/{BOOK}/editions", editions.link_editions, Permission.CHANGE_BOOKS),
    Route(
        "GET", f"/books/{BOOK}/stock-movements", stock.list_stock_movements, Permission.CHANGE_STOCK
    ),
    Route("POST", f"/books/{BOOK}/stock-movements", stock.move_stock, Permission.CHANGE_STOCK),
    Route("PUT", f"/books/{BOOK}/cover", covers.upload_cover, Permission.CHANGE_BOOKS),
    Route("DELETE", f"/books/{BOOK}/cover", covers.remove_cover, Permission.CHANGE_BOOKS),
    Route("GET", "/covers/{name}", covers.show_cover, ANYONE),
    Route("GET", "/categories", categories.list_categories, ANYONE),
    Route("POST", "/categories", categories.create_category, Permission.CHANGE_CATEGORIES),
    Route("GET", "/categories/{slug}", categories.show_category, ANYONE),
    Route("PATCH", "/categories/{slug}", categories.change_category, Permission.CHANGE_CATEGORIES),
    Route("DELETE", "/categories/{slug}", categories.remove_category, Permission.CHANGE_CATEGORIES),
    Route("GET", "/authors", authors.list_authors, ANYONE),
    Route("GET", "/authors/{author_id:[0-9]{1,18}}", authors.show_author, ANYONE),
    Route("GET", "/cart", carts.show_cart, ANYONE),
    Route("DELETE", "/cart", carts.clear_cart, ANYONE),
    Route("POST", "/cart/items", carts.add_to_cart, ANYONE),
    Route("PUT", f"/cart/items/{BOOK}", carts.set_cart_quantity, ANYONE),
    Route("DELETE", f"/cart/items/{BOOK}", carts.remove_from_cart, ANYONE),
    Route("GET", "/orders", orders.list_orders, SIGNED_IN),
    Route("POST", "/orders", orders.place_order, ANYONE),
    Route("GET", f"/orders/{ORDER}", orders.show_order, ANYONE),
    Route("POST", f"/orders/{ORDER}/cancel", orders.cancel_order, ANYONE),
    Route("POST", f"/orders/{ORDER}/reorder", orders.reorder, ANYONE),
    Route("GET", f"/orders/{ORDER}/events", orders.list_order_events, ANYONE),
    Route("GET", f"/orders/{ORDER}/stream", orders.stream_order, ANYONE),
    Route("GET", "/admin/orders", admin.list_all_orders, Permission.SEE_ORDERS),
    Route("GET", "/admin/events", admin.stream_all_orders, Permission.SEE_ORDERS),
    Route("POST", f"/admin/orders/{ORDER}/transitions", admin.move_order, Permission.CHANGE_ORDERS),
    Route(
        "POST", f"/admin/orders/{ORDER}/payment", admin.change_payment, Permission.CHANGE_PAYMENT
    ),
    Route("GET", "/imports", imports.list_imports, Permission.IMPORT_BOOKS),
    Route("POST", "/imports", imports.start_import, Permission.IMPORT_BOOKS),
    Route("GET", f"/imports/{JOB}", imports.show_import, Permission.IMPORT_BOOKS),
    Route("GET", f"/imports/{JOB}/lines", imports.list_import_lines, Permission.IMPORT_BOOKS),
    Route("GET", f"/imports/{JOB}/errors.csv", imports.show_refused_rows, Permission.IMPORT_BOOKS),
    Route("GET", f"/imports/{JOB}/stream", imports.stream_import, Permission.IMPORT_BOOKS),
    Route("POST", f"/imports/{JOB}/cancel", imports.cancel_import, Permission.IMPORT_BOOKS),
    Route("GET", "/exports", exports.list_exports, Permission.EXPORT_BOOKS),
    Route("POST", "/exports", exports.start_export, Permission.EXPORT_BOOKS),
    Route("GET", f"/exports/{JOB}", exports.show_export, Permission.EXPORT_BOOKS),
    Route("GET", f"/exports/{JOB}/file", exports.fetch_export, Permission.EXPORT_BOOKS),
    Route("POST", f"/exports/{JOB}/cancel", exports.cancel_export, Permission.EXPORT_BOOKS),
    Route("GET", "/admin/tasks", admin.list_tasks, Permission.SEE_TASKS),
    Route("POST", f"/admin/tasks/{TASK}/replay", admin.replay_task, Permission.CHANGE_TASKS),
    Route("POST", f"/admin/tasks/{TASK}/discard", admin.discard_task, Permission.CHANGE_TASKS),
    Route("GET", "/notifications", notifications.list_notifications, SIGNED_IN),
    Route("POST", "/notifications", notifications.send_message, Permission.SEND_NOTIFICATIONS),
    Route(
        "POST", f"/notifications/{NOTIFICATION}/read", notifications.read_notification, SIGNED_IN
    ),
    Route("GET", "/admin/notifications", notifications.list_emails, Permission.SEE_NOTIFICATIONS),
    Route(
        "POST",
        f"/admin/notifications/{NOTIFICATION}/resend",
        notifications.resend_email,
        Permission.SEND_NOTIFICATIONS,
    ),
]
#: These operations create a new credential, so they require that the caller entered the password
#: within the last minutes (`web.auth.sessions.CONFIRMED`).
CONFIRMED: set[Handler] = {tokens.create_token, totp.begin_totp}
