"""The pages follow the permissions of each role.

An action without permission is not shown, and a direct request for it is refused.
"""

import re

import pytest

from admin import routes
from bookstore.database.tables import tasks as tasks_table
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from bookstore.users.permissions import GRANTS, Permission, Role, is_staff
from tests.admin.conftest import read
from tests.factories import NOON, add_order, add_user, create_book

#: A parameter of a route.
_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\})?[^{}]*)?\}")
ORDER = "/admin/orders/0001-TEST"
#: For each permission a page, and a link or form that the page shows only with this permission.
SHOWN = {
    Permission.OPEN_DASHBOARD: ("/admin", "/admin"),
    Permission.SEE_ORDERS: ("/admin", "/admin/orders"),
    Permission.CHANGE_ORDERS: (ORDER, f"{ORDER}/notes"),
    Permission.CHANGE_PAYMENT: (ORDER, f"{ORDER}/payment"),
    Permission.CHANGE_BOOKS: ("/admin/books", "/admin/books/new"),
    Permission.CHANGE_PRICES: ("/admin/books", "/admin/books/{book}/price"),
    Permission.CHANGE_STOCK: ("/admin/books", "/admin/books/{book}/count"),
    Permission.CHANGE_CATEGORIES: ("/admin", "/admin/categories"),
    Permission.IMPORT_BOOKS: ("/admin", "/admin/imports"),
    Permission.EXPORT_BOOKS: ("/admin/books", "/admin/books/export.xlsx"),
    Permission.EXPORT_ORDERS: ("/admin/orders", "/admin/orders/export.xlsx"),
    Permission.SEE_USERS: ("/admin", "/admin/users"),
    Permission.CHANGE_USERS: ("/admin/users/{user}", "/admin/users/{user}/role"),
    Permission.SEE_NOTIFICATIONS: ("/admin", "/admin/notifications"),
    Permission.SEND_NOTIFICATIONS: ("/admin/notifications", "/admin/notifications/test"),
    Permission.SEE_TASKS: ("/admin", "/admin/queues"),
    Permission.CHANGE_TASKS: ("/admin/queues", "/admin/queues/replay"),
    Permission.SEE_AUDIT: ("/admin", "/admin/audit"),
    Permission.CHANGE_TEXTS: ("/admin", "/admin/texts"),
}


async def fill(database):
    async with database() as conn:
        book = await create_book(conn)
        user_id = await add_user(conn)
        await add_order(conn, {book.id: 1}, number="0001-TEST", user_id=user_id, status="confirmed")
        await outbox.add(conn, Task.PROCESS_ORDERS, [1, 2], now=NOON)
        await conn.execute(tasks_table.update().values(dead_at=NOON, attempts=5, error="E: e"))
    return {"book": book.id, "user": user_id}


def test_each_permission_is_shown_on_a_page_and_required_by_a_route():
    assert SHOWN.keys() == {*Permission}
    guarded = {access for *_, access in routes.ROUTES if isinstance(access, Permission)}
    assert guarded == {*Permission}


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_a_role_sees_exactly_the_actions_that_it_may_use(visitor, database, role):
    ids = await fill(database)
    client = await visitor(role)
    wrong = []

    for permission, (path, target) in SHOWN.items():
        page = await read(client, path.format(**ids))
        address = target.format(**ids)
        shown = address in {link.partition("?")[0] for link in page.links} or address in page.forms
        if page.status == 403:
            shown = False
        if shown is not (permission in GRANTS[role]):
            wrong.append((permission, page.status))

    assert wrong == []


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_a_direct_request_without_permission_is_refused(visitor, database, role):
    ids = await fill(database)
    parameters = {
        "number": "0001-TEST", "book_id": str(ids["book"]), "user_id": str(ids["user"])
    }  # fmt: skip
    client = await visitor(role)
    wrong = []

    for method, path, _, access in routes.ROUTES:
        if not isinstance(access, Permission) or access in GRANTS[role]:
            continue
        address = "/admin" + _PARAMETER.sub(lambda match: parameters.get(match[1], "1"), path)
        answer = await client.request(method, address, allow_redirects=False)
        if answer.status != 403:
            wrong.append((method, address, answer.status))

    assert wrong == []
