"""The permissions of each role."""

from bookstore.users.permissions import GRANTS, Permission, Role
from tests.web.server.routes import cells

P = Permission
#: The grants written a second time, so that a mistake in the table fails a test.
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


def test_roles_have_the_expected_permissions():
    assert GRANTS == MATRIX


async def test_every_route_has_an_access(server):
    assert len(list(cells(server.app))) > 100
