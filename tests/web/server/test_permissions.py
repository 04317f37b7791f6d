"""What each role may do, and what the addresses have in them; test_permission_matrix.py goes
through them all."""

import re
from typing import NamedTuple

from bookstore.users.permissions import GRANTS, Permission, Role
from web.server.route_access import ACCESS

P = Permission
#: What the roles are for, written down a second time: a slip in the table shows here.
MATRIX = {
    Role.CUSTOMER: set(),
    Role.CLERK: {
        P.OPEN_DASHBOARD, P.SEE_ORDERS, P.CHANGE_ORDERS, P.CHANGE_STOCK, P.SEE_USERS,
        P.SEE_NOTIFICATIONS, P.SEND_NOTIFICATIONS, P.SEE_TASKS,
    },
    Role.EDITOR: {
        P.OPEN_DASHBOARD, P.CHANGE_BOOKS, P.CHANGE_STOCK, P.CHANGE_CATEGORIES, P.IMPORT_BOOKS,
        P.EXPORT_BOOKS,
    },
    Role.MANAGER: set(Permission) - {P.CHANGE_USERS},
    Role.ADMIN: set(Permission),
}  # fmt: skip

#: What an address has in it that is everybody's, or whose finding is a matter of permissions.
NOBODYS = {
    "author_id", "book_id", "isbn", "job_id", "language", "name", "part", "path", "plan_id", "slug",
    "task_id", "token", "user_id",
}  # fmt: skip
#: What belongs to somebody, and which permission opens other people's: None is nobody's.
OWNED = {
    "address_id": None,
    "notification_id": None,
    "number": P.SEE_ORDERS,
    "session": None,
    "token_id": None,
}
PARTS = re.compile(r"\{(\w+)\}")


class Cell(NamedTuple):
    """A route, and who may come in at it."""

    method: str
    path: str
    access: object


def cells(app):
    """Every route of the router, the dashboard's too; one without a row is an error."""
    access = dict(app[ACCESS])
    for dashboard in app._subapps:
        access |= dashboard[ACCESS]
    for route in app.router.routes():
        info = route.resource.get_info()
        yield Cell(route.method, info.get("path") or info["formatter"], access[route])


def test_the_table_says_what_it_should():
    assert GRANTS == MATRIX


async def test_every_route_has_a_row(server):
    assert len(list(cells(server.app))) > 100
